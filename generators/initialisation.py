"""How networks start: the schemes of the papers, drawn from a seed alone."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from generators.blocks import Attention
from generators.discriminators import SpectralConv2d

Fill = Callable[[Tensor, torch.Generator], object]


def _fan_in(weight: Tensor) -> int:
    return weight[0].numel()


# How the weights of convolutions and linear layers are drawn.
SCHEMES: dict[str, Fill] = {
    # DPTN's authors
    "orthogonal": lambda weight, rng: nn.init.orthogonal_(weight, gain=0.02, generator=rng),
    # PATN's authors (and DCGAN)
    "normal": lambda weight, rng: nn.init.normal_(weight, 0, 0.02, generator=rng),
    # PG2's authors: generators and discriminator
    "xavier": lambda weight, rng: nn.init.xavier_uniform_(weight, generator=rng),
    "uniform": lambda weight, rng: nn.init.uniform_(weight, -0.02 * 3**0.5, 0.02 * 3**0.5, generator=rng),
    # variance 1 / inputs (LeCun et al., Efficient BackProp, 1998), which small networks and short trainings take better
    "lecun": lambda weight, rng: nn.init.kaiming_normal_(weight, nonlinearity="linear", generator=rng),
    # torch's own, which PATN's discriminators keep
    "torch": lambda weight, rng: nn.init.kaiming_uniform_(weight, math.sqrt(5), generator=rng),
}


def initialise(module: nn.Module, rng: torch.Generator, scheme: str) -> None:
    """Set all weights from `rng` (on the CPU) alone: the same state gives the same weights on every device.

    `scheme` is a row of SCHEMES. Biases are zero (torch: uniform), stacked attention weights Xavier-uniform, norms one
    and zero (normal: N(1, 0.02) and zero).

    Raises:
        ValueError: another scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"initialisation {scheme!r}: expected one of {', '.join(SCHEMES)}")

    @torch.no_grad()
    def fill(target: Tensor, draw: Fill) -> None:
        values = torch.empty(target.shape)
        draw(values, rng)
        target.copy_(values)

    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            fill(part.weight, SCHEMES[scheme])
            if part.bias is not None and scheme == "torch":
                bound = 1 / math.sqrt(_fan_in(part.weight))
                fill(part.bias, lambda bias, rng, bound=bound: nn.init.uniform_(bias, -bound, bound, generator=rng))
            elif part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, Attention):
            fill(part.in_weight, SCHEMES["xavier"])
            nn.init.zeros_(part.in_bias)
        elif isinstance(part, nn.InstanceNorm1d | nn.InstanceNorm2d | nn.BatchNorm2d) and part.affine:
            if scheme == "normal":
                fill(part.weight, lambda scale, rng: nn.init.normal_(scale, 1, 0.02, generator=rng))
            else:
                nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
            part.reset_running_stats()
        if isinstance(part, SpectralConv2d):
            fill(part.u, lambda u, rng: nn.init.normal_(u, generator=rng))
            part.refine()
