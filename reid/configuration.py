"""What to train and how: the options of a re-ID training, and what they may be."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from reid import torchreid_api
from reid.dataset import View
from reid.quotas import QUOTA_SCHEDULES, QuotaPlan

# Options that change no result, so that a training may be continued under other ones.
FREE_OPTIONS = ("workers",)

# Options that came after the first trainings, each with a default that does what was done before it.
LATER_OPTIONS = (
    "loss", "triplet_weight", "softmax_weight", "margin", "triplet_real_only", "instances", "quota_schedule",
    "quota_share", "new_layers", "base_rate", "warmup_epochs", "clip", "neck", "last_stride", "translate", "jitter",
    "colour",
)  # fmt: skip


@dataclass(frozen=True)
class ReidConfig:
    """What to train and how. The defaults are torchreid's recipe for resnet50, which small models also take well."""

    model: str = "osnet_x0_25"
    init: str = "random"  # random, imagenet, or the path of a file of weights
    height: int = 256
    width: int = 128
    # Length
    epochs: int = 60
    batch: int = 32
    epoch_images: int | None = None  # draws in an epoch; None = as many as there are images. For arms of equal length
    quota: float | None = None  # share of synthetic images in each batch; None = their share of the list
    # Optimiser
    optimiser: str = "amsgrad"
    learning_rate: float = 3e-4
    weight_decay: float = 5e-4
    schedule: str = "steps"  # steps or cosine
    steps: tuple[int, ...] = (20, 40)  # epochs at which the learning rate is multiplied by gamma
    gamma: float = 0.1
    classifier_epochs: int = 0  # first epochs, in which only the classifier learns (for ImageNet weights)
    # Labels: smoothing 1 is uniform over the identities (LSRO, Zheng et al. 2017)
    label_smoothing: float = 0.1
    synthetic_smoothing: float | None = None  # of synthetic images; None = as for real ones
    synthetic_weight: float = 1.0  # of a synthetic image in the loss
    # Augmentation
    flip: float = 0.5
    pad: int = 0
    erase: float = 0.0
    # Machine
    seed: int = 0
    precision: str = "fp32"  # fp32 or bf16 (autocast)
    channels_last: bool = True
    workers: int = 0
    # Loss: cross entropy, or its sum with the triplet loss with hard mining (Hermans et al. 2017)
    loss: str = "softmax"  # softmax or triplet
    triplet_weight: float = 1.0
    softmax_weight: float = 1.0  # of the cross entropy beside the triplet loss
    margin: float = 0.3
    triplet_real_only: bool = False  # synthetic images are neither anchors nor positives nor negatives
    # Batches
    instances: int = 0  # images of an identity in a batch; 0 = as they come
    quota_schedule: str = "constant"  # constant, first, annealed or ramp: how the quota moves over the epochs
    quota_share: float = 0.5  # of the epochs that see synthetic images, for first
    # Network
    neck: str = "none"  # none or bnneck (Luo et al. 2019)
    last_stride: int | None = None  # of a residual network's last stage, 1 or 2; None = the model's own
    # Updates
    new_layers: tuple[str, ...] = ("classifier",)  # that learn alone in classifier_epochs, and by the full rate
    base_rate: float = 1.0  # by which the learning rate of all other layers is multiplied
    warmup_epochs: int = 0  # in which the learning rate rises from a tenth, with every update
    clip: float = 0.0  # largest norm of the gradient; 0 = any
    # Augmentation
    translate: float = 0.0  # probability of a random crop of the image enlarged to 9/8
    jitter: bool = False  # brightness by up to 20 %, contrast by up to 15 %
    colour: float = 0.0  # probability of a shift along the principal colours (Krizhevsky et al. 2012)

    def __post_init__(self) -> None:
        _check_options(self)

    @property
    def quota_plan(self) -> QuotaPlan:
        """How the share of synthetic images moves over the epochs."""
        return QuotaPlan(self.quota_schedule, self.quota_share)

    @property
    def view(self) -> View:
        """How the network is shown an image; the data set must be made with it."""
        return View(self.height, self.width, self.flip, self.pad, self.erase, self.translate, self.jitter, self.colour)


