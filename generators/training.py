"""The training loop of pose-transfer generators: DPTN's two tasks, losses and weights (arXiv 2203.02910, section 3.4).

Progress is counted in images seen. A step is a pure function of (state, step number), so a run that is interrupted and
resumed from its last checkpoint equals one that was not.
"""

import copy
import json
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generators.adversarial import Adversary
from generators.losses import VGG19Features, content_loss, reconstruction, style_loss
from generators.registry import create_discriminator, create_generator, initialise
from generators.tensors import Images, PoseMaps


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how hard to train. Weights of the losses are those of DPTN's Market-1501 command line."""

    images: int = 811_200
    batch: int = 32
    learning_rate: float = 2e-4
    discriminator_learning_rate: float = 2e-5
    momentum: float = 0.5  # Adam's beta1
    decay: float = 0.0  # share of the images, the last ones, over which the learning rates fall linearly to zero
    reconstruction: float = 2.0
    content: float = 0.5
    style: float = 500.0
    adversarial: float = 5.0
    target_share: float = 0.8  # of the loss; the rest is the source-to-source task's
    average_images: int = (
        0  # half-life of the weight average that is published, in images; 0 publishes the last weights
    )
    clip: float = 0.0  # largest gradient norm; 0 does not clip
    initialisation: str = "published"  # or lecun
    precision: str = "fp32"  # or bf16 autocast
    perceptual: bool = True  # content and style losses, which need VGG19's weights
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision {self.precision!r}: expected fp32 or bf16")
        if self.images < 1 or self.batch < 1:
            raise ValueError(f"images {self.images} and batch {self.batch} must be at least 1")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay {self.decay}: expected a share of the images, from 0 to 1")


TRAINING_PRESETS: dict[str, TrainingConfig] = {
    "market": TrainingConfig(),
    "tiny": TrainingConfig(
        images=80_000,
        batch=8,
        learning_rate=5e-4,
        discriminator_learning_rate=1e-4,
        momentum=0.9,
        decay=0.5,
        reconstruction=5.0,
        adversarial=0.25,
        average_images=4_000,
        initialisation="lecun",
        clip=1.0,
        perceptual=False,
    ),
}


def training_preset(preset: str, **overrides: object) -> TrainingConfig:
    """A row of the table with some fields replaced.

    Raises:
        ValueError: an unknown preset or field.
    """
    if preset not in TRAINING_PRESETS:
        raise ValueError(f"preset {preset!r}: expected one of {', '.join(TRAINING_PRESETS)}")
    unknown = overrides.keys() - asdict(TRAINING_PRESETS[preset]).keys()
    if unknown:
        raise ValueError(f"unknown training option {', '.join(sorted(unknown))}")
    return replace(TRAINING_PRESETS[preset], **overrides)  # pyright: ignore[reportArgumentType]


class Batch(NamedTuple):
    """Pairs of images of one person and the pose maps of both."""

    source: Images
    source_map: PoseMaps
    target: Images
    target_map: PoseMaps


