"""The blocks of PG2: plain convolutions with ReLU and no normalisation, after Ma et al., NIPS 2017 (arXiv 1705.09368).

Convolutions of stride 2 pad as TensorFlow does ("SAME"), because the published weights were trained so, or by the same
number of zeros on both sides, as ports to other frameworks do. The two shift features by one pixel.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from generators.tensors import Maps, PoseMaps

PADDINGS = ("tensorflow", "symmetric")


def flatten(maps: Maps, padding: str) -> Float[Tensor, "b d"]:
    """One row an image; with TensorFlow's padding in TensorFlow's order too, channels last."""
    return (maps.permute(0, 2, 3, 1) if padding == "tensorflow" else maps).flatten(1)


def unflatten(rows: Float[Tensor, "b d"], size: tuple[int, int], padding: str) -> Maps:
    """`flatten` undone."""
    if padding == "tensorflow":
        return rows.unflatten(1, (*size, -1)).permute(0, 3, 1, 2)
    return rows.unflatten(1, (-1, *size))


class StridedConv2d(nn.Conv2d):
    """A convolution that halves the sides (rounding up), padded in one of the two ways."""

    def __init__(self, inputs: int, outputs: int, size: int, padding: str) -> None:
        super().__init__(inputs, outputs, size, stride=2, padding=size // 2 if padding == "symmetric" else 0)
        self.same = padding == "tensorflow"

    def forward(self, input: Maps) -> Float[Tensor, "b d h2 w2"]:
        if self.same:
            size = self.kernel_size[0]
            missing = [size - (2 - side % 2) for side in input.shape[2:]]  # odd sides lack one more than even ones
            (top, bottom), (left, right) = ((zeros // 2, zeros - zeros // 2) for zeros in missing)
            input = F.pad(input, (left, right, top, bottom))
        return super().forward(input)


class ConvPair(nn.Module):
    """Two 3x3 convolutions, each with a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Maps) -> Float[Tensor, "b d h w"]:
        return F.relu_(self.conv2(F.relu_(self.conv1(x))))


class Encoder(nn.Module):
    """A convolution, then a residual pair a level: level i has `channels` * (i + 1), half the sides of i - 1."""

    def __init__(self, inputs: int, channels: int, levels: int, padding: str) -> None:
        super().__init__()
        widths = [channels * (level + 1) for level in range(levels)]
        self.stem = nn.Conv2d(inputs, channels, 3, padding=1)
        self.pairs = nn.ModuleList(ConvPair(width, width) for width in widths)
        self.down = nn.ModuleList(StridedConv2d(i, o, 3, padding) for i, o in pairwise(widths))

    def forward(self, x: Maps) -> list[Tensor]:
        """The maps of all levels, from the image down."""
        x = F.relu_(self.stem(x))
        found = [self.pairs[0](x) + x]
        for pair, down in zip(self.pairs[1:], self.down, strict=True):
            x = F.relu_(down(found[-1]))
            found.append(pair(x) + x)
        return found


class Decoder(nn.Module):
    """The encoder mirrored: what comes from below next to the encoder's maps of that level, through a residual pair."""

    def __init__(self, channels: int, levels: int, outputs: int) -> None:
        super().__init__()
        widths = [channels * (level + 1) for level in reversed(range(levels))]
        joined = [channels + widths[0], *(2 * width for width in widths[1:])]
        self.pairs = nn.ModuleList(ConvPair(width, width) for width in joined)
        self.up = nn.ModuleList(nn.Conv2d(i, o, 1) for i, o in zip(joined[:-1], widths[1:], strict=True))
        self.head = nn.Conv2d(joined[-1], outputs, 3, padding=1)

    def forward(self, x: Maps, skips: Sequence[Tensor]) -> Float[Tensor, "b d h2 w2"]:
        """`skips` are the encoder's maps, from the image down."""
        for level, (pair, skip) in enumerate(zip(self.pairs, reversed(skips), strict=True)):
            if level:
                # The 1x1 convolution commutes with nearest-neighbour enlargement, and is cheaper before it.
                x = F.interpolate(F.relu_(self.up[level - 1](x)), scale_factor=2.0)
            x = torch.cat([x, skip], 1)
            x = pair(x) + x
        return self.head(x)


class JointCode(nn.Module):
    """Where the joints are, as one vector: the paper's coordinate embedding (CE), here of two fully connected layers.

    Row and column of each joint, in [-1, 1], and whether it is visible, are read off its map: the centre of mass.
    """

    def __init__(self, joints: int, latent: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(3 * joints, 2 * latent)
        self.linear2 = nn.Linear(2 * latent, latent)

    def forward(self, maps: PoseMaps) -> Float[Tensor, "b d"]:
        return self.linear2(F.relu_(self.linear1(self.coordinates(maps).flatten(1))))

    @staticmethod
    def coordinates(maps: PoseMaps) -> Float[Tensor, "b k 3"]:
        """Row, column, visibility; all zero where the map is."""
        profiles = maps.sum(3), maps.sum(2)
        mass = profiles[0].sum(2)
        visible = mass > 0
        places = [
            (profile * torch.linspace(-1, 1, profile.shape[2], dtype=maps.dtype, device=maps.device)).sum(2)
            / mass.where(visible, 1.0)
            for profile in profiles
        ]
        return torch.stack([*places, visible.to(maps.dtype)], 2)


class MapCode(nn.Module):
    """The pose maps as one vector: the paper's heat map embedding (HME), from an encoder of their own."""

    def __init__(self, joints: int, channels: int, levels: int, code: int, latent: int, padding: str) -> None:
        """`code` is the length of the last level, flattened."""
        super().__init__()
        self.padding = padding
        self.encoder = Encoder(joints, channels, levels, padding)
        self.squeeze = nn.Linear(code, latent)

    def forward(self, maps: PoseMaps) -> Float[Tensor, "b d"]:
        return self.squeeze(flatten(self.encoder(2 * maps - 1)[-1], self.padding))
