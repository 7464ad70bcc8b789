"""`augment train-generator`: train a pose-transfer generator."""

from pathlib import Path

import click

from augment.commands import options


@click.command("train-generator")
@options.DATA
@options.out("Run folder: weights, checkpoint, losses, sample sheets.")
@options.poses
# Network
@click.option(
    "--model",
    default="dptn",
    show_default=True,
    metavar="NAME",
    help="Published system: pg2, patn, dptn or dptn-ta; or one that you added to the registry.",
)
@click.option(
    "--preset",
    default="market",
    show_default=True,
    metavar="NAME",
    help="market, deepfashion: as published. tiny: 1 to 2 M parameters, for CPUs, without VGG19's weights.",
)
@click.option(
    "--network", multiple=True, metavar="KEY=VALUE", help="A setting of the network, such as blocks=13 (repeatable)."
)
@click.option("--init", type=options.existing("any"), help="Start from these generator weights (file or run folder).")
@click.option(
    "--foreign-init",
    is_flag=True,
    help="Accept --init weights of other data that never saw this data's test identities.",
)
# Losses
@click.option(
    "--loss",
    multiple=True,
    metavar="KEY=VALUE",
    help="A weight or option of the losses, such as affinity=0 (repeatable).",
)
@click.option("--no-perceptual", is_flag=True, help="Leave out the terms that need VGG19's features.")
@click.option(
    "--vgg", type=options.existing(), help="VGG19 weights (torchvision's vgg19 .pth); default: torch's cache."
)
@click.option(
    "--features",
    type=click.Choice(["imagenet", "random"]),
    help="VGG19 with ImageNet's weights, or thin and random. [default: the preset's]",
)
# Length and speed
@click.option(
    "--images", type=click.IntRange(1), metavar="N", help="Training length in images seen. [default: the preset's]"
)
@click.option(
    "--batch", type=click.IntRange(1), metavar="N", help="Images a step, over all processes. [default: the preset's]"
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    metavar="LR",
    help="Of the generator. [default: the preset's]",
)
@click.option(
    "--schedule",
    type=click.Choice(["constant", "linear", "patn", "dptn"]),
    help="Of the learning rates; patn and dptn: the papers' epochs, stretched to --images. [default: the preset's]",
)
@click.option(
    "--decay",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Last share of the images, over which a linear schedule falls to zero. [default: the preset's]",
)
@click.option(
    "--clip", type=click.FloatRange(0), metavar="NORM", help="Largest gradient norm; 0: any. [default: the preset's]"
)
@click.option(
    "--average-images",
    type=click.IntRange(0),
    metavar="N",
    help="Publish weights averaged with this half-life in images; 0: the last ones. [default: the preset's]",
)
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="bf16 uses autocast. [default: the preset's]")
@click.option("--compile", is_flag=True, default=None, help="Compile the networks (minutes at the start).")
# Data
@click.option("--flip/--no-flip", default=None, help="Mirror half of the pairs. [default: only with --preset tiny]")
@click.option(
    "--same-camera/--any-camera", default=None, help="Pair images within one camera. [default: only with --preset tiny]"
)
@click.option(
    "--pairs",
    type=options.existing(),
    help="PATN's pair list. [default: DeepFashion's own; else every pair of images of a person]",
)
@click.option(
    "--validation",
    default=8,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="Training identities to withhold: watched in validation.csv, the best weights kept; 0: none.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for decoded images, shared by processes and later runs. [default: memory]",
)
# What is left behind
@click.option(
    "--sample-images",
    default=20_000,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Draw a sheet and validate every so many images.",
)
@click.option("--tensorboard/--no-tensorboard", default=True, show_default=True, help="Write TensorBoard events.")
@options.common
@options.dry_run
def command(
    data: Path, out: Path, poses: Path | None, model: str, preset: str, network: tuple[str, ...], init: Path | None,
    foreign_init: bool, loss: tuple[str, ...], no_perceptual: bool, vgg: Path | None, flip: bool | None,
    same_camera: bool | None, pairs: Path | None, validation: int, cache: Path | None, sample_images: int,
    tensorboard: bool, device: str, force: bool, dry_run: bool, **loop: object,
) -> None:  # fmt: skip
    """Train on pairs of images of one person in DATA's training split. Running the command again continues it.

    \b
    Example, published size on a GPU:
      augment train-generator Market-1501-v15.09.15 --out runs/dptn --precision bf16

    \b
    Example, small on a CPU:
      augment train-generator data --out runs/patn --model patn --preset tiny --images 20000

    \b
    Example, four GPUs of one machine:
      torchrun --nproc-per-node 4 -m augment train-generator Market-1501-v15.09.15 --out runs/dptn
    """
    from augment import launch
    from augment.train_generator import TrainGeneratorConfig, rehearse, run
    from generators.registry import create_recipe

    if loop["schedule"] not in (None, "linear") and loop["decay"] is None:
        loop["decay"] = 0.0  # the preset's belongs to a linear schedule
    recipe = create_recipe(
        model,
        preset,
        network=options.settings("--network", network),
        weights=options.settings("--loss", loss),
        training={key: value for key, value in loop.items() if value is not None},
        perceptual=not no_perceptual,
    )
    tiny = preset == "tiny"
    config = TrainGeneratorConfig(
        recipe,
        flip=tiny if flip is None else flip,
        same_camera=tiny and pairs is None if same_camera is None else same_camera,
        pairs=pairs,
        init=init,
        foreign_init=foreign_init,
        vgg=vgg,
        validation=validation,
        cache=cache,
        sample_images=sample_images,
        tensorboard=tensorboard,
    )
    if dry_run:
        click.echo(rehearse(config, data, poses))
        return
    with options.progress_bar("training", "img") as progress:
        made = run(config, data, out, poses=poses, device=device, force=force, progress=progress, log=options.log)
    if launch.is_first():
        click.echo(made)
