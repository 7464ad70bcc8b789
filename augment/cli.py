"""The `augment` command: a table of sub-commands, each imported only when it is called.

`augment --help` therefore imports no torch. Mistakes of the user become one line on stderr and exit code 2; see
`docs/cli.md` for the exit codes.
"""

import errno
import importlib
import sys
import traceback

import click

from augment.interruption import PREEMPTED_EXIT_CODE, Preempted
from augment.version import __version__

# name -> (module, one line of help), in the order in which a user meets them
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run the whole chain on procedural pedestrians and write a report."),
    "make-data": ("make_data", "Make procedural pedestrians in Market-1501's layout."),
    "check": ("check", "Validate a Market-1501 root or a CSV manifest."),
    "subset": ("subset", "Keep a share of a data set's training images."),
    "poses": ("poses", "Find the key points of persons, in PATN's format."),
    "train-generator": ("train_generator", "Train a pose-transfer generator."),
    "import-checkpoint": ("import_checkpoint", "Import a generator that its authors trained."),
    "explain": ("explain", "Draw what a generator does inside: attention, correspondence, refinement."),
    "evaluate-generator": ("evaluate_generator", "Measure generated images by the field's metrics."),
    "synthesize": ("synthesize", "Generate a synthetic set: identities in new poses, as HDF5."),
    "inspect": ("inspect", "Summarise a synthetic set and its provenance."),
    "verify": ("verify", "Check a synthetic set: structure, checksums, provenance."),
    "merge": ("merge", "Join shards, or several sets, into one file."),
    "export": ("export", "Write a synthetic set as images for other frameworks."),
    "import": ("import_images", "Make a synthetic set of another generator's images."),
    "score": ("score", "Measure the images of a synthetic set: identity, pose, sharpness."),
    "filter": ("filter", "Select images of a set by their scores, with a control."),
    "train-reid": ("train_reid", "Train a torchreid model on real, or real and synthetic, images."),
    "evaluate-reid": ("evaluate_reid", "Rank a gallery with a trained network: mAP, CMC, mINP."),
    "ablate": ("ablate", "Run a study: trials, statistics, report."),
    "report": ("report", "Write the page and tables of a study."),
    "doctor": ("doctor", "Show versions, devices and weights, with remedies for what is missing."),
}


class LazyGroup(click.Group):
    """A group whose help needs the table above only."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"augment.commands.{COMMANDS[cmd_name][0]}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="augment")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Pose-transfer data augmentation for person re-identification.

    \b
    Example, from nothing to a report in ten minutes:
      augment demo --out demo

    \b
    Example, the same chain step by step:
      augment make-data data
      augment train-generator data --out runs/dptn --preset tiny
      augment synthesize data --generator runs/dptn --out synthetic.h5
      augment train-reid data --out runs/real
      augment train-reid data --synthetic synthetic.h5 --out runs/mixed
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the command line and exit with its code."""
    debug = "--debug" in sys.argv
    try:
        code = group.main(standalone_mode=False, prog_name="augment")
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted; the same command goes on from what was saved, or starts again where nothing was")
        code = 130
    except click.ClickException as error:
        _say(f"Error: {_usage(error)}")
        code = error.exit_code
    except Preempted as stop:
        _say(str(stop))
        code = PREEMPTED_EXIT_CODE
    except (ValueError, OSError) as error:
        if debug:
            traceback.print_exc()
        _say(f"Error: {_one_line(error)}")
        code = 2
    except Exception as error:
        code = _unexpected(error, debug)
    sys.exit(code if isinstance(code, int) else 0)


def _unexpected(error: Exception, debug: bool) -> int:
    """A bug of ours is shown whole, with a code that means neither "check failed" nor "your mistake"."""
    out_of_memory = type(error).__name__ == "OutOfMemoryError"  # torch's, by name because torch may not be imported
    if debug or not out_of_memory:
        traceback.print_exc()
    if not out_of_memory:
        return 70
    _say(f"Error: --device: {' '.join(str(error).split())[:160]}; take a smaller --batch, or --precision bf16")
    return 2


def _usage(error: click.ClickException) -> str:
    """`--option: what, and what to do`, as for every other mistake."""
    if isinstance(error, click.MissingParameter):
        return f"{_parameter(error)}: missing; see --help"
    if isinstance(error, click.BadParameter):
        return f"{_parameter(error)}: {' '.join(error.message.split())}"
    return f"{' '.join(error.format_message().split())} See --help."


def _parameter(error: click.BadParameter) -> str:
    if error.param_hint:
        return error.param_hint if isinstance(error.param_hint, str) else "/".join(error.param_hint)
    if isinstance(error.param, click.Option):
        return error.param.opts[0]
    return error.param.human_readable_name if error.param else "?"


def _one_line(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or "the output's disk"
        return f"{where}: no space left on device; free some or choose another --out, then run the same command again"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = str(error)
    if "\nOriginal Traceback" in text:  # out of a loader process, whose whole traceback is in the message
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())


def _say(line: str) -> None:
    click.echo(line, err=True)
