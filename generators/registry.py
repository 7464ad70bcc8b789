"""The table of systems: which network, how it is trained, and the presets of both. A new system is one line here."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch

from generators import baselines, dptn, patn, pg2
from generators.generator import Generator
from generators.objective import Objective, TrainingConfig
from generators.objectives import dptn as dptn_objective
from generators.objectives import patn as patn_objective
from generators.objectives import pg2 as pg2_objective

Presets = dict[str, Any]  # network configuration by preset
Ways = dict[str, tuple[Any, TrainingConfig]]  # weights of the losses and training configuration by preset


@dataclass(frozen=True)
class System:
    """A network with its presets, and how it is trained; one that needs no training has no objective."""

    generator: type[Generator]
    presets: Presets
    objective: type[Objective] | None = None
    ways: Ways = dataclasses.field(default_factory=dict)


SYSTEMS: dict[str, System] = {
    "pg2": System(pg2.PG2, pg2.PRESETS, pg2_objective.PG2Objective, pg2_objective.PRESETS),
    "patn": System(patn.PATN, patn.PRESETS, patn_objective.PATNObjective, patn_objective.PRESETS),
    "dptn": System(dptn.DPTN, dptn.PRESETS, dptn_objective.DPTNObjective, dptn_objective.PRESETS),
    "dptn-ta": System(dptn.DPTN, dptn.PRESETS, dptn_objective.DPTNObjective, dptn_objective.TEXTURE_AFFINITY_PRESETS),
    "copy": System(baselines.Copy, baselines.COPY_PRESETS),
    "warp": System(baselines.Warp, baselines.WARP_PRESETS),
}
# Names without importing anything, for the command line.
PRESETS = ("market", "deepfashion", "tiny")
_PERCEPTUAL = ("content", "style", "affinity", "perceptual")  # weights of terms that need VGG19


@dataclass(frozen=True)
class Recipe:
    """What to train and how, resolved: network, losses, loop."""

    model: str
    preset: str
    network: Any
    weights: Any
    training: TrainingConfig

    @property
    def system(self) -> System:
        return SYSTEMS[self.model]

    @property
    def vgg_layers(self) -> tuple[str, ...]:
        """The layers of VGG19 that the losses need."""
        assert self.system.objective is not None
        return self.system.objective.vgg_layers(self.weights)


def create_generator(model: str, preset: str = "market", **overrides: Any) -> Generator:
    """Build a generator with torch's default weights; `overrides` are fields of its configuration.

    Raises:
        ValueError: the model, the preset or a field is unknown, or a value is unsuitable.
    """
    system = SYSTEMS[_known("model", model, SYSTEMS)]
    rows = system.presets
    config = _configure(f"{model} setting", rows[_known(f"{model} preset", preset, rows)], overrides)
    return system.generator(config)


def rebuild_generator(model: str, config: dict[str, Any]) -> Generator:
    """Build the network that a weights file describes: all fields of its configuration, as they were saved.

    Raises:
        ValueError: the model or a field is unknown, or a value is unsuitable.
    """
    system = SYSTEMS[_known("model", model, SYSTEMS)]
    row = next(iter(system.presets.values()))
    return system.generator(_configure(f"{model} setting", row, config))


def create_recipe(
    model: str,
    preset: str = "market",
    *,
    network: dict[str, Any] | None = None,
    weights: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    perceptual: bool = True,
) -> Recipe:
    """A preset's row with fields of its network, its losses and its loop replaced.

    Without `perceptual` all terms that need VGG19 weigh nothing.

    Raises:
        ValueError: an unknown or unsuitable value; a model that needs no training.
    """
    system = SYSTEMS[_known("model", model, SYSTEMS)]
    if system.objective is None:
        raise ValueError(f"model {model!r} needs no training; use it by its name where a generator is asked for")
    row = system.presets[_known(f"{model} preset", preset, system.presets)]
    losses, loop = system.ways[preset]
    if not perceptual:
        names = [field.name for field in dataclasses.fields(losses) if field.name in _PERCEPTUAL]
        losses = dataclasses.replace(losses, **dict.fromkeys(names, 0.0))
    return Recipe(
        model,
        preset,
        _configure(f"{model} setting", row, network or {}),
        _require_no_negative(model, _configure(f"{model} loss option", losses, weights or {})),
        _configure("training option", loop, training or {}),
    )


def fitted(recipe: Recipe, size: tuple[int, int], joints: int) -> Recipe:
    """The recipe for RGB images of `size` (h, w) and `joints` key points: a network that must know the size is told.

    Raises:
        ValueError: the network cannot take such images.
    """
    network = recipe.network
    for name, expected in (("image_channels", 3), ("pose_channels", joints)):
        if getattr(network, name, expected) != expected:
            raise ValueError(f"{name}={getattr(network, name)}, but this data has {expected}; leave the setting out")
    if hasattr(network, "height") and (network.height, network.width) != size:
        network = dataclasses.replace(network, height=size[0], width=size[1])
    with torch.device("meta"):
        stride = recipe.system.generator(network).stride
    if size[0] % stride or size[1] % stride or size[0] * size[1] <= stride**2:
        raise ValueError(
            f"images of {size[0]}x{size[1]} pixels: {recipe.model} needs sides that {stride} divides, one larger"
        )
    return dataclasses.replace(recipe, network=network)


def _configure(kind: str, config: Any, overrides: dict[str, Any]) -> Any:
    fields = {field.name: field.type for field in dataclasses.fields(config)}
    values = {}
    for name, value in overrides.items():
        expected: Any = fields[_known(kind, name, fields)]
        if expected is float and type(value) is int:
            value = float(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{kind} {name}={value}: expected a finite number")
        if type(value) is not expected:
            raise ValueError(f"{kind} {name}={value!r}: expected {getattr(expected, '__name__', expected)}")
        values[name] = value
    return dataclasses.replace(config, **values)


def _require_no_negative(model: str, losses: Any) -> Any:
    for name, value in dataclasses.asdict(losses).items():
        if isinstance(value, float) and value < 0:
            raise ValueError(f"{model} loss option {name}={value}: expected at least 0")
    return losses


def _known(kind: str, name: str, table: dict[str, Any]) -> str:
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}: expected one of {', '.join(table)}")
    return name
