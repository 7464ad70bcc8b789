"""`augment train-reid`: train and evaluate a torchreid model."""

import json
from pathlib import Path

import click
from click.core import ParameterSource

from augment.commands import options
from augment.commands.make_data import Size


@click.command("train-reid")
@options.DATA
@options.out("Run folder: checkpoint, epochs.csv, results.json.")
# Mixing
@click.option(
    "--synthetic", multiple=True, type=options.existing("any"), metavar="X.h5",
    help="A synthetic set, its folder of shards, or a selection; may be repeated.",
)
@click.option(
    "--ratio",
    default=1 / 3,
    show_default="1/3",
    type=click.FloatRange(0),
    metavar="R",
    help="Synthetic images per real image.",
)
@click.option(
    "--portion",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    metavar="P",
    help="Share of the real images to train on.",
)
@click.option(
    "--quota",
    type=click.FloatRange(0, 1),
    metavar="Q",
    help="Share of synthetic images in each batch. [default: as in the list]",
)
@click.option(
    "--match",
    default="epochs",
    show_default=True,
    type=click.Choice(["epochs", "iterations"]),
    help="iterations: as many updates as without synthetic images.",
)
# Labels of synthetic images
@click.option(
    "--labels",
    default="same",
    show_default=True,
    type=click.Choice(["same", "smooth", "lsro"]),
    help="same identity; smoothed by 0.3; uniform (LSRO).",
)
@click.option(
    "--synthetic-weight",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0),
    metavar="W",
    help="Of a synthetic image in the loss.",
)
# Model and training
@click.option("--model", default="osnet_x0_25", show_default=True, help="Any of torchreid's models.")
@click.option(
    "--init",
    default="random",
    show_default=True,
    metavar="{random,imagenet,FILE}",
    help="imagenet: weights in the usual cache; never downloaded.",
)
@click.option("--size", default="256x128", show_default=True, type=Size(), help="Input size in pixels.")
@click.option(
    "--epochs",
    default=60,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Passes over the training list.",
)
@click.option("--batch", default=32, show_default=True, type=click.IntRange(2), metavar="N", help="Images a step.")
@click.option(
    "--learning-rate",
    default=3e-4,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    metavar="LR",
    help="At the start.",
)
@click.option(
    "--steps",
    default="20,40",
    show_default=True,
    metavar="E,E",
    help="Epochs after which the learning rate falls tenfold; cosine: down to 0.",
)
@click.option(
    "--erase",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Probability of random erasing.",
)
@click.option(
    "--precision", default="fp32", show_default=True, type=click.Choice(["fp32", "bf16"]), help="bf16 uses autocast."
)
@click.option(
    "--workers",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Loader processes; the result does not depend on it.",
)
@options.common
@options.dry_run
def command(
    data: Path, out: Path, synthetic: tuple[Path, ...], ratio: float, portion: float, quota: float | None, match: str,
    labels: str, synthetic_weight: float, model: str, init: str, size: tuple[int, int], epochs: int, batch: int,
    learning_rate: float, steps: str, erase: float, precision: str, workers: int, seed: int, device: str, force: bool,
    dry_run: bool,
) -> None:  # fmt: skip
    """Train on DATA's training split, alone or mixed with synthetic sets, and rank its gallery for each query.

    Prints mAP and rank-1/5/10/20; results.json holds the scores of every query. Running the command again continues it.

    \b
    Example:
      augment train-reid data --out runs/real --size 128x64 --epochs 20
      augment train-reid data --out runs/mixed --size 128x64 --epochs 20 --synthetic synthetic.h5 --ratio 1
    """
    _refuse_unused(synthetic)
    from augment.train_reid import TrainReidConfig, prepare, run
    from reid.mixing import MixPolicy
    from reid.training import ReidConfig

    smoothing = {"same": None, "smooth": 0.3, "lsro": 1.0}[labels]
    training = ReidConfig(
        model=model, init=init, height=size[0], width=size[1], epochs=epochs, batch=batch, quota=quota,
        learning_rate=learning_rate, schedule="cosine" if steps == "cosine" else "steps", steps=_epochs(steps),
        synthetic_smoothing=smoothing, synthetic_weight=synthetic_weight, erase=erase, seed=seed, precision=precision,
        workers=workers,
    )  # fmt: skip
    config = TrainReidConfig(training, MixPolicy(ratio if synthetic else 0.0, portion, seed), match)
    if dry_run:
        click.echo(prepare(config, data, synthetic))
        return
    with options.progress_bar("training", "img") as progress:
        made = run(config, data, out, synthetic, device=device, force=force, progress=progress, log=options.log)
    found = json.loads(made.read_text(encoding="utf-8"))
    ranks = "  ".join(f"rank-{rank} {value:.1%}" for rank, value in found["cmc"].items())
    click.echo(f"mAP {found['mAP']:.1%}  {ranks}")
    click.echo(made)


def _refuse_unused(synthetic: tuple[Path, ...]) -> None:
    """An option about synthetic images without a synthetic set would silently train on real images only."""
    ctx = click.get_current_context()
    if synthetic:
        return
    for name in ("ratio", "quota", "labels", "synthetic_weight"):
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(
                f"--{name.replace('_', '-')}: given without --synthetic X.h5; add the set or drop it"
            )


def _epochs(value: str) -> tuple[int, ...]:
    if value == "cosine":
        return ()
    parts = value.split(",") if value else []
    if not all(part.strip().isdigit() for part in parts):
        raise click.BadParameter(f"{value!r}: expected epochs such as 20,40, or cosine", param_hint="--steps")
    return tuple(int(part) for part in parts)
