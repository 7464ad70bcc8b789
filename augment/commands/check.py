"""`augment check`: validate a data set."""

import json
from pathlib import Path

import click

from augment.commands import options


@click.command("check")
@options.DATA
@options.poses
@click.option("--deep", is_flag=True, help="Decode every image, not only its header and its end.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(ctx: click.Context, data: Path, poses: Path | None, deep: bool, as_json: bool) -> None:
    """Validate DATA: counts, corrupt images, wrong names, missing key points, identities in both splits.

    Exit code 1 where there are errors.

    \b
    Example:
      augment check Market-1501-v15.09.15 --deep
    """
    from augment.check import check

    report = check(data, poses=poses, deep=deep)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        columns = list(dict.fromkeys(key for counts in report.counts.values() for key in counts))
        click.echo(
            "".join(
                f"{name:>16}" for name in ["split", *(c.replace("with_shoulders_and_hips", "posed") for c in columns)]
            )
        )
        for split, counts in report.counts.items():
            click.echo("".join(f"{value:>16}" for value in [split, *(counts.get(column, 0) for column in columns)]))
        for label, lines in (("error", report.errors), ("warning", report.warnings)):
            for line in lines:
                click.echo(f"{label}: {line}")
        click.echo("errors found" if report.errors else "ok")
    ctx.exit(1 if report.errors else 0)
