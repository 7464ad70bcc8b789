"""`augment synthesize`: make a synthetic set."""

from pathlib import Path

import click

from augment.commands import options


@click.command("synthesize")
@options.DATA
@options.generator
@options.out("The set: a file name that ends in .h5.")
# How many
@click.option("--per-image", type=click.IntRange(1), metavar="K", help="Images of each source. [default: 1]")
@click.option(
    "--ratio", type=click.FloatRange(0, min_open=True), metavar="R", help="Images, as a multiple of the real ones."
)
@click.option("--per-identity", type=click.IntRange(1), metavar="N", help="Images of each identity.")
@click.option("--balance", is_flag=True, help="Fill each identity up to the largest one's number of real images.")
# In which poses
@click.option(
    "--poses",
    default="random",
    show_default=True,
    type=click.Choice(["random", "same-camera", "other-identity", "same-identity", "self", "diverse", "canonical"]),
    help="Whose pose: any training image's, or only some; self is the control arm. diverse prefers poses that the "
    "identity lacks; canonical has 8, those closest to the centres of pose clusters.",
)
@click.option("--annotation", type=options.existing(), help="Key points in PATN's CSV format, where DATA holds none.")
@click.option(
    "--foreign-generator",
    is_flag=True,
    help="Accept a generator trained on other data that never saw this data's test identities.",
)
# Speed
@click.option(
    "--batch", default=64, show_default=True, type=click.IntRange(1), metavar="N", help="Images a forward pass."
)
@click.option(
    "--precision", default="fp32", show_default=True, type=click.Choice(["fp32", "bf16"]), help="bf16 uses autocast."
)
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet (PNG) as well.")
@click.option("--plan", is_flag=True, help="Print how many images of whom would be made, how large, and stop.")
@options.common
@options.dry_run
def command(
    data: Path, generator: Path, out: Path, per_image: int | None, ratio: float | None,
    per_identity: int | None, balance: bool, poses: str, annotation: Path | None, foreign_generator: bool, batch: int,
    precision: str, sheet: Path | None, plan: bool, seed: int, device: str, force: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Show each training identity of DATA in poses of other training images. Running the command again continues it.

    How many: one of --per-image, --ratio, --per-identity and --balance.

    \b
    Example, two new images of every real one:
      augment synthesize data --generator runs/dptn --out synthetic.h5 --per-image 2 --sheet sheet.png
    """
    from augment.planning import coverage, table
    from augment.synthesize import SynthesizeConfig, prepare, run

    if per_image is None and ratio is None and per_identity is None and not balance:
        per_image = 1
    config = SynthesizeConfig(
        poses, per_image, ratio, per_identity, balance or None, batch, precision, seed, foreign_generator
    )
    if plan or dry_run:
        job = prepare(config, data, generator, annotation=annotation, device=device)
        if plan:
            click.echo(table(job.plan, job.split.size))
            return
        for name, value in coverage(job.plan).items():
            click.echo(f"{name:>20}  {value:g}")
        return
    with options.progress_bar("synthesizing", "img") as progress:
        made = run(
            config, data, generator, out,
            annotation=annotation, device=device, force=force, sheet=sheet, progress=progress, log=options.log,
        )  # fmt: skip
    click.echo(made)
