"""The training loop of all generators. Progress is counted in images seen.

A step is a pure function of (state, step number), so a run that is interrupted and resumed from its last checkpoint
equals one that was not. What a step does is the objective's: one module of `generators.objectives` a paper.
"""

import copy
import json
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from generators import distributed
from generators.generator import Generator
from generators.initialisation import initialise
from generators.objective import Batch, TrainingConfig
from generators.registry import Recipe
from generators.schedules import SCHEDULES
from generators.vgg import VGG19Features


class TrainingState:
    """All that a step changes: networks, optimisers, histories, the averaged weights, the number of images seen."""

    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        features: VGG19Features | None = None,
        init: dict[str, Tensor] | None = None,
    ) -> None:
        """Networks initialised from the recipe's seed, or the generator from `init` (strict).

        Raises:
            ValueError: perceptual losses without `features`.
            RuntimeError: `init` of another architecture.
        """
        system, config = recipe.system, recipe.training
        assert system.objective is not None, "only systems with an objective have recipes"
        self.config = config
        self.images_seen = 0
        self.device = device
        self.generator: Generator = system.generator(recipe.network)
        scheme = system.objective.schemes[0] if config.initialisation == "published" else config.initialisation
        initialise(self.generator, torch.Generator().manual_seed(config.seed), scheme)
        if init is not None:
            self.generator.load_state_dict(init)
        self.generator.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        if features is not None:
            features = features.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.objective = system.objective(self.generator, recipe.weights, config, device, features)

    @property
    def step(self) -> int:
        return self.images_seen // self.config.batch

    @property
    def published(self) -> Generator:
        """The generator to use: averaged weights where they are kept."""
        return self.average if self.config.average_images else self.generator

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The state as a flat dictionary of tensors, and the little that is no tensor as metadata.

        Raises:
            ValueError: the last steps were not finite, so this state must not replace an earlier one.
        """
        self.objective.guard.check()
        flat: dict[str, Tensor] = {}
        for prefix, network in self._networks():
            flat |= {f"{prefix}.{key}": value.contiguous() for key, value in network.state_dict().items()}
        for prefix, optimiser in self._optimisers():
            for index, slots in optimiser.state_dict()["state"].items():
                flat |= {f"{prefix}.{index}.{slot}": torch.as_tensor(value) for slot, value in slots.items()}
        for name, pool in self.objective.pools.items():
            flat |= {f"pool.{name}.{key}": value for key, value in pool.tensors().items()}
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
            for index, parameter in enumerate(optimiser.param_groups[0]["params"]):
                for slot, value in state.get(index, {}).items():
                    if value.shape == parameter.shape:  # saved contiguous; fused Adam wants the parameter's strides
                        state[index][slot] = torch.empty_like(parameter, requires_grad=False).copy_(value)
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        for name, pool in self.objective.pools.items():
            pool.load(_under(f"pool.{name}", flat), self.device)
        self.images_seen = int(json.loads(metadata["images_seen"]))

    def _networks(self) -> list[tuple[str, nn.Module]]:
        judges = [(f"network.{name}", network) for name, network in self.objective.discriminators.items()]
        return [("generator", self.generator), ("average", self.average), *judges]

    def _optimisers(self) -> list[tuple[str, torch.optim.Optimizer]]:
        return [(f"optimiser.{name}", learner.optimiser) for name, learner in self.objective.learners.items()]


def train(state: TrainingState, batch_at: Callable[[int], Batch]) -> Iterator[dict[str, Tensor]]:
    """Train until `config.images` are seen, yielding each step's losses (weighted, detached scalars by name).

    `batch_at(step)` must be a pure function that gives this process's share of the global batch. torch's global seed is
    set at each step, for dropout. The caller saves, logs and draws between steps; dropping the iterator stops.

    Raises:
        ValueError: a loss or gradient that was not finite, named; noticed before the state can be saved.
    """
    config, objective = state.config, state.objective
    state.generator.train()
    while state.images_seen < config.images:
        # Learning rates
        factor = learning_rate_factor(config, state.images_seen)
        for learner in objective.learners.values():
            learner.set_factor(factor)

        # Batch and noise
        batch = batch_at(state.step)
        torch.manual_seed(_noise_seed(config.seed, state.step))

        # Updates
        objective.guard.images_seen = state.images_seen
        losses = objective.step(batch, state.step, state.images_seen)
        objective.guard.check(since=state.images_seen)

        # Averaged weights
        state.images_seen += config.batch
        _average(state)
        yield losses
    objective.guard.check()


def learning_rate_factor(config: TrainingConfig, images_seen: int) -> float:
    """The schedule's factor of the learning rates after so many images."""
    return SCHEDULES[config.schedule](images_seen / config.images, config.decay)


def _noise_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step, distributed.rank()]).generate_state(1, np.uint64)[0] >> 1)


@torch.no_grad()
def _average(state: TrainingState) -> None:
    if not state.config.average_images:
        return
    # A young average forgets faster, as in edm2, so that the initial noise does not linger.
    half_life = min(state.config.average_images, state.images_seen * 0.1)
    keep = 0.5 ** (state.config.batch / max(half_life, 1e-8))
    for old, new in zip(state.average.parameters(), state.generator.parameters(), strict=True):
        old.lerp_(new, 1 - keep)
    for old, new in zip(state.average.buffers(), state.generator.buffers(), strict=True):
        old.copy_(new)  # running statistics are averages already


def _under(prefix: str, flat: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix + "."): value for key, value in flat.items() if key.startswith(prefix + ".")}
