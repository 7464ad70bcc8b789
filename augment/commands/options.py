"""What commands share: common options, configuration files, progress bars."""

import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import click
from tqdm import tqdm

Command = TypeVar("Command", bound=Callable[..., Any])

_SETTING = "KEY=VALUE"  # the metavar of options that a configuration file may give as a table
BASELINES = ("copy", "warp")  # generators that need no training and go by their names
DATA = click.argument("data", type=click.Path(path_type=Path))


def existing(kind: str = "file") -> click.Path:
    """A path that must be there; `kind` is file or any."""
    return click.Path(exists=True, dir_okay=kind == "any", path_type=Path)


def out(help_text: str) -> Callable[[Command], Command]:
    return click.option("--out", required=True, type=click.Path(path_type=Path), help=help_text)


seed = click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of everything random.")
device = click.option(
    "--device", default="auto", show_default=True, metavar="{auto,cpu,cuda,cuda:N,mps}", help="Where to compute."
)
force = click.option("--force", is_flag=True, help="Start afresh: remove what an earlier run left in --out.")
poses = click.option("--poses", type=existing(), help="Key points in PATN's CSV format, where DATA holds none.")
dry_run = click.option("--dry-run", is_flag=True, help="Check the input, say what would be done, and stop.")


def _require_generator(ctx: click.Context, parameter: click.Parameter, path: Path) -> Path:
    if not path.exists() and str(path) not in BASELINES:
        expected = f"a run folder, a weights file or one of {', '.join(BASELINES)}"
        raise click.BadParameter(f"{path} does not exist; give {expected}", ctx, parameter)
    return path


generator = click.option(
    "--generator", required=True, type=click.Path(path_type=Path), callback=_require_generator,
    help="Run folder or weights file of a generator; copy or warp need no training.",
)  # fmt: skip


def _read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Make the file's values the defaults of the options, so that the command line wins.

    A value counts as if it had been typed. Repeatable options take one value or a list of them, those of KEY=VALUE
    also a table. A null of YAML is an option that was not given.
    """
    if path is None:
        return
    values = _parse(path)
    known = {p.name: p for p in ctx.command.params if isinstance(p, click.Option) and p.name not in (None, "config")}
    unknown = sorted(str(key) for key in values if str(key).replace("-", "_") not in known)
    if unknown:
        expected = ", ".join(sorted(name.replace("_", "-") for name in known))
        raise click.BadParameter(
            f"{path}: unknown key {', '.join(unknown)}; expected some of {expected}", ctx, parameter
        )
    typed = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        try:
            if value is not None:
                typed[name] = _as_typed(known[name], value)
        except ValueError as error:
            raise click.BadParameter(f"{path}: {key}: {error}", ctx, parameter) from None
    ctx.default_map = {**(ctx.default_map or {}), **typed}


def _as_typed(option: click.Option, value: object) -> str | bool | list[str]:
    """What the command line would hold for this value of a file; a flag's true or false stays one."""
    if not option.multiple:
        return value if option.is_bool_flag and isinstance(value, bool) else _word(value)
    if isinstance(value, dict) and option.metavar == _SETTING:
        return [f"{key}={_word(entry)}" for key, entry in value.items()]
    return [_word(entry) for entry in value] if isinstance(value, list) else [_word(value)]


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | date):
        return str(value)
    kind = {dict: "a table", list: "a list", type(None): "nothing"}.get(type(value), f"a {type(value).__name__}")
    raise ValueError(f"expected one text, number, true or false, found {kind}")


def _parse(path: Path) -> dict[str, Any]:
    if path.suffix.lower() == ".toml":
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"--config: {path}: not TOML ({error})") from None
    if path.suffix.lower() in (".yaml", ".yml"):
        import yaml  # here, because most commands are started without it

        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"--config: {path}: not YAML ({' '.join(str(error).split())})") from None
        if not isinstance(values, dict):
            raise ValueError(f"--config: {path}: holds no table of options")
        return values
    raise ValueError(f"--config: {path}: expected a .toml, .yaml or .yml file")


config = click.option(
    "--config", type=existing(), callback=_read_config, is_eager=True, expose_value=False,
    help="Options from a TOML or YAML file; the command line wins.",
)  # fmt: skip


def common(command: Command) -> Command:
    """--seed, --device, --force, --config."""
    for option in (config, force, device, seed):
        command = option(command)
    return command


def settings(option: str, texts: Iterable[str]) -> dict[str, int | float | bool | str]:
    """KEY=VALUE texts as a dictionary; a value is a number or true or false where it looks like one.

    Raises:
        ValueError: no equals sign, or a key given twice.
    """
    found: dict[str, int | float | bool | str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (equals and key and value):
            raise ValueError(f"{option}: {text!r} is not of the form {_SETTING}")
        if key in found:
            raise ValueError(f"{option}: {key} is given twice")
        found[key] = _literal(value)
    return found


def _literal(text: str) -> int | float | bool | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@contextmanager
def progress_bar(description: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr with rate and time left, driven by (done, total); it appears with the first of these."""
    bar: tqdm | None = None

    def update(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(desc=description, unit=unit, total=total, initial=done, file=sys.stderr, dynamic_ncols=True)
        bar.update(done - bar.n)

    try:
        yield update
    finally:
        if bar is not None:
            bar.close()


def log(line: str) -> None:
    """A line on stderr, beside the bar rather than through it."""
    tqdm.write(line, file=sys.stderr)
