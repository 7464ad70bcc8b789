"""`augment export`: a synthetic set for other frameworks."""

from pathlib import Path

import click

from augment.commands import options


@click.command("export")
@click.argument("synthetic", type=options.existing("any"), metavar="X.h5")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--to",
    required=True,
    type=click.Choice(["folder", "webdataset"]),
    help="Images named as Market-1501's with a CSV table, or tar shards of 1,000 images.",
)
@click.option(
    "--quality", type=click.IntRange(1, 100), metavar="Q", help="JPEG quality, at full colour (4:4:4). [default: 95]"
)
@click.option("--png", is_flag=True, help="PNG instead of JPEG: the very pixels of the set.")
@click.option("--force", is_flag=True, help="Replace an earlier export in OUT.")
@options.config
@options.dry_run
def command(synthetic: Path, out: Path, to: str, quality: int | None, png: bool, force: bool, dry_run: bool) -> None:
    """Write the images of X.h5 into the new folder OUT, which appears whole or not at all.

    Names are those of Market-1501, such as 0002_c1s9_000451_00.jpg: identity and camera of the source, sequence 9 (real
    images have 1 to 6), row of the set. OUT/bounding_box_train/ may be used alone or copied into a data set's.

    \b
    Example:
      augment export synthetic.h5 exported --to folder
      augment export synthetic.h5 shards --to webdataset --png
    """
    from augment.export import ExportConfig, prepare, run

    if png and quality is not None:
        raise ValueError(f"--quality {quality}: PNG has none; leave it or --png out")
    config = ExportConfig(to, None if png else quality or 95)
    if dry_run:
        reader = prepare(config, synthetic)
        click.echo(f"{len(reader)} images of {len(set(reader.pid.tolist()))} identities")
        return
    with options.progress_bar("exporting", "img") as progress:
        made = run(config, synthetic, out, force=force, progress=progress, log=options.log)
    click.echo(made)
