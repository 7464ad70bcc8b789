"""`augment explain`: draw what a generator does inside."""

from pathlib import Path

import click

from augment.commands import options


@click.command("explain")
@options.DATA
@options.generator
@click.option(
    "--sheet", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The picture to write (PNG)."
)
@options.poses
@click.option("--pairs", default=12, show_default=True, type=click.IntRange(1), metavar="N", help="Pairs to draw.")
@options.device
def command(data: Path, generator: Path, sheet: Path, poses: Path | None, pairs: int, device: str) -> None:
    """Draw what a generator attends to, for random pairs of test identities (of training ones where there are none).

    patn: what each block moves. dptn: where the texture around some target joints comes from. pg2: coarse image and
    refinement.

    \b
    Example:
      augment explain data --generator runs/patn --sheet attention.png
    """
    from augment.explain import run

    click.echo(run(data, generator, sheet, poses=poses, pairs=pairs, device=device))
