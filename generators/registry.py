"""The table of networks and their presets, and how they are built and initialised."""

import dataclasses
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from generators.blocks import Attention
from generators.discriminators import DPTNDiscriminator, DPTNDiscriminatorConfig, SpectralConv2d
from generators.dptn import DPTN, DPTNConfig

GENERATORS: dict[str, type[DPTN]] = {
    "dptn": DPTN,
}
DISCRIMINATORS: dict[str, type[DPTNDiscriminator]] = {
    "dptn": DPTNDiscriminator,
}

# One row a variant, by model and preset. `market`: as published. `tiny`: 1.39 M parameters, for CPUs and tests.
PRESETS: dict[str, dict[str, DPTNConfig]] = {
    "dptn": {
        "market": DPTNConfig(),
        "tiny": DPTNConfig(width=24, max_width=96),
    },
}
DISCRIMINATOR_PRESETS: dict[str, dict[str, DPTNDiscriminatorConfig]] = {
    "dptn": {
        "market": DPTNDiscriminatorConfig(),
        "tiny": DPTNDiscriminatorConfig(width=16, max_width=64),
    },
}

Config = TypeVar("Config", DPTNConfig, DPTNDiscriminatorConfig)


def create_generator(model: str, preset: str = "market", **overrides: Any) -> DPTN:
    """Build a generator with torch's default weights; `overrides` are fields of its configuration.

    Raises:
        ValueError: the model, the preset or a field is unknown, or a value is unsuitable.
    """
    return GENERATORS[_known("model", model, GENERATORS)](_configure(PRESETS, model, preset, overrides))


def create_discriminator(model: str, preset: str = "market", **overrides: Any) -> DPTNDiscriminator:
    """Build the discriminator of a model with torch's default weights; `overrides` are fields of its configuration.

    Raises:
        ValueError: the model, the preset or a field is unknown, or a value is unsuitable.
    """
    config = _configure(DISCRIMINATOR_PRESETS, model, preset, overrides)
    return DISCRIMINATORS[_known("model", model, DISCRIMINATORS)](config)


def initialise(module: nn.Module, rng: torch.Generator, scheme: str = "published") -> None:
    """Set all weights from `rng` (on the CPU) alone: the same state gives the same weights on every device.

    published: as DPTN's authors, convolutions and linear layers orthogonal with gain 0.02. lecun: normal with
    variance 1 / inputs (LeCun et al., Efficient BackProp, 1998), which small networks and short trainings take better.
    Both: biases zero, stacked attention weights Xavier-uniform, norms one and zero.

    Raises:
        ValueError: another scheme.
    """
    if scheme not in ("published", "lecun"):
        raise ValueError(f"initialisation {scheme!r}: expected published or lecun")

    @torch.no_grad()
    def fill(target: Tensor, draw: Any, **options: Any) -> None:
        target.copy_(draw(torch.empty(target.shape), generator=rng, **options))

    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if scheme == "published":
                fill(part.weight, nn.init.orthogonal_, gain=0.02)
            else:
                fill(part.weight, nn.init.kaiming_normal_, nonlinearity="linear")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, Attention):
            fill(part.in_weight, nn.init.xavier_uniform_)
            nn.init.zeros_(part.in_bias)
        elif isinstance(part, nn.InstanceNorm1d | nn.InstanceNorm2d) and part.affine:
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
        if isinstance(part, SpectralConv2d):
            fill(part.u, nn.init.normal_)
            part.refine()


def _configure(presets: dict[str, dict[str, Config]], model: str, preset: str, overrides: dict[str, Any]) -> Config:
    rows = presets[_known("model", model, presets)]
    config = rows[_known(f"{model} preset", preset, rows)]
    fields = {field.name: field.type for field in dataclasses.fields(config)}
    for name, value in overrides.items():
        _known(f"{model} setting", name, fields)
        if type(value) is not fields[name]:
            raise ValueError(f"{model} setting {name}={value!r}: expected {getattr(fields[name], '__name__', '?')}")
    return dataclasses.replace(config, **overrides)


def _known(kind: str, name: str, table: dict[str, Any]) -> str:
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}: expected one of {', '.join(table)}")
    return name
