"""`augment train-generator`: train a pose-transfer generator."""

from pathlib import Path

import click

from augment.commands import options


@click.command("train-generator")
@options.DATA
@options.out("Run folder: weights, checkpoint, losses, sample sheets.")
@options.poses
# Network
@click.option("--model", default="dptn", show_default=True, type=click.Choice(["dptn"]), help="Published system.")
@click.option(
    "--preset",
    default="market",
    show_default=True,
    type=click.Choice(["market", "tiny"]),
    help="market: as published, 9.8 M parameters. tiny: 1.4 M, for CPUs, without perceptual losses.",
)
@click.option("--init", type=options.existing("any"), help="Start from these generator weights (file or run folder).")
@click.option(
    "--foreign-init",
    is_flag=True,
    help="Accept --init weights of other data that never saw this data's test identities.",
)
# Length and speed
@click.option(
    "--images", type=click.IntRange(1), metavar="N", help="Training length in images seen. [default: the preset's]"
)
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Images a step. [default: the preset's]")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="bf16 uses autocast. [default: the preset's]")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    metavar="LR",
    help="Of the generator. [default: the preset's]",
)
# Losses and data
@click.option(
    "--perceptual/--no-perceptual", default=None, help="VGG19 content and style losses. [default: the preset's]"
)
@click.option(
    "--vgg", type=options.existing(), help="VGG19 weights (torchvision's vgg19 .pth); default: torch's cache."
)
@click.option("--flip/--no-flip", default=None, help="Mirror half of the pairs. [default: only with --preset tiny]")
@click.option(
    "--same-camera/--any-camera", default=None, help="Pair images within one camera. [default: only with --preset tiny]"
)
@click.option("--pairs", type=options.existing(), help="PATN's pair list. [default: every pair of images of a person]")
@options.common
@options.dry_run
def command(
    data: Path, out: Path, poses: Path | None, model: str, preset: str, init: Path | None, vgg: Path | None,
    flip: bool | None, same_camera: bool | None, pairs: Path | None, foreign_init: bool, seed: int, device: str,
    force: bool, dry_run: bool, **loop: object,
) -> None:  # fmt: skip
    """Train on pairs of images of one person in DATA's training split. Running the command again continues it.

    \b
    Example, published size on a GPU:
      augment train-generator Market-1501-v15.09.15 --out runs/dptn --precision bf16

    \b
    Example, small on a CPU:
      augment train-generator data --out runs/dptn --preset tiny --images 20000
    """
    from augment.train_generator import TrainGeneratorConfig, prepare, run
    from generators.training import training_preset

    chosen = {key: value for key, value in loop.items() if value is not None}
    training = training_preset(preset, seed=seed, **chosen)
    tiny = preset == "tiny"
    config = TrainGeneratorConfig(
        model=model,
        preset=preset,
        training=training,
        flip=tiny if flip is None else flip,
        same_camera=tiny if same_camera is None else same_camera,
        pairs=pairs,
        init=init,
        foreign_init=foreign_init,
        vgg=vgg,
    )
    if dry_run:
        click.echo(prepare(config, data, poses))
        return
    with options.progress_bar("training", "img") as progress:
        made = run(config, data, out, poses=poses, device=device, force=force, progress=progress, log=options.log)
    click.echo(made)
