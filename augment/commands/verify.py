"""`augment verify`: everything that can be checked of a synthetic set."""

import json
from pathlib import Path

import click

from augment.commands import options


@click.command("verify")
@click.argument("synthetic", type=options.existing("any"), metavar="X.h5")
@click.argument("data", type=options.existing("any"), required=False)
@click.option("--annotation", type=options.existing(), help="Key points in PATN's CSV format, where DATA holds none.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Seconds until a set that gives no answer counts as damaged. [default: 60, and 1 for each 10 MB]",
)
@click.pass_context
def command(
    ctx: click.Context,
    synthetic: Path,
    data: Path | None,
    annotation: Path | None,
    as_json: bool,
    timeout: float | None,
) -> None:
    """Check a synthetic set: structure, plan, every image's checksum, provenance, scores; with DATA also its sources,
    target poses and that it shows no test identity.

    X.h5 may also be a folder of shards, finished or not, or a selection. A process of its own reads it, so that damaged
    and hostile files can do no harm. Nothing is written. Exit code 1 where something does not hold.

    \b
    Example:
      augment verify synthetic.h5 Market-1501-v15.09.15
    """
    from augment.verification import run

    with options.progress_bar("verifying", "img") as progress:
        report = run(synthetic, data, annotation=annotation, timeout=timeout, progress=progress)
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else str(report))
    ctx.exit(0 if report.holds else 1)
