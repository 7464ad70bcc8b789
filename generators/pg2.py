"""PG2, the two-stage pose guided person generation network of Ma et al., NIPS 2017 (arXiv 1705.09368).

Stage one (G1) draws a coarse image of the person in the target pose: a U-Net with residual blocks and fully connected
layers in the middle. Stage two (G2), a U-Net without them, adds the difference to a sharper image. Only the target pose
is fed, never the source's. Where paper and published code differ, the code's way is kept, because the published weights
and tables come from it.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generators.generator import Generator, check_shapes
from generators.pg2_blocks import (
    PADDINGS,
    ConvPair,
    Decoder,
    Encoder,
    JointCode,
    MapCode,
    StridedConv2d,
    flatten,
    unflatten,
)
from generators.tensors import Images, PoseMaps

POSE_EMBEDDINGS = ("concat", "coordinates", "encoder")


@dataclass(frozen=True)
class PG2Config:
    """The defaults are the published Market-1501 network: 70,795,075 parameters in G1 and 6,058,883 in G2.

    The fully connected layers tie a network to one size of images.
    """

    image_channels: int = 3
    pose_channels: int = 18
    height: int = 128  # of the images, in pixels
    width: int = 64
    channels: int = 128  # of G1's first level; one more such number at each further level
    levels: int = 5  # of G1; from level to level the sides halve
    latent: int = 64  # numbers between the fully connected layers
    refine_channels: int = 128  # the same for G2
    refine_levels: int = 3
    stages: int = 2  # or 1: G1 alone is the network
    pose_embedding: str = "concat"  # pose next to the image; or, in the middle, coordinates (CE) or encoder (HME)
    padding: str = "tensorflow"  # or symmetric, in convolutions of stride 2; see pg2_blocks

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{name}={value}: expected at least 1")
        if self.stages > 2:
            raise ValueError(f"stages={self.stages}: expected 1 (G1 alone) or 2")
        for name, value, known in (
            ("pose_embedding", self.pose_embedding, POSE_EMBEDDINGS),
            ("padding", self.padding, PADDINGS),
        ):
            if value not in known:
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(known)}")
        if self.height % self.stride or self.width % self.stride:
            raise ValueError(
                f"images of {self.height}x{self.width} pixels: both sides must be divisible by {self.stride}; choose "
                "other sides or fewer levels"
            )

    @property
    def stride(self) -> int:
        """The sides of an image must be divisible by this."""
        return 2 ** (max(self.levels, self.refine_levels * (self.stages == 2)) - 1)


PRESETS: dict[str, PG2Config] = {
    "market": PG2Config(),
    # The authors trained at 256x256, where their rule gives six levels; 32 does not divide 176, 16 does: 16x11 at the
    # last of five.
    "deepfashion": PG2Config(height=256, width=176),
    # 1.4 M parameters and 1.5 GFLOP an image
    "tiny": PG2Config(channels=16, refine_channels=16),
}


class Stages(NamedTuple):
    """What the two stages drew."""

    coarse: Images  # G1's
    refined: Images  # the network's: G1's plus G2's difference; the same image where there is no G2


class Coarse(nn.Module):
    """G1: source image, target pose map -> the person in the target pose, blurred. Not limited to [-1, 1]."""

    def __init__(self, config: PG2Config) -> None:
        super().__init__()
        self.config = config
        channels, levels, latent = config.channels, config.levels, config.latent
        shrink = 2 ** (levels - 1)
        self.bottom = (config.height // shrink, config.width // shrink)
        positions = self.bottom[0] * self.bottom[1]
        code, joined = positions * channels * levels, config.pose_embedding == "concat"
        inputs = config.image_channels + config.pose_channels * joined
        self.encoder = Encoder(inputs, channels, levels, config.padding)
        self.squeeze = nn.Linear(code, latent)
        self.pose: nn.Module | None = None
        if config.pose_embedding == "coordinates":
            self.pose = JointCode(config.pose_channels, latent)
        elif config.pose_embedding == "encoder":
            self.pose = MapCode(config.pose_channels, channels, levels, code, latent, config.padding)
        self.expand = nn.Linear(latent * (1 if joined else 2), positions * channels)
        self.decoder = Decoder(channels, levels, config.image_channels)

    def forward(self, source: Images, target_map: PoseMaps) -> Images:
        inputs = source if self.pose is not None else torch.cat([source, 2 * target_map - 1], 1)
        skips = self.encoder(inputs)
        code = self.squeeze(flatten(skips[-1], self.config.padding))
        if self.pose is not None:
            code = torch.cat([code, self.pose(target_map)], 1)
        return self.decoder(unflatten(self.expand(code), self.bottom, self.config.padding), skips)


class Refinement(nn.Module):
    """G2: coarse image, source image -> the difference to the final image. Not residual, no skip at the first level.

    The last level is handed to the decoder twice, as its input and as its skip.
    """

    def __init__(self, config: PG2Config) -> None:
        super().__init__()
        channels = config.refine_channels
        widths = [channels * (level + 1) for level in range(config.refine_levels)]
        self.stem = nn.Conv2d(2 * config.image_channels, channels, 3, padding=1)
        self.encoder = nn.ModuleList(ConvPair(i, o) for i, o in pairwise([channels, *widths]))
        self.down = nn.ModuleList(StridedConv2d(width, width, 3, config.padding) for width in widths[:-1])
        skips = widths[:0:-1]
        below = [widths[-1], *(channels for _ in skips)]
        self.decoder = nn.ModuleList(ConvPair(i + s, channels) for i, s in zip(below, [*skips, 0], strict=True))
        self.head = nn.Conv2d(channels, config.image_channels, 3, padding=1)

    def forward(self, coarse: Images, source: Images) -> Images:
        x = self.encoder[0](F.relu_(self.stem(torch.cat([coarse, source], 1))))
        skips = []
        for down, pair in zip(self.down, self.encoder[1:], strict=True):
            x = pair(F.relu_(down(x)))
            skips.append(x)
        for pair in self.decoder[:-1]:
            x = F.interpolate(pair(torch.cat([x, skips.pop()], 1)), scale_factor=2.0)
        return self.head(self.decoder[-1](x))


class PG2(Generator):
    """Source image, target pose map -> the person in the target pose. The source's pose map is taken and not used.

    Images are not limited to [-1, 1]: there is no last activation, and values are clipped when they are stored.
    """

    pose_map = "disc"
    refining: Tensor

    def __init__(self, config: PG2Config) -> None:
        super().__init__()
        self.config = config
        self.coarse = Coarse(config)
        self.refine = Refinement(config) if config.stages == 2 else None
        # 0 while only G1 is trained, so that nobody sees the difference of a G2 that has learnt nothing yet.
        self.register_buffer("refining", torch.tensor(1.0))

    @property
    def stride(self) -> int:
        return self.config.stride

    def forward(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Images:
        """Draw the person of `source` in the target pose.

        Raises:
            ValueError: images of another size than the network's, or another number of pose channels.
        """
        return self.stages_of(source, target_map).refined

    def stages_of(self, source: Images, target_map: PoseMaps) -> Stages:
        """Both images, for training and for looking at.

        Raises:
            ValueError: as `forward`.
        """
        self.check(source, target_map)
        coarse = self.coarse(source, target_map)
        return Stages(coarse, coarse if self.refine is None else coarse + self.refining * self.refine(coarse, source))

    def check(self, source: Images, target_map: PoseMaps) -> None:
        """Refuse what the network cannot take.

        Raises:
            ValueError: as `forward`.
        """
        check_shapes(source, target_map, self.stride, self.config.pose_channels)
        height, width = source.shape[2:]
        if (height, width) != (self.config.height, self.config.width):
            raise ValueError(
                f"images of {height}x{width} pixels, but the fully connected layers of this PG2 are made for "
                f"{self.config.height}x{self.config.width}: resize the images, or train a network with "
                f"height={height} and width={width}"
            )
