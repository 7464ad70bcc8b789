"""`augment inspect`: what a synthetic set holds and where it comes from."""

import json
from pathlib import Path

import click

from augment.commands import options


@click.command("inspect")
@click.argument("synthetic", type=options.existing("any"), metavar="X.h5")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet of images (PNG).")
@click.option(
    "--checksums", is_flag=True, help="Read every image and compare its checksum; exit code 1 where one differs."
)
@click.pass_context
def command(ctx: click.Context, synthetic: Path, as_json: bool, sheet: Path | None, checksums: bool) -> None:
    """Summarise a synthetic set: images, identities, provenance.

    \b
    Example:
      augment inspect synthetic.h5 --sheet images.png
    """
    from augment.inspection import summary, write_sheet
    from augment.store import Reader

    reader = Reader(synthetic)
    found = summary(reader)
    damaged = reader.damaged() if checksums else []
    if checksums:
        found["damaged_rows"] = damaged
    if sheet is not None:
        write_sheet(sheet, reader)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            click.echo(f"{name:>20}  {json.dumps(value) if isinstance(value, dict | list) else value}")
    ctx.exit(1 if damaged else 0)