def determining_options(config: ReidConfig) -> dict[str, Any]:
    """The options that decide the result; later ones only where they differ from what was done before them."""
    usual = {field.name: field.default for field in fields(ReidConfig)}
    return {
        name: value
        for name, value in asdict(config).items()
        if name not in FREE_OPTIONS and not (name in LATER_OPTIONS and value == usual[name])
    }


def from_saved(saved: dict[str, Any]) -> ReidConfig:
    """The configuration that was saved as JSON; options that it does not know yet take their defaults.

    Raises:
        ValueError: it holds options of a newer version.
    """
    unknown = saved.keys() - {field.name for field in fields(ReidConfig)}
    if unknown:
        raise ValueError(f"the checkpoint has unknown options ({', '.join(sorted(unknown))}): it needs a newer version")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    return ReidConfig(**values)


def _check_options(config: ReidConfig) -> None:
    shares = ("gamma", "label_smoothing", "synthetic_smoothing", "flip", "erase", "quota_share", "translate", "colour")
    for name in ("height", "width", "epochs", "epoch_images"):
        _require(config, name, "must be at least 1", lambda value: value is None or value >= 1)
    for name in shares:
        _require(config, name, "must be between 0 and 1", lambda value: value is None or 0 <= value <= 1)
    for name in (
        "pad", "classifier_epochs", "weight_decay", "synthetic_weight", "workers", "seed", "triplet_weight",
        "softmax_weight", "margin", "instances", "base_rate", "warmup_epochs", "clip",
    ):  # fmt: skip
        _require(config, name, "must be 0 or more", lambda value: value >= 0)
    _require(config, "learning_rate", "must be above 0", lambda value: value > 0)
    _require(config, "batch", "must be at least 2 (batch normalisation needs two images)", lambda value: value >= 2)
    _require(config, "quota", "must be between 0 and 1, both excluded", lambda value: value is None or 0 < value < 1)
    for name, allowed in (
        ("optimiser", torchreid_api.OPTIMISERS),
        ("schedule", ("steps", "cosine")),
        ("precision", ("fp32", "bf16")),
        ("loss", ("softmax", "triplet")),
        ("quota_schedule", QUOTA_SCHEDULES),
        ("neck", ("none", "bnneck")),
    ):
        _require(config, name, f"must be one of {', '.join(allowed)}", lambda value, allowed=allowed: value in allowed)
    size = torchreid_api.FIXED_SIZES.get(config.model)
    if size is not None and size != (config.height, config.width):
        raise ValueError(
            f"height {config.height}, width {config.width}: {config.model} takes images of {size[0]}x{size[1]} only"
        )
    _require(config, "last_stride", "must be 1 or 2, or None for the model's own", lambda value: value in (None, 1, 2))
    _require(config, "new_layers", "must name a layer", lambda value: len(value) > 0)
    if config.instances and (config.batch % config.instances or config.batch < 2 * config.instances):
        raise ValueError(
            f"instances {config.instances}: batch {config.batch} must hold that many images of each of 2 or more "
            f"identities; use batch {max(2, config.batch // config.instances) * config.instances}"
        )
    if config.loss == "triplet":
        _check_triplet(config)


def _check_triplet(config: ReidConfig) -> None:
    if config.instances < 2:
        raise ValueError(
            f"instances {config.instances}: the triplet loss needs several images of an identity in a batch; "
            "set it to 4"
        )
    if config.triplet_weight + config.softmax_weight == 0:
        raise ValueError("triplet_weight 0 and softmax_weight 0: one of them must be above 0")
    if config.synthetic_smoothing == 1 and not config.triplet_real_only:
        raise ValueError(
            "synthetic_smoothing 1 (LSRO): a synthetic image then has no identity, which a triplet needs; "
            "set triplet_real_only, or keep the identities"
        )


def _require(config: ReidConfig, name: str, rule: str, holds: Callable[[Any], bool]) -> None:
    value = getattr(config, name)
    if not holds(value):
        raise ValueError(f"{name} {value!r}: {rule}")
