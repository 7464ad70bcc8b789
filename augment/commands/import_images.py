"""`augment import`: images of any other generator as a synthetic set."""

from pathlib import Path

import click

from augment.commands import options
from augment.commands.make_data import Size


@click.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--table", required=True, type=options.existing(), help="Where each image comes from (CSV).")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="The data set of the sources.")
@options.out("The set: a file name that ends in .h5.")
# How to read them
@click.option("--size", type=Size(), help="Resize all images to this size, in pixels.")
@options.poses
@click.option("--generator-name", metavar="NAME", help="What made the images. [default: FOLDER's name]")
@click.option("--ignore-unlisted", is_flag=True, help="Leave out images of FOLDER that the table does not list.")
@click.option(
    "--allow-test-identities",
    is_flag=True,
    help="For studies of image quality: sources and targets of query and gallery as well. train-reid refuses such a "
    "set.",
)
@options.force
@options.config
@options.dry_run
def command(
    folder: Path, table: Path, data: Path, out: Path, size: tuple[int, int] | None, poses: Path | None,
    generator_name: str | None, ignore_unlisted: bool, allow_test_identities: bool, force: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Make a synthetic set of the images in FOLDER (JPEG or PNG), whatever made them.

    The table has a header. Columns: name (path in FOLDER) and source (name of the training image it was made of);
    optional pid and camid (must be the source's), target (name of the training image in whose pose it is) and seed.
    Others are passed over.

    \b
    Example:
      augment import diffusion/images --table diffusion/images.csv --data data --out diffusion.h5

    \b
    Example, an export of ours:
      augment import exported/bounding_box_train --table exported/images.csv --data data --out again.h5
    """
    from augment.importing import ImportConfig, prepare, run

    name = folder.resolve().name if generator_name is None else generator_name
    config = ImportConfig(name, size, ignore_unlisted, allow_test_identities)
    if dry_run:
        job = prepare(config, folder, table, data, poses=poses)
        for note in job.notes:
            options.log(note)
        click.echo(job)
        return
    with options.progress_bar("importing", "img") as progress:
        made = run(config, folder, table, data, out, poses=poses, force=force, progress=progress, log=options.log)
    click.echo(made)
