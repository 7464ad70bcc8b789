"""`augment filter`: the good images of a synthetic set, and a random control."""

from pathlib import Path

import click

from augment.commands import options


@click.command("filter")
@click.argument("synthetic", type=options.existing("any"), metavar="X.h5")
@options.out("The selection: a file name that ends in .h5.")
# What to keep
@click.option("--keep", metavar="EXPR", help="Images for which a condition on columns holds.")
@click.option(
    "--top", type=click.FloatRange(0, 1, min_open=True), metavar="F", help="This share of the images, the best --by."
)
@click.option("--by", metavar="COLUMN", help="The column that --top goes by; ties go to the lower row.")
@click.option("--lowest", is_flag=True, help="Small values are the best.")
@click.option(
    "--per", default="set", show_default=True, type=click.Choice(["set", "identity"]), help="The share of what."
)
# What stands beside it
@click.option(
    "--control/--no-control",
    default=True,
    show_default=True,
    help="Also Y.control.h5: as many random images, per identity where the filter is.",
)
@options.seed
@options.force
@options.config
@options.dry_run
def command(
    synthetic: Path, out: Path, keep: str | None, top: float | None, by: str | None, lowest: bool, per: str,
    control: bool, seed: int, force: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Write a selection of X.h5, which copies no pixels: X.h5 and its selections stay together.

    EXPR is made of the score columns, pid, camid and row, with < <= > >= == !=, & | ~, + - * / and abs. An image that
    lacks a value is not kept, however it is asked for. A share is rounded half up, to one image at least.

    \b
    Example:
      augment filter synthetic.h5 --out good.h5 --keep "identity_margin>0 & sharpness>10"
      augment filter synthetic.h5 --out best.h5 --top 0.7 --by identity_margin --per identity
    """
    from augment.filtering import FilterConfig, prepare, run

    config = FilterConfig(keep, top, by, lowest, per, seed)
    if dry_run:
        choice = prepare(config, synthetic)
        for line in choice.warnings:
            options.log(line)
        click.echo(choice)
        return
    click.echo(run(config, synthetic, out, control=control, force=force, log=options.log))
