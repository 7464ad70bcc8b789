"""What the ways of training share: their options, the batch, and the interface of one paper's losses and updates."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generators.generator import Generator
from generators.history import HistoryPool
from generators.initialisation import initialise
from generators.learner import Adversary, Guard, Learner
from generators.schedules import SCHEDULES
from generators.tensors import Images, PoseMaps
from generators.vgg import VGG19Features

Compiled = TypeVar("Compiled", bound=Callable[..., Any])


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how hard to train, whatever the losses."""

    images: int = 811_200
    batch: int = 32
    learning_rate: float = 2e-4
    discriminator_learning_rate: float = 2e-4
    momentum: float = 0.5  # Adam's beta1
    schedule: str = "constant"  # of the learning rates, a row of schedules.SCHEDULES
    decay: float = 0.0  # linear: share of the images, the last ones, over which the rates fall to zero
    average_images: int = (
        0  # half-life of the weight average that is published, in images; 0 publishes the last weights
    )
    clip: float = 0.0  # largest gradient norm of the generator; 0 does not clip
    initialisation: str = "published"  # or a row of initialisation.SCHEMES, for the generator
    features: str = "imagenet"  # VGG19's weights for perceptual losses; random: seeded noise at an eighth of the widths
    precision: str = "fp32"  # or bf16 autocast
    compile: bool = False  # torch.compile
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision {self.precision!r}: expected fp32 or bf16")
        if self.images < 1 or self.batch < 1:
            raise ValueError(f"images {self.images} and batch {self.batch} must be at least 1")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule {self.schedule!r}: expected one of {', '.join(SCHEDULES)}")
        if (self.schedule == "linear") != (self.decay > 0):
            raise ValueError(
                f"schedule {self.schedule} with decay {self.decay}: the share over which the rates fall (--decay) goes "
                "with the schedule linear, and linear needs one above 0"
            )
        if self.features not in ("imagenet", "random"):
            raise ValueError(f"features {self.features!r}: expected imagenet or random")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay {self.decay}: expected a share of the images, from 0 to 1")


# How the tiny presets train: from noise, in tens of thousands of images, on a CPU.
TINY_TRAINING = TrainingConfig(
    images=80_000,
    batch=8,
    learning_rate=5e-4,
    discriminator_learning_rate=1e-4,
    momentum=0.9,
    schedule="linear",
    decay=0.5,
    average_images=4_000,
    initialisation="lecun",
    clip=1.0,
)


class Batch(NamedTuple):
    """Pairs of images of one person and the pose maps of both."""

    source: Images
    source_map: PoseMaps
    target: Images
    target_map: PoseMaps
    target_mask: Float[Tensor, "b 1 h w"] | None = None  # 1 on the body, drawn from its key points; where `needs_mask`


class Objective(ABC):
    """How one paper trains its generator: losses, adversaries, and the order of a step's updates.

    Subclasses build their learners in `__init__`: the generator's (or its stages'), then one for each discriminator.
    """

    schemes: ClassVar[tuple[str, str]]  # how the authors initialise generator and discriminators
    needs_mask: ClassVar[bool] = False  # whether batches must hold `target_mask`

    def __init__(
        self, generator: Generator, weights: Any, training: TrainingConfig, device: torch.device,
        features: VGG19Features | None = None,
    ) -> None:  # fmt: skip
        """`generator` is on `device` already; `weights` is the objective's own frozen dataclass of options.

        Raises:
            ValueError: its losses need VGG19's features, which are not given.
        """
        if features is None and self.vgg_layers(weights):
            raise ValueError("perceptual losses need VGG19's weights; give them or train with perceptual losses off")
        self.generator = generator
        self.weights = weights
        self.training = training
        self.device = device
        self.features = features
        self.guard = Guard()
        self.learners: dict[str, Learner] = {}
        self.discriminators: dict[str, nn.Module] = {}
        self.pools: dict[str, HistoryPool] = {}
        # Discriminators start from their own stream, so that no choice of the generator moves them.
        self._rng = torch.Generator().manual_seed(training.seed + 1)

    @staticmethod
    @abstractmethod
    def vgg_layers(weights: Any) -> tuple[str, ...]:
        """The layers of VGG19 that the losses read, none if () ."""

    @abstractmethod
    def step(self, batch: Batch, step: int, images_seen: int) -> dict[str, Tensor]:
        """All updates of one step; the weighted losses by name, detached. A function of the arguments and the state."""

    def generator_learner(self, network: nn.Module, name: str = "generator") -> Learner:
        """Add a learner for (a part of) the generator."""
        config = self.training
        learner = Learner(name, network, config.learning_rate, config.momentum, self.guard, config.clip)
        return self.learners.setdefault(name, learner)

    def adversary(self, network: nn.Module, name: str, mode: str, weight: float = 1.0, pool: int = 0) -> Adversary:
        """An adversary in the precision of the training; its pool of earlier samples, if any, is kept by its name."""
        learner = self.discriminator_learner(network, name)
        forward = self.compiled(network)

        def predict(inputs: Tensor) -> Tensor:
            with self.autocast():
                return forward(inputs).float()

        if pool:
            self.pools[name] = HistoryPool(pool, self.training.seed + len(self.learners))
        return Adversary(learner, predict, mode, weight, self.pools.get(name))

    def discriminator_learner(self, network: nn.Module, name: str = "discriminator") -> Learner:
        """Initialise a discriminator, move it to the device and add a learner for it."""
        initialise(network, self._rng, self.schemes[1])
        network.to(self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        network.train()
        self.discriminators[name] = network
        rate = self.training.discriminator_learning_rate
        return self.learners.setdefault(name, Learner(name, network, rate, self.training.momentum, self.guard))

    def autocast(self):
        """The precision in which networks run. Pixels are compared in float32 outside of it, features inside."""
        if self.training.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def compiled(self, function: Compiled) -> Compiled:
        """`function`, compiled where that was asked for."""
        return torch.compile(function) if self.training.compile else function  # pyright: ignore[reportReturnType]
