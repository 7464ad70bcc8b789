"""`augment ablate`: a study of arms, from its file to its report."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from tqdm import tqdm

from augment.commands import options
from augment.executors import EXECUTORS
from augment.study import Layout, Unit


@click.command("ablate")
@click.argument("study")
@options.out("Folder of the study: what was asked for, its units, its report.")
# The study
@click.option("--scale", metavar="NAME", help="Size of the study, by its name in the file.  [default: the first one]")
@click.option("--data", type=options.existing("any"), help="Data set, for a study or scale that draws none itself.")
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="Trials of each arm.  [default: as the study says]")
# Where and how
@click.option(
    "--executor", default="local", show_default=True, type=click.Choice(list(EXECUTORS)), help="What runs the units."
)
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N",
    help="Units at a time.  [default: local: one for each GPU, or one; slurm: 100; ray: what its cluster has room for]",
)  # fmt: skip
@click.option(
    "--executor-option", "settings", multiple=True, metavar="KEY=VALUE", help="Setting of slurm or ray; repeatable."
)
@click.option(
    "--units", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Where the units lie; studies that share it share what they have in common.  [default: DIR/units]",
)  # fmt: skip
@options.device
@click.option("--retry-failed", is_flag=True, help="Run those again whose command ended with an error.")
@options.config
@click.option(
    "--dry-run", is_flag=True, help="Print every unit with its state and expected time, audit the plan; write nothing."
)
@click.pass_context
def command(
    ctx: click.Context, study: str, out: Path, scale: str | None, data: Path | None, seeds: int | None, executor: str,
    jobs: int | None, settings: tuple[str, ...], units: Path | None, device: str, retry_failed: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Run a study: trials of each arm with paired seeds, audits, the report. STUDY is a file, or one of experiments/.

    What arms have in common is made once. A unit is one command in a folder of its own, with its log; it is done when
    its result.json is there. Whatever is killed, the same command goes on from what there is, or says "already done";
    two of them in the same DIR share the work. A unit that a signal ends (out of memory, a lost node) is tried once
    more, then left to the next run. One that fails is reported and not run again without --retry-failed, and what
    does not need it goes on.

    Exit code 1 if something failed, was not run, or a check of the audit failed, which stops the study. --dry-run makes
    the checks that a run begins with.

    \b
    Example:
      augment ablate augmentation_benefit --out ablations/benefit --dry-run
      augment ablate augmentation_benefit --out ablations/benefit --jobs 2
    """
    from augment import executors
    from augment.ablation import AblateConfig, doubts, prepare, run, table
    from augment.studies import find

    executors.require(executor)
    parsed = options.settings("--executor-option", settings)
    if device.startswith("cuda:"):
        raise ValueError(
            f"--device {device}: every unit is given its GPU; say CUDA_VISIBLE_DEVICES={device[5:]} instead"
        )
    if device in ("cpu", "mps") and executor == "local":
        jobs = jobs or 1
    plan = prepare(AblateConfig(find(study), scale, seeds, data, units, device), out)
    _require_options(ctx, plan.layout)
    if dry_run:
        usual = executors.usual_slots(executor, parsed)
        click.echo(table(plan, jobs or usual))
        failed = doubts(plan)
        for line in failed:
            options.log(line)
        ctx.exit(1 if failed else 0)
    with _bar() as progress:
        outcome = run(
            plan, lambda: executors.open_executor(executor, jobs, parsed, out / "executor"),
            retry_failed=retry_failed, progress=progress, log=options.log,
        )  # fmt: skip
    for line in outcome.complaints:
        options.log(line)
    if any(line.startswith("failed: ") for line in outcome.complaints):
        options.log("once the cause is mended, --retry-failed runs what failed again")
    for line in filter(None, (outcome.table, outcome.page)):
        click.echo(line)
    ctx.exit(1 if outcome.complaints else 0)


def _require_options(ctx: click.Context, layout: Layout) -> None:
    """Parse every command line of a study, so that a mistake is known before hours are spent on the steps before it.

    Raises:
        ValueError: an option that its command does not take; the message names the step.
    """
    from augment.cli import group

    for unit in layout.units.values():
        command = group.get_command(ctx, unit.command)
        assert command is not None
        try:
            _parse(click.Context(command, parent=ctx, info_name=unit.command), unit)
        except click.UsageError as error:
            said = " ".join(error.format_message().split()).rstrip(".")
            raise ValueError(f"step {unit.command} {unit.label}: {said}; correct the study") from None


def _parse(ctx: click.Context, unit: Unit) -> None:
    """As click does, but for paths, many of which are made by other steps yet."""
    values, rest, _ = ctx.command.make_parser(ctx).parse_args(list(unit.argv[1:]))
    if rest:
        raise click.UsageError(f"Got unexpected extra arguments ({' '.join(map(str, rest))})", ctx)
    for parameter in ctx.command.get_params(ctx):
        if parameter.name in values and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(ctx, values[parameter.name])


@contextmanager
def _bar() -> Iterator[Callable[[int, int, str], None]]:
    """A bar of units on stderr, with a time left that knows how long each of them takes."""
    with tqdm(
        desc="ablate", unit="unit", file=sys.stderr, dynamic_ncols=True, disable=None,
        bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}, {postfix}",
    ) as bar:  # fmt: skip

        def update(done: int, total: int, left: str) -> None:
            bar.total, bar.n = total, done
            bar.set_postfix_str(left)

        yield update
