"""Published recipes by name: torchreid's for Market-1501 and the strong baseline. Options that are given win.

torchreid's are those of its configs/ folder, whose `single_step` scheduler lets the rate fall at every multiple of its
step, hence two steps here. All: inputs of 256x128, random flips, label smoothing 0.1, weight decay 5e-4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reid.configuration import ReidConfig


@dataclass(frozen=True)
class Recipe:
    """The options of a training, the distance its features are compared by, and what was published for it."""

    training: ReidConfig
    metric: str = "euclidean"
    published: str = ""  # rank-1 (mAP) on Market-1501 in per cent, with the source


RECIPES: dict[str, Recipe] = {
    "osnet_x1_0": Recipe(
        ReidConfig(
            model="osnet_x1_0", init="imagenet", epochs=150, batch=64, learning_rate=1.5e-3, steps=(60, 120),
            classifier_epochs=10,
        ),
        published="94.2 (82.6), torchreid's model zoo",
    ),
    "osnet_x0_25": Recipe(
        ReidConfig(
            model="osnet_x0_25", init="imagenet", epochs=180, batch=128, learning_rate=3e-3, steps=(80, 160),
            classifier_epochs=10,
        ),
        published="91.2 (75.0), torchreid's model zoo",
    ),
    "osnet_ain_x1_0": Recipe(
        ReidConfig(
            model="osnet_ain_x1_0", init="imagenet", epochs=100, batch=64, learning_rate=1.5e-3, schedule="cosine",
            steps=(), classifier_epochs=10, jitter=True,
        ),
        metric="cosine",
    ),
    "osnet_x1_0-scratch": Recipe(
        ReidConfig(
            model="osnet_x1_0", epochs=350, batch=64, optimiser="sgd", learning_rate=0.065, steps=(150, 225, 300),
            translate=0.5, erase=0.5,
        ),
        published="93.6 (81.0), Zhou et al. 2019, from random weights",
    ),
    "resnet50": Recipe(
        ReidConfig(model="resnet50", init="imagenet", classifier_epochs=5),
        published="87.9 (70.4), torchreid's model zoo",
    ),
    "resnet50_fc512": Recipe(
        ReidConfig(
            model="resnet50_fc512", init="imagenet", classifier_epochs=5, new_layers=("fc", "classifier"),
        ),
        published="90.8 (75.3), torchreid's model zoo",
    ),
    # The warm-up of fast-reid is 2,000 updates, which are 10 epochs of Market-1501 in batches of 64.
    "bot": Recipe(
        ReidConfig(
            model="resnet50", init="imagenet", epochs=120, batch=64, instances=4, loss="triplet", neck="bnneck",
            last_stride=1, optimiser="adam", learning_rate=3.5e-4, steps=(40, 90), warmup_epochs=10, pad=10, erase=0.5,
        ),
        metric="cosine",
        published="94.4 (86.1), fast-reid's model zoo, after Luo et al. 2019 (94.5 (85.9), with centre loss)",
    ),
}  # fmt: skip


def resolved(name: str | None, given: Mapping[str, Any]) -> ReidConfig:
    """The options of a recipe (None: the defaults) with those that are given in their place.

    From random weights there are no good layers to protect, so that no epoch is for the classifier alone and all layers
    have the full rate, unless asked for.

    Raises:
        ValueError: no recipe of that name; options that do not fit together.
    """
    if name is not None and name not in RECIPES:
        raise ValueError(f"recipe {name!r}: must be one of {', '.join(RECIPES)}")
    base = ReidConfig() if name is None else RECIPES[name].training
    if given.get("init", base.init) == "random":
        base = replace(base, classifier_epochs=0, base_rate=1.0)
    return replace(base, **given)
