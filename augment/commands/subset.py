"""`augment subset`: a share of a data set's training images as a data set of its own."""

from pathlib import Path

import click

from augment.commands import options


@click.command("subset")
@options.DATA
@options.out("The new root: a folder that is not there yet.")
@click.option(
    "--portion", required=True, type=click.FloatRange(0, 1, min_open=True), metavar="P",
    help="Share of each identity's training images to keep, one at least.",
)  # fmt: skip
@options.seed
@options.config
@options.dry_run
def command(data: Path, out: Path, portion: float, seed: int, dry_run: bool) -> None:
    """Keep a share of DATA's training images, and all of query and gallery, in a root of its own.

    The images kept are those that `augment train-reid DATA --portion P --portion-seed N` trains on; what is withheld is
    not there, key points neither. So a generator that is trained on the new root has not seen it (regime G-subset).
    DATA is a root of Market-1501 or DukeMTMC-reID. Images become hard links where the file system has them: edit none
    in place.

    \b
    Example:
      augment subset data --portion 0.2 --out data-20
      augment train-generator data-20 --out runs/dptn-20 --preset tiny
      augment synthesize data-20 --generator runs/dptn-20 --out synthetic-20.h5 --per-image 4
      augment train-reid data-20 --synthetic synthetic-20.h5 --ratio 4 --out runs/mixed-20
    """
    from augment.subset import SubsetConfig, prepare, run

    config = SubsetConfig(portion, seed)
    if dry_run:
        job = prepare(config, data)
        for note in job.dataset.notes:
            options.log(note)
        click.echo(job)
        return
    with options.progress_bar("linking", "img") as progress:
        made = run(config, data, out, progress=progress, log=options.log)
    click.echo(made)
