"""Write docs/cli.md from the help texts: `python docs/generate_cli.py`; tests/test_docs.py holds the two in step."""

from pathlib import Path

import click

from augment.cli import COMMANDS, group

PAGE = Path(__file__).with_name("cli.md")
EXIT_CODES = """## Exit codes

| code | meaning |
| --- | --- |
| 0 | done, or already done |
| 1 | the check or comparison asked for did not hold |
| 2 | a mistake of the user: one line `Error: ...` with file, value, remedy; `augment --debug` shows a traceback |
| 70 | a bug: the traceback is shown; please report it |
| 75 | stopped by SIGTERM, or as another process ended, after saving; the same command continues, requeue it |
| 130 | interrupted from the keyboard; the same command goes on from what was saved, or starts again where nothing was |

Logs and progress go to stderr; stdout carries the result.
"""


def render() -> str:
    """The page: every command's help, then the exit codes."""
    parts = [
        "# The command line",
        "Generated from the help texts by `python docs/generate_cli.py`.",
        _help("", group),
    ]
    parts += [f"## augment {name}\n\n{_help(name, _command(name))}" for name in COMMANDS]
    return "\n\n".join([*parts, EXIT_CODES])


def _command(name: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command


def _help(name: str, command: click.Command) -> str:
    top = click.Context(group, info_name="augment", terminal_width=100, **group.context_settings)
    context = click.Context(command, parent=top, info_name=name) if name else top
    return f"```\n{command.get_help(context)}\n```"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
