"""DPTN, the dual-task pose transformer network of Zhang et al., CVPR 2022 (arXiv 2203.02910).

One shared encoder sees the source image with (source pose, source pose) and with (source pose, target pose). The second
code is turned into the target's by attention to the first, then one shared decoder draws both: the source again (an
auxiliary task of training) and the person in the target pose. Where paper and published code differ, the code's way is
kept, because the published weights and tables come from it.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from generators.blocks import (
    ContextBlock,
    DownBlock,
    OutputBlock,
    ResidualBlock,
    TokenNorm,
    TransferBlock,
    UpBlock,
    to_maps,
    to_tokens,
)
from generators.generator import Generator, check_shapes
from generators.tensors import Images, Maps, PoseMaps, SourceTokens


@dataclass(frozen=True)
class DPTNConfig:
    """The defaults are the published Market-1501 network: 9,794,371 parameters."""

    image_channels: int = 3
    pose_channels: int = 18
    width: int = 64  # channels of the first level; doubled from level to level ...
    max_width: int = 512  # ... up to this many
    layers: int = 3  # levels, each halving the image's sides
    residual_blocks: int = 3
    heads: int = 2
    context_blocks: int = 2
    transfer_blocks: int = 2

    def __post_init__(self) -> None:
        low = {"residual_blocks": 0, "context_blocks": 0, "transfer_blocks": 0}
        for name, value in vars(self).items():
            if value < low.get(name, 1):
                raise ValueError(f"{name}={value}: expected at least {low.get(name, 1)}")
        if self.max_width < self.width:
            raise ValueError(f"max_width={self.max_width} is below width={self.width}")
        if self.widths[-1] % self.heads:
            raise ValueError(f"heads={self.heads} does not divide the {self.widths[-1]} channels of the last level")

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from the image down."""
        return [self.width * min(2**level, self.max_width // self.width) for level in range(self.layers)]


# One row a variant; DPTN-TA's network is the same. `tiny`: 1.39 M parameters, for CPUs and tests.
PRESETS: dict[str, DPTNConfig] = {
    "market": DPTNConfig(),
    "deepfashion": DPTNConfig(),
    "tiny": DPTNConfig(width=24, max_width=96),
}


class SourceCode(NamedTuple):
    """What the network knows of a source image before it sees a target pose. Compute it once for many poses."""

    features: Maps  # the shared encoder's code of (source, source pose): what the source is redrawn from
    memory: SourceTokens  # `features` after the context blocks: keys of the transfer
    texture: SourceTokens  # the source encoder's code of the image alone: values of the transfer

    def rows(self, index: Int[Tensor, " m"]) -> "SourceCode":
        """Select sources, repeats allowed: [0, 0, 1] for two poses of the first source and one of the second."""
        return SourceCode(*(part.index_select(0, index) for part in self))


class Encoder(nn.Sequential):
    """Down-sampling blocks, then residual blocks at the last level."""

    def __init__(self, inputs: int, widths: list[int], residual_blocks: int) -> None:
        steps = enumerate(pairwise([inputs, *widths]))
        down = [DownBlock(i, o, first=level == 0) for level, (i, o) in steps]
        super().__init__(*down, *(ResidualBlock(widths[-1]) for _ in range(residual_blocks)))


class Decoder(nn.Sequential):
    """Up-sampling blocks, mirroring the encoder's widths with the first repeated, then the image."""

    def __init__(self, widths: list[int], outputs: int) -> None:
        up = [UpBlock(i, o) for i, o in pairwise([*widths[::-1], widths[0]])]
        super().__init__(*up, OutputBlock(widths[0], outputs))


class DPTN(Generator):
    """Source image, source pose map, target pose map -> the person in the target pose."""

    config: DPTNConfig

    def __init__(self, config: DPTNConfig) -> None:
        super().__init__()
        self.config = config
        widths, poses = config.widths, config.pose_channels
        channels, heads = widths[-1], config.heads
        self.encoder = Encoder(config.image_channels + 2 * poses, widths, config.residual_blocks)
        self.source_encoder = Encoder(config.image_channels, widths, 0)
        self.context = nn.Sequential(*(ContextBlock(channels, heads) for _ in range(config.context_blocks)))
        self.transfer = nn.ModuleList(TransferBlock(channels, heads) for _ in range(config.transfer_blocks))
        self.transfer_norm = TokenNorm(channels)
        self.decoder = Decoder(widths, config.image_channels)

    @property
    def stride(self) -> int:
        return 2**self.config.layers

    def forward(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Images:
        """Draw the target. Equal, bit by bit, to the first image of `both`, without decoding the second."""
        return self.decode_target(source, source_map, target_map, self.encode_source(source, source_map))

    def both(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> tuple[Images, Images]:
        """Draw the target, and the source again: the two tasks of training."""
        code = self.encode_source(source, source_map)
        return self.decode_target(source, source_map, target_map, code), self.decoder(code.features)

    def repose(
        self,
        source: Images,
        source_map: PoseMaps,
        target_map: Float[Tensor, "m k h w"],
        index: Int[Tensor, " m"],
    ) -> Float[Tensor, "m 3 h w"]:
        """Draw several poses a source; the source's side of the network runs once for each source."""
        code = self.encode_source(source, source_map).rows(index)
        return self.decode_target(source[index], source_map[index], target_map, code)

    def correspondence(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Float[Tensor, "b n m"]:
        """Where each target position n takes its texture from: attention of the last transfer block, mean over heads.

        Positions are those of the last level, row-major; each row sums to 1.

        Raises:
            ValueError: a network without transfer blocks, sides that `stride` does not divide, other pose channels.
        """
        if not self.transfer:
            raise ValueError("transfer_blocks=0: a network without transfer blocks has no correspondence to show")
        code = self.encode_source(source, source_map)
        x = to_tokens(self._encode_target(source, source_map, target_map))
        *earlier, last = self.transfer
        assert isinstance(last, TransferBlock)
        for block in earlier:
            x = block(x, code.memory, code.texture)
        return last.correspondence(x, code.memory)

    def encode_source(self, source: Images, source_map: PoseMaps) -> SourceCode:
        """Compute what does not depend on the target pose, nearly half of the work.

        Raises:
            ValueError: the sides are not divisible by `stride`, or the pose channels are not those of the network.
        """
        check_shapes(source, source_map, self.stride, self.config.pose_channels)
        features = self.encoder(torch.cat([source, source_map, source_map], 1))
        return SourceCode(features, self.context(to_tokens(features)), to_tokens(self.source_encoder(source)))

    def decode_target(self, source: Images, source_map: PoseMaps, target_map: PoseMaps, code: SourceCode) -> Images:
        """Draw the target from the code of its source, row by row."""
        maps = self._encode_target(source, source_map, target_map)
        x = to_tokens(maps)
        for block in self.transfer:
            x = block(x, code.memory, code.texture)
        return self.decoder(to_maps(self.transfer_norm(x), maps.shape[2], maps.shape[3]))

    def _encode_target(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Float[Tensor, "b c h2 w2"]:
        check_shapes(source, target_map, self.stride, self.config.pose_channels)
        return self.encoder(torch.cat([source, source_map, target_map], 1))
