"""Training torchreid's models on real and synthetic images: one loop, exactly resumable.

torchreid's own engine cannot resume, crashes without a scheduler and knows no synthetic flag; its models and optimisers
are used here, its loop is not. Data order, augmentation and dropout are functions of (seed, epoch, position), so the
weights and the optimiser's moments are all the state there is.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.data import DataLoader

from reid import checkpoint, torchreid_api
from reid.dataset import MixedDataset, View
from reid.sampling import EpochBatches

# How often the losses are fetched from the device to see whether they are finite.
CHECK_STEPS = 50

# Options that change no result, so that a training may be continued under other ones.
FREE_OPTIONS = ("workers",)

# What a checkpoint's header counts: epochs done, images drawn, updates, seconds spent over all interruptions.
COUNTERS = ("epoch", "images_seen", "iterations", "seconds")


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

    def __post_init__(self) -> None:
        _check_options(self)

    @property
    def view(self) -> View:
        """How the network is shown an image; the data set must be made with it."""
        return View(self.height, self.width, self.flip, self.pad, self.erase)


def _check_options(config: ReidConfig) -> None:
    shares = ("gamma", "label_smoothing", "synthetic_smoothing", "flip", "erase")
    for name in ("height", "width", "epochs", "epoch_images"):
        _require(config, name, "must be at least 1", lambda value: value is None or value >= 1)
    for name in shares:
        _require(config, name, "must be between 0 and 1", lambda value: value is None or 0 <= value <= 1)
    for name in ("pad", "classifier_epochs", "weight_decay", "synthetic_weight", "workers", "seed"):
        _require(config, name, "must be 0 or more", lambda value: value >= 0)
    _require(config, "learning_rate", "must be above 0", lambda value: value > 0)
    _require(config, "batch", "must be at least 2 (batch normalisation needs two images)", lambda value: value >= 2)
    _require(config, "quota", "must be between 0 and 1, both excluded", lambda value: value is None or 0 < value < 1)
    for name, allowed in (
        ("optimiser", torchreid_api.OPTIMISERS),
        ("schedule", ("steps", "cosine")),
        ("precision", ("fp32", "bf16")),
    ):
        _require(config, name, f"must be one of {', '.join(allowed)}", lambda value, allowed=allowed: value in allowed)


def _require(config: ReidConfig, name: str, rule: str, holds: Callable[[Any], bool]) -> None:
    value = getattr(config, name)
    if not holds(value):
        raise ValueError(f"{name} {value!r}: {rule}")


def learning_rate(config: ReidConfig, epoch: int) -> float:
    """The rate throughout an epoch: that of torchreid's multi_step or cosine scheduler, without its state."""
    if config.schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * epoch / config.epochs)) / 2
    return config.learning_rate * config.gamma ** sum(step <= epoch for step in config.steps)


