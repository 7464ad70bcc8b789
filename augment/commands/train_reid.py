"""`augment train-reid`: train and evaluate a torchreid model."""

import functools
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from augment.commands import options
from augment.commands.make_data import Size

# Options about synthetic images, which need a set.
MIXING = (
    "ratio", "set_weight", "replace", "quota", "schedule", "first", "control", "jpeg", "labels", "synthetic_weight",
    "triplet_real",
)  # fmt: skip

# Options about triplets, which need that loss.
TRIPLETS = ("triplet_weight", "softmax_weight", "margin", "triplet_real")

# What a training calls these options.
RENAMED = {
    "schedule": "quota_schedule", "first": "quota_share", "warmup": "warmup_epochs",
    "triplet_real": "triplet_real_only",
}  # fmt: skip

SMOOTHINGS = {"same": None, "smooth": 0.3, "lsro": 1.0}

# Where the options of the training that were typed, or are in a configuration file, are kept in click's context: only
# these may take the place of a recipe's.
GIVEN = f"{__name__}.given"

RECIPES = ("osnet_x1_0", "osnet_x0_25", "osnet_ain_x1_0", "osnet_x1_0-scratch", "resnet50", "resnet50_fc512", "bot")


def _keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    given = ctx.meta.setdefault(GIVEN, {})
    if parameter.name is not None and ctx.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT:
        given[parameter.name] = value


# Seconds for which the silent processes wait for the one that speaks: what started them may end all when one ends.
SILENCE = 5.0


