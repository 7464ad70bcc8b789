"""`augment synthesize`: make a synthetic set."""

from pathlib import Path

import click

from augment.commands import options


def _require_poses(ctx: click.Context, parameter: click.Parameter, poses: str) -> str:
    from augment.posefile import require_policy_or_file

    return require_policy_or_file(poses)


@click.command("synthesize")
@options.DATA
@options.generator
@options.out("The set: a file name that ends in .h5, or a folder's name, whose shards are then not merged.")
# How many
@click.option("--per-image", type=click.IntRange(1), metavar="K", help="Images of each source. [default: 1]")
@click.option(
    "--ratio", type=click.FloatRange(0, min_open=True), metavar="R", help="Images, as a multiple of the real ones."
)
@click.option("--per-identity", type=click.IntRange(1), metavar="N", help="Images of each identity.")
@click.option(
    "--balance",
    is_flag=True,
    help="Fill each identity up to the largest one's number of real images, always in the camera that has fewest of "
    "it; a camera that never saw it stays without.",
)
# Of what, in which poses
@click.option(
    "--sources",
    default="random",
    show_default=True,
    type=click.Choice(["random", "sharpest", "most-visible"]),
    help="Images to start from: any, or of each identity and camera the sharpest or the one with the most annotated "
    "joints.",
)
@click.option(
    "--poses",
    default="random",
    show_default=True,
    callback=_require_poses,
    metavar="POLICY|FILE",
    help="Whose pose: random (any other training image's), same-camera, other-identity, same-identity, self (its own: "
    "the control arm), diverse (preferably those that the identity lacks), canonical (the 8 closest to the centres of "
    "pose clusters); or a CSV of key points in PATN's format, in pixels of these images.",
)
@click.option("--annotation", type=options.existing(), help="Key points in PATN's CSV format, where DATA holds none.")
@click.option(
    "--foreign-generator",
    is_flag=True,
    help="Accept a generator trained on other data that never saw this data's test identities.",
)
@click.option(
    "--allow-test-identities",
    is_flag=True,
    help="For studies of image quality: query and gallery images as well. train-reid refuses such a set.",
)
# Speed
@click.option(
    "--batch", default=64, show_default=True, type=click.IntRange(1), metavar="N", help="Images a forward pass."
)
@click.option(
    "--precision", default="fp32", show_default=True, type=click.Choice(["fp32", "bf16"]), help="bf16 uses autocast."
)
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet (PNG) as well.")
@click.option(
    "--plan",
    is_flag=True,
    help="First print how many images of whom will be made, in which poses, how large, how long.",
)
@options.common
@click.option("--dry-run", is_flag=True, help="Check the input, print that plan, and stop.")
def command(
    data: Path, generator: Path, out: Path, per_image: int | None, ratio: float | None,
    per_identity: int | None, balance: bool, sources: str, poses: str, annotation: Path | None, foreign_generator: bool,
    allow_test_identities: bool, batch: int, precision: str, sheet: Path | None, plan: bool, seed: int, device: str,
    force: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Show each training identity of DATA in poses of other training images. Running the command again continues it.

    How many: one of --per-image, --ratio, --per-identity and --balance.

    \b
    Example, two new images of every real one:
      augment synthesize data --generator runs/dptn --out synthetic.h5 --per-image 2 --sheet sheet.png

    \b
    Example, what would be made to even out identities, cameras and poses:
      augment synthesize data --generator runs/dptn --out even.h5 --balance --poses diverse --dry-run

    \b
    Example, four GPUs of one machine:
      torchrun --nproc-per-node 4 -m augment synthesize data --generator runs/dptn --out synthetic.h5
    """
    from augment.launch import is_first
    from augment.synthesize import SynthesizeConfig, rehearse, run

    if per_image is None and ratio is None and per_identity is None and not balance:
        per_image = 1
    config = SynthesizeConfig(
        poses, per_image, ratio, per_identity, balance or None, batch, precision, seed, foreign_generator,
        None if sources == "random" else sources, allow_test_identities or None,
    )  # fmt: skip
    first = is_first()
    if dry_run:
        if first:
            table = rehearse(
                config, data, generator, out, annotation=annotation, device=device, force=force, log=options.log
            )
            click.echo(table)
        return
    with options.progress_bar("synthesizing", "img") as progress:
        made = run(
            config, data, generator, out,
            annotation=annotation, device=device, force=force, sheet=sheet, plan=plan,
            progress=progress if first else None, log=options.log,
        )  # fmt: skip
    if first:
        click.echo(made)