class TrainingState:
    """All that a step changes: both networks, both optimisers, the averaged weights, the number of images seen."""

    def __init__(
        self,
        model: str,
        preset: str,
        config: TrainingConfig,
        device: torch.device,
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        """Networks initialised from `config.seed`, or the generator from `weights` (strict)."""
        rng = torch.Generator().manual_seed(config.seed)
        self.config = config
        self.images_seen = 0
        self.generator = create_generator(model, preset)
        self.discriminator = create_discriminator(model, preset)
        for network in (self.generator, self.discriminator):
            initialise(network, rng, config.initialisation if network is self.generator else "published")
            network.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if weights is not None:
            self.generator.load_state_dict(weights)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        betas = (config.momentum, 0.999)
        self.optimiser = torch.optim.Adam(self.generator.parameters(), config.learning_rate, betas)
        self.adversary = Adversary(
            self.discriminator,
            torch.optim.Adam(self.discriminator.parameters(), config.discriminator_learning_rate, betas),
        )

    @property
    def step(self) -> int:
        return self.images_seen // self.config.batch

    @property
    def published(self) -> nn.Module:
        """The generator to use: averaged weights where they are kept."""
        return self.average if self.config.average_images else self.generator

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The state as a flat dictionary of tensors, and the little that is no tensor as metadata."""
        flat: dict[str, Tensor] = {}
        for prefix, network in self._networks():
            flat |= {f"{prefix}.{key}": value.contiguous() for key, value in network.state_dict().items()}
        for prefix, optimiser in self._optimisers():
            for index, slots in optimiser.state_dict()["state"].items():
                flat |= {f"{prefix}.{index}.{slot}": torch.as_tensor(value) for slot, value in slots.items()}
        return flat, {"images_seen": json.dumps(self.images_seen)}

    def load(self, flat: dict[str, Tensor], metadata: dict[str, str]) -> None:
        """Go on from `tensors()`.

        Raises:
            RuntimeError, KeyError: the state of another architecture.
        """
        for prefix, network in self._networks():
            network.load_state_dict(_under(prefix, flat))
        for prefix, optimiser in self._optimisers():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(prefix, flat).items():
                index, _, slot = key.partition(".")
                state.setdefault(int(index), {})[slot] = value
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        self.images_seen = int(json.loads(metadata["images_seen"]))

    def _networks(self) -> list[tuple[str, nn.Module]]:
        return [("generator", self.generator), ("discriminator", self.discriminator), ("average", self.average)]

    def _optimisers(self) -> list[tuple[str, torch.optim.Optimizer]]:
        return [("optimiser", self.optimiser), ("adversary", self.adversary.optimiser)]


def train(
    state: TrainingState, batch_at: Callable[[int], Batch], features: VGG19Features | None = None
) -> Iterator[dict[str, Tensor]]:
    """Train until `config.images` are seen, yielding each step's losses (weighted, detached scalars by name).

    `batch_at(step)` must be a pure function. The caller saves, logs and draws between steps; dropping the iterator
    stops the training.

    Raises:
        ValueError: perceptual losses without VGG19; a loss that is not finite, named, with the state still whole.
    """
    config = state.config
    if config.perceptual and features is None:
        raise ValueError("perceptual losses need VGG19's weights; give them or train with perceptual losses off")
    parameters = list(state.generator.parameters())
    state.generator.train()
    state.discriminator.train()
    while state.images_seen < config.images:
        # Learning rates
        factor = learning_rate_factor(config, state.images_seen)
        _set_learning_rate(state.optimiser, config.learning_rate * factor)
        _set_learning_rate(state.adversary.optimiser, config.discriminator_learning_rate * factor)

        # Both tasks
        batch = batch_at(state.step)
        with _autocast(config, batch.source.device):
            fake_target, fake_source = state.generator.both(batch.source, batch.source_map, batch.target_map)
            fake_target, fake_source = fake_target.float(), fake_source.float()
            losses = _generator_losses(config, features, batch, fake_target, fake_source)

        # Adversary, then the generator against the updated adversary
        losses["adversary"] = state.adversary.learn(batch.target, fake_target)
        losses["adversarial"] = config.adversarial * state.adversary.judge(fake_target)
        _refuse_nonfinite(losses, state.images_seen)
        total = torch.stack([value for name, value in losses.items() if name != "adversary"]).sum()
        state.optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(parameters, config.clip or math.inf)
        _refuse_nonfinite({"gradient": norm}, state.images_seen)
        state.optimiser.step()

        # Averaged weights
        state.images_seen += len(batch.source)
        _average(state)
        yield {name: value.detach() for name, value in losses.items()}


def learning_rate_factor(config: TrainingConfig, images_seen: int) -> float:
    """1, falling linearly to 0 over the last `decay` of the images."""
    left = 1 - images_seen / config.images
    return 1.0 if left >= config.decay else max(0.0, left) / config.decay


def _generator_losses(
    config: TrainingConfig, features: VGG19Features | None, batch: Batch, fake_target: Images, fake_source: Images
) -> dict[str, Float[Tensor, ""]]:
    """The weighted losses of both tasks; the source-to-source task's share is 1 - target_share."""
    losses = {}
    tasks = (
        ("target", fake_target, batch.target, config.target_share),
        ("source", fake_source, batch.source, 1 - config.target_share),
    )
    for name, fake, real, share in tasks:
        losses[f"{name}_reconstruction"] = share * config.reconstruction * reconstruction(fake, real)
        if config.perceptual and features is not None:
            ours, theirs = features(fake), features(real)
            losses[f"{name}_content"] = share * config.content * content_loss(ours, theirs)
            losses[f"{name}_style"] = share * config.style * style_loss(ours, theirs)
    return losses


def _average(state: TrainingState) -> None:
    if not state.config.average_images:
        return
    # A young average forgets faster, as in edm2, so that the initial noise does not linger.
    half_life = min(state.config.average_images, state.images_seen * 0.1)
    keep = 0.5 ** (state.config.batch / max(half_life, 1e-8))
    with torch.no_grad():
        for old, new in zip(state.average.parameters(), state.generator.parameters(), strict=True):
            old.lerp_(new, 1 - keep)


def _refuse_nonfinite(losses: dict[str, Tensor], images_seen: int) -> None:
    broken = [name for name, value in losses.items() if not torch.isfinite(value)]
    if broken:
        raise ValueError(
            f"{', '.join(broken)} is not finite after {images_seen} images; the last checkpoint is good: "
            "lower the learning rate or train in fp32"
        )


def _autocast(config: TrainingConfig, device: torch.device):
    if config.precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = value


def _under(prefix: str, flat: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix + "."): value for key, value in flat.items() if key.startswith(prefix + ".")}
