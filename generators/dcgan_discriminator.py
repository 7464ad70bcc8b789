"""DCGAN's discriminator as PG2 uses it (Ma et al., NIPS 2017, arXiv 1705.09368): strided convolutions, then one logit.

DCGAN: Radford et al., ICLR 2016 (arXiv 1511.06434). Batch norm always uses the statistics of the batch at hand, in
evaluation too: what an image is told depends on its company.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from generators.pg2_blocks import PADDINGS, StridedConv2d
from generators.tensors import Maps

SLOPE = 0.2


@dataclass(frozen=True)
class DCGANDiscriminatorConfig:
    """The defaults are the published Market-1501 network: 4,324,737 parameters."""

    inputs: int = 3  # channels: an image, or 6 for pairs of images
    height: int = 128  # of the images, in pixels
    width: int = 64
    channels: int = 64  # of the first level; doubled from level to level ...
    max_channels: int = 512  # ... up to this many
    levels: int = 4  # each halving the image's sides; the authors' DeepFashion network has five
    padding: str = "tensorflow"  # or symmetric; see pg2_blocks

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{name}={value}: expected at least 1")
        if self.max_channels < self.channels:
            raise ValueError(f"max_channels={self.max_channels} is below channels={self.channels}")
        if self.padding not in PADDINGS:
            raise ValueError(f"padding={self.padding!r}: expected one of {', '.join(PADDINGS)}")

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from the image down."""
        return [self.channels * min(2**level, self.max_channels // self.channels) for level in range(self.levels)]


class DCGANDiscriminator(nn.Module):
    """Images, or images that belong together as channels -> one logit each, larger where they look real."""

    def __init__(self, config: DCGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.convs = nn.ModuleList(
            StridedConv2d(i, o, 5, config.padding) for i, o in pairwise([config.inputs, *widths])
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, track_running_stats=False) for width in widths[1:])
        self.shape = (config.height, config.width)
        positions = -(-config.height // 2**config.levels) * -(-config.width // 2**config.levels)
        self.head = nn.Linear(widths[-1] * positions, 1)

    def forward(self, images: Maps) -> Float[Tensor, " b"]:
        x = F.leaky_relu_(self.convs[0](images), SLOPE)
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            x = F.leaky_relu_(norm(conv(x)), SLOPE)
        return self.head(x.flatten(1)).squeeze(1)