def smoothed_loss(
    config: ReidConfig, logits: Float[Tensor, "b classes"], labels: Int[Tensor, " b"], synthetic: Bool[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Cross entropy with label smoothing, in which synthetic images may count less or be smoothed otherwise."""
    losses = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing, reduction="none")
    if config.synthetic_smoothing is not None:
        smoother = F.cross_entropy(logits, labels, label_smoothing=config.synthetic_smoothing, reduction="none")
        losses = torch.where(synthetic, smoother, losses)
    if config.synthetic_weight != 1:
        losses = torch.where(synthetic, config.synthetic_weight * losses, losses)
    return losses.mean()


@final
class TrainingState:
    """Model, optimiser and how far it is: all that a resumed training needs."""

    def __init__(self, config: ReidConfig, num_classes: int, device: torch.device) -> None:
        self.config = config
        with seeded(device, config.seed):
            model = torchreid_api.build_model(config.model, num_classes)
        if config.init != "random":
            imagenet = config.init == "imagenet"
            path = torchreid_api.imagenet_file(config.model) if imagenet else Path(config.init)
            torchreid_api.load_weights(model, path)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.model = model.to(device).to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.optimiser = torchreid_api.build_optimiser(
            self.model, config.optimiser, config.learning_rate, config.weight_decay
        )
        self.epoch = 0
        self.images_seen = 0
        self.iterations = 0
        self.seconds = 0.0

    def save(self, data_digest: str, num_classes: int) -> bytes:
        """The state as a checkpoint.

        Raises:
            ValueError: a weight is not finite.
        """
        for name, value in self.model.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise ValueError(
                    f"{name} is not finite after epoch {self.epoch}: lower the learning rate (the checkpoint of the "
                    "epoch before is untouched)"
                )
        header = {
            "config": asdict(self.config),
            "num_classes": num_classes,
            "data_digest": data_digest,
            **{name: getattr(self, name) for name in COUNTERS},
        }
        return checkpoint.to_bytes(self.model, self.optimiser, header)

    def load(self, data: bytes, data_digest: str) -> None:
        """Continue from a checkpoint.

        Raises:
            ValueError: made with other options or on other images; the message names what differs.
        """
        saved = checkpoint.from_bytes(data)
        mine = asdict(self.config) | {"data_digest": data_digest}
        theirs = asdict(_config(saved.header)) | {"data_digest": saved.header["data_digest"]}
        differing = [key for key in mine if key not in FREE_OPTIONS and mine[key] != theirs[key]]
        if differing:
            changes = ", ".join(f"{key} ({theirs[key]!r} there, {mine[key]!r} asked)" for key in differing)
            raise ValueError(f"the checkpoint was made otherwise: {changes}; use its options, or train from the start")
        checkpoint.restore_model(saved, self.model)
        checkpoint.restore_optimiser(saved, self.model, self.optimiser)
        for name in COUNTERS:
            setattr(self, name, saved.header[name])


def load_model(data: bytes, device: torch.device | str = "cpu") -> tuple[nn.Module, ReidConfig]:
    """The model in a checkpoint, ready to extract features, and the configuration that it was trained with."""
    saved = checkpoint.from_bytes(data)
    config = _config(saved.header)
    device = torch.device(device)
    with seeded(device, 0):  # its weights are replaced; only the caller's random numbers matter
        model = torchreid_api.build_model(config.model, saved.header["num_classes"])
    checkpoint.restore_model(saved, model)
    return model.to(device).eval(), config


def train(
    config: ReidConfig,
    dataset: MixedDataset,
    *,
    num_classes: int,
    device: torch.device | str = "cpu",
    resume: bytes | None = None,
    on_checkpoint: Callable[[bytes], None] = lambda data: None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
    progress: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """Train to the end of the last epoch; after each `on_epoch` gets a row of figures, then `on_checkpoint` the state.

    Continued from any of those states (`resume`), the result is the one of an uninterrupted training, bit for bit, on a
    CPU. `progress` gets the images seen and those of the whole training.

    Raises:
        ValueError: unfit options or data, or a loss that is not finite; what `on_checkpoint` had got last stays good.
    """
    # Check
    if num_classes < 2 or len(dataset) < 2:
        raise ValueError(f"{len(dataset)} images of {num_classes} identities: training needs at least 2 of both")
    assert num_classes >= dataset.num_classes, "a label would be out of range"
    assert dataset.view == config.view, "the data set shows images in another way than the configuration says"
    device, data_digest = torch.device(device), dataset.digest

    # State
    state = TrainingState(config, num_classes, device)
    if resume is not None:
        state.load(resume, data_digest)

    # Data
    sampler = EpochBatches(
        dataset.synthetic,
        batch=config.batch,
        seed=config.seed,
        epochs=config.epochs,
        first_epoch=state.epoch,
        epoch_images=config.epoch_images,
        quota=config.quota,
    )
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,  # pyright: ignore[reportArgumentType]  (keys are draws, not numbers)
        num_workers=config.workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # only so that it leaves the global one alone
    )
    batches = iter(loader)
    epoch_images = sampler.steps * sampler.batch

    # Loop
    while state.epoch < config.epochs:
        started = time.monotonic()
        rate = _begin_epoch(state)
        losses = torch.full((sampler.steps,), torch.nan, device=device)
        hits = torch.zeros((), device=device)
        with seeded(device, _noise_seed(config.seed, state.epoch)):
            for step in range(sampler.steps):
                images, labels, _, synthetic = (tensor.to(device, non_blocking=True) for tensor in next(batches))
                losses[step], correct = _step(state, images, labels, synthetic)
                hits += correct
                state.images_seen += sampler.batch
                state.iterations += 1
                if (step + 1) % CHECK_STEPS == 0 or step + 1 == sampler.steps:
                    _require_finite(losses[: step + 1], state.epoch)
                if progress is not None:
                    progress(state.images_seen, config.epochs * epoch_images)

        # Report and save
        state.epoch += 1
        state.seconds += time.monotonic() - started
        data = state.save(data_digest, num_classes)
        row = {
            "loss": float(losses.cpu().double().mean()),
            "accuracy": float(hits) / epoch_images,
            "learning_rate": rate,
        }
        on_epoch({name: getattr(state, name) for name in COUNTERS} | row)
        on_checkpoint(data)
    return state.model.eval()


def _begin_epoch(state: TrainingState) -> float:
    """Set the learning rate, and which layers learn; the rate."""
    rate = learning_rate(state.config, state.epoch)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    all_learn = state.epoch >= state.config.classifier_epochs
    state.model.train()
    if not all_learn and not hasattr(state.model, "classifier"):
        raise ValueError(f"classifier_epochs: {state.config.model} has no layer of that name; set it to 0")
    for name, layer in state.model.named_children():
        learns = all_learn or name == "classifier"
        layer.train(learns).requires_grad_(learns)
    return rate


def _step(
    state: TrainingState, images: Float[Tensor, "b 3 h w"], labels: Int[Tensor, " b"], synthetic: Bool[Tensor, " b"]
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """One update: its loss, and how many images were classified right."""
    config = state.config
    if config.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        logits = state.model(images)
    if not isinstance(logits, Tensor):
        raise ValueError(f"model {config.model}: has several classifiers, which this loop cannot train; choose another")
    loss = smoothed_loss(config, logits.float(), labels, synthetic)
    state.optimiser.zero_grad()
    loss.backward()
    state.optimiser.step()
    return loss.detach(), (logits.argmax(1) == labels).sum()


def _require_finite(losses: Float[Tensor, " steps"], epoch: int) -> None:
    broken = torch.nonzero(~torch.isfinite(losses))
    if len(broken):
        raise ValueError(
            f"the loss is not finite at epoch {epoch + 1}, step {int(broken[0]) + 1}: lower the learning rate or use "
            "precision fp32, and train from the start (the checkpoint of the epoch before is good)"
        )


@contextlib.contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Within it torch's global generators start from `seed`; afterwards they are as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _noise_seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _config(header: dict[str, Any]) -> ReidConfig:
    """The configuration in a checkpoint's header."""
    saved = header["config"]
    unknown = saved.keys() - {field.name for field in fields(ReidConfig)}
    if unknown:
        raise ValueError(f"the checkpoint has unknown options ({', '.join(sorted(unknown))}): it needs a newer version")
    return ReidConfig(**saved | {"steps": tuple(saved["steps"])})