class OneVoice(click.Command):
    """Of processes that were started together the first one of each node says what is wrong with the command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _one_voice():
            return super().parse_args(ctx, args)


@contextmanager
def _one_voice() -> Iterator[None]:
    """Mistakes that all processes of a node make alike: the first one says them, the others exit as it does."""
    try:
        yield
    except (click.ClickException, ValueError, OSError) as error:
        if (os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or "0") == "0":
            raise
        time.sleep(SILENCE)
        raise click.exceptions.Exit(error.exit_code if isinstance(error, click.ClickException) else 2) from None


setting = functools.partial(click.option, callback=_keep, expose_value=False)
SHARE, POSITIVE = click.FloatRange(0, 1), click.FloatRange(0, min_open=True)
MIXED = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command("train-reid", cls=OneVoice)
@options.DATA
@options.out("Run folder: checkpoint, epochs.csv, results.json.")
@click.option(
    "--test", type=options.existing("any"), metavar="DATA", help="Another data set, whose query and gallery to search."
)
# Mixing
@click.option(
    "--synthetic", multiple=True, type=options.existing("any"), metavar="X.h5",
    help="A synthetic set, its folder of shards, or a selection; may be repeated.",
)  # fmt: skip
@click.option(
    "--ratio", default=1 / 3, show_default="1/3", type=click.FloatRange(0), metavar="R",
    help="Synthetic images per real image.",
)  # fmt: skip
@click.option(
    "--set-weight", multiple=True, type=POSITIVE, metavar="W",
    help="Share of each --synthetic, in their order. [default: drawn as one set]",
)  # fmt: skip
@click.option(
    "--portion", default=1.0, show_default=True, type=click.FloatRange(0, 1, min_open=True), metavar="P",
    help="Share of the real images to train on.",
)  # fmt: skip
@click.option(
    "--portion-seed", type=click.IntRange(0), metavar="N", help="Of the choice which these are. [default: --seed]"
)  # fmt: skip
@click.option("--replace", is_flag=True, help="A synthetic image for each one that --portion withholds, not --ratio.")
@setting("--quota", type=MIXED, metavar="Q", help="Share of synthetic images in each batch. [default: as in the list]")
@setting(
    "--schedule", default="constant", show_default=True,
    type=click.Choice(["constant", "first", "annealed", "ramp"]),
    help="That share over the epochs: first: then real only; annealed: falls to 0; ramp: rises from 0.",
)  # fmt: skip
@setting(
    "--first", default=0.5, show_default=True, type=SHARE, metavar="S",
    help="Share of the epochs with synthetic images in --schedule first.",
)  # fmt: skip
@click.option(
    "--match", default="epochs", show_default=True, type=click.Choice(["epochs", "iterations"]),
    help="iterations: as many updates as without synthetic images.",
)  # fmt: skip
@click.option(
    "--control", default="none", show_default=True, type=click.Choice(["none", "real-duplicated"]),
    help="real-duplicated: copies of real images in the place of the synthetic ones.",
)  # fmt: skip
@click.option(
    "--jpeg", metavar="{match,1-100}",
    help="Re-encode synthetic images: by the real files' quality, or this one. [default: as they are]",
)  # fmt: skip
# Labels of synthetic images
@click.option(
    "--labels", default="same", show_default=True, type=click.Choice(["same", "smooth", "lsro"]),
    help="same identity; smoothed by 0.3; uniform (LSRO).",
)  # fmt: skip
@setting(
    "--synthetic-weight", default=1.0, show_default=True, type=click.FloatRange(0), metavar="W",
    help="Of a synthetic image in the loss.",
)  # fmt: skip
# Model
@click.option(
    "--recipe", type=click.Choice(RECIPES),
    help="Published options, in the place of the defaults below; what you give wins. bot: the strong baseline.",
)  # fmt: skip
@setting("--model", default="osnet_x0_25", show_default=True, help="Any of torchreid's models.")
@setting(
    "--init", default="random", show_default=True, metavar="{random,imagenet,FILE}",
    help="imagenet: weights in the usual cache; never downloaded.",
)  # fmt: skip
@setting("--size", default="256x128", show_default=True, type=Size(), help="Input size in pixels.")
@setting(
    "--neck", default="none", show_default=True, type=click.Choice(["none", "bnneck"]),
    help="bnneck: normalised features for the classifier.",
)  # fmt: skip
@setting("--last-stride", type=click.IntRange(1, 2), help="Of a residual network's last stage. [default: the model's]")
# Loss
@setting(
    "--loss", default="softmax", show_default=True, type=click.Choice(["softmax", "triplet"]),
    help="triplet: with hard mining, beside the cross entropy.",
)  # fmt: skip
@setting(
    "--triplet-weight", default=1.0, show_default=True, type=click.FloatRange(0), metavar="W",
    help="Of the triplet loss.",
)  # fmt: skip
@setting(
    "--softmax-weight", default=1.0, show_default=True, type=click.FloatRange(0), metavar="W",
    help="Of the cross entropy beside the triplet loss.",
)  # fmt: skip
@setting(
    "--margin", default=0.3, show_default=True, type=click.FloatRange(0), metavar="M",
    help="By which a triplet's negative is to be farther than its positive.",
)  # fmt: skip
@setting("--triplet-real", is_flag=True, help="Triplets of real images only.")
@setting(
    "--instances", default=0, show_default="4 with --loss triplet", type=click.IntRange(0), metavar="K",
    help="Images of an identity in a batch; 0: as they come.",
)  # fmt: skip
# Training
@setting(
    "--epochs", default=60, show_default=True, type=click.IntRange(1), metavar="N",
    help="Passes over the training list.",
)  # fmt: skip
@setting(
    "--batch", default=32, show_default=True, type=click.IntRange(2), metavar="N",
    help="Images a step, over all processes.",
)  # fmt: skip
@setting(
    "--optimiser", default="amsgrad", show_default=True, type=click.Choice(["adam", "amsgrad", "sgd", "rmsprop"]),
    help="torchreid's.",
)  # fmt: skip
@setting("--learning-rate", default=3e-4, show_default=True, type=POSITIVE, metavar="LR", help="At the start.")
@setting("--weight-decay", default=5e-4, show_default=True, type=click.FloatRange(0), metavar="WD", help="L2.")
@setting(
    "--steps", default="20,40", show_default=True, metavar="E,E",
    help="Epochs after which the learning rate falls tenfold; cosine: down to 0.",
)  # fmt: skip
@setting(
    "--warmup", default=0, show_default=True, type=click.IntRange(0), metavar="N",
    help="Epochs in which the learning rate rises from a tenth.",
)  # fmt: skip
@setting(
    "--classifier-epochs", default=0, show_default=True, type=click.IntRange(0), metavar="N",
    help="First epochs, in which only --new-layers learn.",
)  # fmt: skip
@setting("--new-layers", default="classifier", show_default=True, metavar="L,L", help="That ImageNet weights lack.")
@setting(
    "--base-rate", default=1.0, show_default=True, type=click.FloatRange(0), metavar="F",
    help="Multiple of the learning rate for all other layers.",
)  # fmt: skip
@setting("--clip", default=0.0, show_default=True, type=click.FloatRange(0), metavar="N", help="Of gradients; 0: none.")
# Augmentation
@setting("--pad", default=0, show_default=True, type=click.IntRange(0), metavar="PX", help="Before a random crop.")
@setting("--erase", default=0.0, show_default=True, type=SHARE, metavar="P", help="Probability of random erasing.")
@setting(
    "--translate", default=0.0, show_default=True, type=SHARE, metavar="P",
    help="Probability of a crop of the image enlarged to 9/8.",
)  # fmt: skip
@setting("--jitter/--no-jitter", default=False, show_default=True, help="Random brightness and contrast.")
@setting(
    "--colour", default=0.0, show_default=True, type=SHARE, metavar="P",
    help="Probability of a shift along the principal colours.",
)  # fmt: skip
# Machine
@setting(
    "--precision", default="fp32", show_default=True, type=click.Choice(["fp32", "bf16"]), help="bf16 uses autocast."
)  # fmt: skip
@setting(
    "--workers", default=0, show_default=True, type=click.IntRange(0),
    help="Loader processes; the result does not depend on it.",
)  # fmt: skip
# Evaluation
@click.option(
    "--metric", type=click.Choice(["euclidean", "cosine"]), help="Of features. [default: euclidean, or the recipe's]"
)  # fmt: skip
# What is left behind
@click.option("--tensorboard/--no-tensorboard", default=False, show_default=True, help="Write TensorBoard events.")
@options.common
@options.dry_run
def command(
    data: Path, out: Path, test: Path | None,
    synthetic: tuple[Path, ...], ratio: float, set_weight: tuple[float, ...], portion: float,
    portion_seed: int | None, replace: bool, match: str, control: str, jpeg: str | None, labels: str,
    recipe: str | None, metric: str | None,
    tensorboard: bool, seed: int, device: str, force: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Train on DATA's training split, alone or mixed with synthetic sets, and rank its gallery for each query.

    Prints mAP and rank-1/5/10/20; results.json holds the scores of every query. Running the command again continues it.

    \b
    Example:
      augment train-reid data --out runs/real --size 128x64 --epochs 20
      augment train-reid data --out runs/mixed --size 128x64 --epochs 20 --synthetic synthetic.h5 --ratio 1
      augment train-reid data --out runs/strong --recipe bot --synthetic synthetic.h5 --quota 0.25 --schedule annealed

    \b
    Example, four GPUs of one machine:
      torchrun --nproc-per-node 4 -m augment train-reid data --out runs/strong --recipe bot
    """
    with _one_voice():
        _refuse_unused(synthetic, portion, portion_seed, replace)
        from augment import launch
        from augment.train_reid import TrainReidConfig, prepare, run
        from reid.distributed import Reported
        from reid.mixing import MixPolicy
        from reid.recipes import RECIPES as published
        from reid.recipes import resolved

        given = click.get_current_context().meta.get(GIVEN, {})
        training = resolved(recipe, _fields(given) | {"seed": seed, "synthetic_smoothing": SMOOTHINGS[labels]})
        _refuse_triplets(given, training.loss)
        policy = MixPolicy(
            ratio if synthetic else 0.0, portion, seed, set_weight, replace, control, portion_seed
        )  # fmt: skip
        usual = published[recipe].metric if recipe else "euclidean"
        config = TrainReidConfig(training, policy, match, metric or usual, recipe, _jpeg(jpeg))
    if dry_run:
        with _one_voice():
            job = prepare(config, data, synthetic, test)
        if launch.is_first():
            for note in job.notes:
                options.log(note)
            click.echo(job)
        return
    try:
        with options.progress_bar("training", "img") as progress:
            made = run(
                config, data, out, synthetic, test=test, device=device, force=force, tensorboard=tensorboard,
                progress=progress, log=options.log,
            )  # fmt: skip
    except Reported:
        raise click.exceptions.Exit(2) from None
    if not launch.is_first():  # the results appear when the others have ended
        return
    found = json.loads(made.read_text(encoding="utf-8"))
    ranks = "  ".join(f"rank-{rank} {value:.1%}" for rank, value in found["cmc"].items())
    click.echo(f"mAP {found['mAP']:.1%}  {ranks}")
    click.echo(made)


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as those of a training."""
    fields = {RENAMED.get(name, name): value for name, value in given.items()}
    if "size" in fields:
        fields["height"], fields["width"] = _size(*fields.pop("size"))
    if "steps" in fields:
        fields["schedule"] = "cosine" if fields["steps"] == "cosine" else "steps"
        fields["steps"] = _epochs(fields["steps"])
    if "new_layers" in fields:
        fields["new_layers"] = tuple(name.strip() for name in fields["new_layers"].split(","))
    if fields.get("loss") == "triplet":
        fields.setdefault("instances", 4)
    return fields


def _refuse_unused(synthetic: tuple[Path, ...], portion: float, portion_seed: int | None, replace: bool) -> None:
    """An option about synthetic images without a synthetic set would silently train on real images only."""
    ctx = click.get_current_context()
    names = {parameter.name: parameter.opts[0] for parameter in ctx.command.params}
    given = [name for name in MIXING if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if given and not synthetic:
        raise click.UsageError(f"{names[given[0]]}: given without --synthetic X.h5; add the set or drop it")
    if replace and portion == 1:
        raise click.UsageError("--replace: nothing is withheld at --portion 1; give a smaller one")
    if portion_seed is not None and portion == 1:
        raise click.UsageError("--portion-seed: nothing is withheld at --portion 1; give a smaller one, or drop it")
    if replace and "ratio" in given:
        raise click.UsageError("--ratio: --replace decides how many synthetic images there are; drop one of them")
    if "first" in given and ctx.meta[GIVEN].get("schedule") != "first":
        raise click.UsageError("--first: only --schedule first has such a share; add it or drop this")


def _refuse_triplets(given: dict[str, Any], loss: str) -> None:
    """An option about triplets where there are none would silently do nothing."""
    for name in TRIPLETS if loss != "triplet" else ():
        if name in given:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option}: only --loss triplet has such a setting; add it or drop this")


def _jpeg(value: str | None) -> int | str | None:
    if value is None or value == "match":
        return value
    if not value.isdigit() or not 1 <= int(value) <= 100:
        raise click.BadParameter(f"{value!r}: expected match, or a quality from 1 to 100", param_hint="--jpeg")
    return int(value)


def _size(height: int, width: int) -> tuple[int, int]:
    if min(height, width) < 1:
        raise click.BadParameter(f"'{height}x{width}': expected 1 pixel or more, as in 256x128", param_hint="--size")
    return height, width


def _epochs(value: str) -> tuple[int, ...]:
    if value == "cosine":
        return ()
    parts = value.split(",") if value else []
    if not all(part.strip().isdigit() for part in parts):
        raise click.BadParameter(f"{value!r}: expected epochs such as 20,40, or cosine", param_hint="--steps")
    return tuple(int(part) for part in parts)
