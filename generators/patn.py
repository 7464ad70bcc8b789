"""PATN, the progressive pose-attentional transfer network of Zhu et al., CVPR 2019 (arXiv 1904.03349).

Two streams of features start from the source image and from both pose maps. A row of attention blocks moves the image's
features step by step towards the target pose: the pose stream of each block says, by a mask, where the image is to be
changed. Where paper and published code differ, the code's way is kept, because the published weights and tables come
from it.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from generators.folding import folded
from generators.generator import Generator, check_shapes
from generators.tensors import Images, Maps, PoseMaps

NORMS = ("batch", "instance")


def check_norm_and_dropout(norm: str, dropout: float) -> None:
    """Refuse what no network of this family can be built with.

    Raises:
        ValueError: an unknown norm; a dropout outside [0, 1).
    """
    if norm not in NORMS:
        raise ValueError(f"norm={norm!r}: expected one of {', '.join(NORMS)}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}: expected a probability from 0 to below 1")


@dataclass(frozen=True)
class PATNConfig:
    """The defaults are the published Market-1501 network: 41,365,763 parameters."""

    image_channels: int = 3
    pose_channels: int = 18
    width: int = 64  # channels at full size; doubled by each down-sampling
    blocks: int = 9
    downsamplings: int = 2  # each halves the image's sides
    norm: str = "batch"  # or instance, without scale and shift, as for DeepFashion
    dropout: float = 0.5  # in each branch of a block, in training only

    def __post_init__(self) -> None:
        for name in ("image_channels", "pose_channels", "width", "blocks", "downsamplings"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        check_norm_and_dropout(self.norm, self.dropout)

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from the image down."""
        return [self.width * 2**level for level in range(self.downsamplings + 1)]


# One row a variant. `tiny`: 1.43 M parameters and 2 GFLOP per 128x64 image instead of 45, for CPUs and tests.
PRESETS: dict[str, PATNConfig] = {
    "market": PATNConfig(),
    "deepfashion": PATNConfig(norm="instance"),
    "tiny": PATNConfig(width=16, blocks=5, dropout=0.0),
}


def make_norm(kind: str, channels: int) -> nn.Module:
    """Batch norm, or instance norm without parameters (whose convolutions then have biases)."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels)


class ActivatedConv(nn.Module):
    """A convolution, its norm, ReLU."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, norm: str) -> None:
        super().__init__()
        self.conv = conv
        self.norm = make_norm(norm, conv.out_channels)

    def forward(self, x: Maps) -> Float[Tensor, "b d h2 w2"]:
        return F.relu(self.norm(self.conv(x)), inplace=True)


class Encoder(nn.Sequential):
    """conv 7x7 at full size, then a conv 3x3 with stride 2 for each further width; norm and ReLU after each."""

    def __init__(self, inputs: int, widths: list[int], norm: str) -> None:
        bias = norm == "instance"
        first = nn.Conv2d(inputs, widths[0], 7, padding=3, padding_mode="reflect", bias=bias)
        down = (nn.Conv2d(i, o, 3, stride=2, padding=1, bias=bias) for i, o in pairwise(widths))
        super().__init__(*(ActivatedConv(conv, norm) for conv in (first, *down)))


class Decoder(nn.Sequential):
    """Transposed convs 3x3 up to full size, norm and ReLU after each; then conv 7x7 to the image, before its tanh."""

    def __init__(self, widths: list[int], outputs: int, norm: str) -> None:
        up = (
            nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1, bias=norm == "instance")
            for i, o in pairwise(widths[::-1])
        )
        last = nn.Conv2d(widths[0], outputs, 7, padding=3, padding_mode="reflect")
        super().__init__(*(ActivatedConv(conv, norm) for conv in up), last)


class Branch(nn.Module):
    """Reflection-padded conv 3x3, norm, ReLU, dropout, conv 3x3 [, norm]: keeps the size."""

    def __init__(self, inputs: int, outputs: int, norm: str, dropout: float, *, last_norm: bool = True) -> None:
        super().__init__()
        bias = norm == "instance"
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, padding_mode="reflect", bias=bias)
        self.norm1 = make_norm(norm, inputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect", bias=bias)
        self.norm2 = make_norm(norm, outputs) if last_norm else None

    def forward(self, x: Maps) -> Float[Tensor, "b d h w"]:
        y = self.conv2(self.dropout(F.relu(self.norm1(self.conv1(x)), inplace=True)))
        return y if self.norm2 is None else self.norm2(y)


class AttentionBlock(nn.Module):
    """The paper's pose-attentional transfer block (PATB)."""

    def __init__(self, channels: int, norm: str, dropout: float, *, first: bool) -> None:
        """`first`: the pose stream still comes from its encoder, not yet joined with the image's."""
        super().__init__()
        self.image = Branch(channels, channels, norm, dropout)
        self.pose = Branch(channels if first else 2 * channels, channels, norm, dropout, last_norm=False)

    def forward(self, image: Maps, pose: Float[Tensor, "b p h w"]) -> tuple[Maps, Float[Tensor, "b 2*c h w"], Maps]:
        """The image's features a step further, the pose stream joined with them, and the mask."""
        moved = self.pose(pose)
        mask = torch.sigmoid(moved)
        image = image + mask * self.image(image)
        return image, torch.cat([moved, image], 1), mask


class PATN(Generator):
    """Source image, source pose map, target pose map -> the person in the target pose."""

    def __init__(self, config: PATNConfig) -> None:
        super().__init__()
        self.config: PATNConfig = config
        widths, norm = config.widths, config.norm
        self.image_encoder = Encoder(config.image_channels, widths, norm)
        self.pose_encoder = Encoder(2 * config.pose_channels, widths, norm)
        self.blocks = nn.ModuleList(
            AttentionBlock(widths[-1], norm, config.dropout, first=i == 0) for i in range(config.blocks)
        )
        self.decoder = Decoder(widths, config.image_channels, norm)

    @property
    def stride(self) -> int:
        """The sides of an image must be divisible by this, and at least twice as large."""
        return 2**self.config.downsamplings

    def forward(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Images:
        """Draw the person of `source` in the target pose.

        Raises:
            ValueError: sides that `stride` does not divide or below twice of it; another number of pose channels.
        """
        image, pose = self._encode(source, source_map, target_map)
        for block in self.blocks:
            image, pose, _ = block(image, pose)
        return torch.tanh(self.decoder(image))

    def for_inference(self) -> "PATN":
        """Batch norms folded into convolutions, channels last: a sixth faster on CPUs, equal up to rounding."""
        network = folded(self, (("conv", "norm"), ("conv1", "norm1"), ("conv2", "norm2")))
        return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def attention(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Float[Tensor, "b blocks h2 w2"]:
        """Where each block changes the image's features, for drawing: the masks' means over channels, in (0, 1).

        Sides are the image's divided by `stride`. Draw them in eval mode: in training, dropout disturbs them.

        Raises:
            ValueError: as in `forward`.
        """
        image, pose = self._encode(source, source_map, target_map)
        masks = []
        for block in self.blocks:
            image, pose, mask = block(image, pose)
            masks.append(mask.mean(1))
        return torch.stack(masks, 1)

    def _encode(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> tuple[Tensor, Tensor]:
        for maps in (source_map, target_map):
            check_shapes(source, maps, self.stride, self.config.pose_channels)
        height, width = source.shape[2:]
        if min(height, width) < 2 * self.stride:  # reflection needs two positions a side
            raise ValueError(f"images of {height}x{width} pixels: both sides must be at least {2 * self.stride}")
        return self.image_encoder(source), self.pose_encoder(torch.cat([source_map, target_map], 1))
