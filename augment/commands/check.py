"""`augment check`: validate a data set."""

import json
from pathlib import Path
from typing import Any

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
        _echo(report.as_json())
    ctx.exit(1 if report.errors else 0)


def _echo(report: dict[str, Any]) -> None:
    columns = list(dict.fromkeys(key for counts in report["counts"].values() for key in counts))
    rows = [[report["title"], *(column.replace("with_shoulders_and_hips", "posed") for column in columns)]]
    for split, counts in report["counts"].items():
        rows.append([split, *(str(counts.get(column, 0)) for column in columns)])
        if published := report["published"].get(split):
            rows.append(["published", *(str(published.get(column, "")) for column in columns)])
    for row in rows:
        click.echo("".join(f"{cell:>16}" for cell in row).rstrip())
    for kind in ("errors", "warnings", "notes"):
        for line in report[kind]:
            click.echo(f"{kind.removesuffix('s')}: {line}")
    click.echo("errors found" if report["errors"] else "ok")
