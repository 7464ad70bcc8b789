"""The discriminators. DPTN's: a residual patch network with spectral norm, after Zhang et al., CVPR 2022.

It judges an image alone, without source or pose, and gives one logit per position of the last level. Spectral norm:
Miyato et al., ICLR 2018 (arXiv 1802.05957).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from generators.blocks import SLOPE, activate
from generators.tensors import Images, Maps


@dataclass(frozen=True)
class DPTNDiscriminatorConfig:
    """The defaults are the published Market-1501 network: 238,209 parameters. DeepFashion's has four layers."""

    image_channels: int = 3
    width: int = 32  # channels of the first level; doubled from level to level ...
    max_width: int = 128  # ... up to this many
    layers: int = 3  # levels, each halving the image's sides

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name}={value}: expected at least 1")
        if self.max_width < self.width:
            raise ValueError(f"max_width={self.max_width} is below width={self.width}")

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from the image down."""
        return [self.width * min(2**level, self.max_width // self.width) for level in range(self.layers)]


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight is divided by its largest singular value (Algorithm 1 of Miyato et al.).

    The singular vectors are buffers, refined by one power iteration in each training forward. The iteration refines v
    first, as the discriminators of the published models were trained; torch's parametrization refines u first.
    """

    u: Tensor
    v: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__(inputs, outputs, size, stride=stride, padding=padding)
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("v", torch.zeros(inputs * size * size))
        self.refine()

    @torch.no_grad()
    def refine(self) -> None:
        """One power iteration, which needs no v to start from."""
        matrix = self.weight.flatten(1)
        self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0))

    def forward(self, input: Maps) -> Float[Tensor, "b d h2 w2"]:
        weight: Tensor = self._divided()  # pyright: ignore[reportCallIssue, reportAssignmentType] (of the decorator)
        return self._conv_forward(input, weight, self.bias)

    @torch.compiler.disable  # a compiled graph would hold the buffers themselves, which the next forward changes
    def _divided(self) -> Tensor:
        with torch.autocast(self.weight.device.type, enabled=False):  # a norm in bf16 would be off by a percent
            if self.training:
                self.refine()
            # Cloned: a second training forward before the backward changes the buffers, not what this graph holds.
            return self.weight / torch.dot(self.u.clone(), self.weight.flatten(1) @ self.v.clone())


class DownBlock(nn.Module):
    """Halve the size: [act,] conv 3x3, act, conv 4x4 stride 2, plus a pooled 1x1 shortcut. The first has no [...]."""

    def __init__(self, inputs: int, outputs: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        hidden = outputs if first else inputs
        self.conv1 = SpectralConv2d(inputs, hidden, 3, padding=1)
        self.conv2 = SpectralConv2d(hidden, outputs, 4, stride=2, padding=1)
        self.shortcut = SpectralConv2d(inputs, outputs, 1)

    def forward(self, x: Maps) -> Float[Tensor, "b d h//2 w//2"]:
        y = self.conv1(x if self.first else F.leaky_relu(x, SLOPE))
        return self.conv2(activate(y)) + self.shortcut(F.avg_pool2d(x, 2))


class DPTNDiscriminator(nn.Module):
    """Images -> one logit per position, larger where the image looks real."""

    def __init__(self, config: DPTNDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.image_channels, *config.widths]
        steps = enumerate(pairwise(widths))
        self.blocks = nn.Sequential(*(DownBlock(i, o, first=level == 0) for level, (i, o) in steps))
        self.head = SpectralConv2d(widths[-1], 1, 1)

    def forward(self, images: Images) -> Float[Tensor, "b 1 h2 w2"]:
        """Judge images.

        Raises:
            ValueError: a side is too small for the levels.
        """
        if min(images.shape[2:]) < 2**self.config.layers:
            height, width = images.shape[2:]
            raise ValueError(
                f"images of {height}x{width} pixels are too small for the {self.config.layers} levels of this "
                "discriminator; give it fewer"
            )
        return self.head(activate(self.blocks(images)))
