"""`augment score`: measure the images of a synthetic set."""

from pathlib import Path

import click
from click.core import ParameterSource

from augment.commands import options
from augment.commands.make_data import Size

NAMES = (
    "identity_similarity", "identity_margin", "source_distance", "source_l1", "sharpness", "discriminator",
    "pose_agreement",
)  # fmt: skip
TRAINING = ("model", "init", "size", "epochs", "learning_rate", "workers")


@click.command("score")
@click.argument("synthetic", type=options.existing("any"), metavar="X.h5")
@options.DATA
# What
@click.option(
    "--scores",
    multiple=True,
    type=click.Choice(NAMES),
    metavar="NAME",
    help="A column; may be repeated. [default: all that what is given allows]",
)
# By what
@click.option(
    "--reid",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Folder of the judges: two re-ID networks, each for the identities that it was not trained on. New ones are "
    "trained there.",
)
@click.option("--generator", type=options.existing("any"), metavar="RUN", help="Where the set's generator was trained.")
@click.option(
    "--pose-weights",
    type=options.existing(),
    metavar="FILE",
    help="torchvision's keypointrcnn_resnet50_fpn. [default: in torch's cache, if there]",
)
# Training of new judges
@click.option("--model", default="osnet_x0_25", show_default=True, help="Any of torchreid's models.")
@click.option(
    "--init",
    default="random",
    show_default=True,
    metavar="{random,imagenet,FILE}",
    help="imagenet: weights in the usual cache; never downloaded.",
)
@click.option("--size", default="128x64", show_default=True, type=Size(), help="Input size in pixels.")
@click.option(
    "--epochs",
    default=60,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Passes over each half of the training images.",
)
@click.option(
    "--learning-rate",
    default=1.5e-3,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    metavar="LR",
    help="At the start; falls to 0 along a cosine.",
)
# Speed
@click.option(
    "--batch", default=64, show_default=True, type=click.IntRange(1), metavar="N", help="Images a forward pass."
)
@click.option("--workers", default=0, show_default=True, type=click.IntRange(0), help="Loader processes of the judges.")
@options.seed
@options.device
@click.option("--force", is_flag=True, help="Compute columns again that are there already; replace another set's.")
@options.config
@options.dry_run
def command(
    synthetic: Path, data: Path, scores: tuple[str, ...], reid: Path | None, generator: Path | None,
    pose_weights: Path | None, model: str, init: str, size: tuple[int, int], epochs: int, learning_rate: float,
    batch: int, workers: int, seed: int, device: str, force: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Add columns to the scores of the synthetic set X.h5, in X.scores.h5 beside it; DATA is what it was made from.

    Identity consistency, distance to the source image, sharpness, what the generator's discriminators say, agreement
    with the pose that was asked for. Prints the spread of each; `augment filter` selects by them. Running the command
    again computes only what is missing. Of a set made with --allow-test-identities, identity is not judged.

    \b
    Example:
      augment score synthetic.h5 data --reid runs/judges --generator runs/dptn
      augment filter synthetic.h5 --keep "identity_margin > 0" --out filtered.h5
    """
    _refuse_unused(reid)
    from dataclasses import replace

    from augment.scoring import JUDGES, ScoreConfig, prepare, run, table
    from augment.store import Reader

    training = replace(
        JUDGES, model=model, init=init, height=size[0], width=size[1], epochs=epochs, learning_rate=learning_rate,
        workers=workers, seed=seed,
    )  # fmt: skip
    config = ScoreConfig(scores, training, batch)
    given = {"reid": reid, "generator": generator, "pose_weights": pose_weights}
    if dry_run:
        job = prepare(config, synthetic, data, **given, device=device, force=force)
        for line in job.not_computed():
            options.log(line)
        click.echo(job)
        return
    run(config, synthetic, data, **given, device=device, force=force, bar=options.progress_bar, log=options.log)
    click.echo(table(Reader(synthetic).scores))


def _refuse_unused(reid: Path | None) -> None:
    """Options of a training that will not take place would silently have no effect."""
    ctx = click.get_current_context()
    for name in TRAINING:
        if reid is None and ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')}: given without --reid RUN; add the run or drop it")
