"""`augment merge`: one file of shards, or of several synthetic sets."""

from pathlib import Path

import click

from augment.commands import options


@click.command("merge")
@click.argument("sets", type=options.existing("any"), nargs=-1, required=True, metavar="SET...")
@options.out("The one file: a name that ends in .h5.")
@click.option("--remove-shards", is_flag=True, help="Remove folders of shards once their images are in --out.")
@click.option("--force", is_flag=True, help="Replace the set that lies at --out.")
@options.config
@options.dry_run
def command(sets: tuple[Path, ...], out: Path, remove_shards: bool, force: bool, dry_run: bool) -> None:
    """Join a folder of shards, or several sets (files, folders of shards, selections), in the order given.

    Every image is checked. Several sets must be of one image size and one training split. Images are copied, so --out
    needs none of the sets.

    \b
    Example, shards that synthesize left because it was given a folder:
      augment merge shards --out synthetic.h5

    \b
    Example, two generators, and a selection:
      augment merge dptn.h5 patn.h5 good.h5 --out all.h5
    """
    from augment.merging import prepare, run

    if dry_run:
        readers = prepare(sets, options.log)
        for reader in readers:
            click.echo(f"{len(reader):>12,}  {reader.path}")
        click.echo(f"{sum(map(len, readers)):>12,}  {out}")
        return
    click.echo(run(sets, out, remove_shards=remove_shards, force=force, log=options.log))
