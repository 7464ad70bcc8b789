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
from jaxtyping import Int
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


class DPTN(nn.Module):
    """Source image, source pose map, target pose map -> the person in the target pose."""

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
        """The sides of an image must be divisible by this."""
        return 2**self.config.layers

    def forward(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Images:
        """Draw the target. Equal, bit by bit, to the first image of `both`, without decoding the second."""
        return self.decode_target(source, source_map, target_map, self.encode_source(source, source_map))

    def both(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> tuple[Images, Images]:
        """Draw the target, and the source again: the two tasks of training."""
        code = self.encode_source(source, source_map)
        return self.decode_target(source, source_map, target_map, code), self.decoder(code.features)

    def encode_source(self, source: Images, source_map: PoseMaps) -> SourceCode:
        """Compute what does not depend on the target pose, nearly half of the work.

        Raises:
            ValueError: the sides are not divisible by `stride`, or the pose channels are not those of the network.
        """
        self._check(source, source_map)
        features = self.encoder(torch.cat([source, source_map, source_map], 1))
        return SourceCode(features, self.context(to_tokens(features)), to_tokens(self.source_encoder(source)))

    def decode_target(self, source: Images, source_map: PoseMaps, target_map: PoseMaps, code: SourceCode) -> Images:
        """Draw the target from the code of its source, row by row."""
        self._check(source, target_map)
        maps = self.encoder(torch.cat([source, source_map, target_map], 1))
        x = to_tokens(maps)
        for block in self.transfer:
            x = block(x, code.memory, code.texture)
        return self.decoder(to_maps(self.transfer_norm(x), maps.shape[2], maps.shape[3]))

    def _check(self, images: Tensor, maps: Tensor) -> None:
        height, width = images.shape[2:]
        if height % self.stride or width % self.stride or height * width <= self.stride**2:
            raise ValueError(
                f"images of {height}x{width} pixels: both sides must be divisible by {self.stride}, "
                f"and one must be larger than that"
            )
        if maps.shape[1] != self.config.pose_channels:
            raise ValueError(f"pose maps of {maps.shape[1]} channels, but the network has {self.config.pose_channels}")


def from_reference(state: dict[str, Tensor], config: DPTNConfig | None = None) -> dict[str, Tensor]:
    """Rename the authors' state dict to ours, dropping the second names under which it stores some convolutions.

    Prefix `module.` (data-parallel training) and the older name `transformer` of `PTM` are understood.

    Raises:
        ValueError: a key is missing or unknown for `config` (default: the published Market-1501 network).
    """
    clean = {}
    for key, tensor in state.items():
        key = key.removeprefix("module.")
        clean[f"PTM.{key.removeprefix('transformer.')}" if key.startswith("transformer.") else key] = tensor
    names, aliases = _reference_names(config or DPTNConfig())
    missing, unknown = sorted(names.keys() - clean), sorted(clean.keys() - names - aliases)
    if missing or unknown:
        raise ValueError(
            f"not a DPTN generator of this configuration: {len(missing)} keys missing {missing}, "
            f"{len(unknown)} unknown {unknown}"
        )
    return {ours: clean[theirs] for theirs, ours in names.items()}


def _reference_names(config: DPTNConfig) -> tuple[dict[str, str], set[str]]:
    """The authors' name -> ours, and the authors' second names."""
    first = {"model.0": "conv1", "model.1": "norm2", "model.3": "conv2"}
    later = {"model.0": "norm1", "model.2": "conv1", "model.3": "norm2", "model.5": "conv2"}
    layer = {"linear1": "feed_forward.linear1", "linear2": "feed_forward.linear2", "norm1": "norm1", "norm2": "norm2"}
    modules: dict[str, str] = {"outconv.model.2": f"decoder.{config.layers}.conv", "PTM.decoder.norm": "transfer_norm"}
    attentions: dict[str, str] = {}
    aliases = ["outconv.conv1"]

    def add(theirs: str, ours: str, parts: dict[str, str]) -> None:
        modules.update({f"{theirs}.{part}": f"{ours}.{name}" for part, name in parts.items()})

    for prefix, encoder in (("", "encoder"), ("source_encoder.", "source_encoder")):
        add(f"{prefix}block0", f"{encoder}.0", first)
        for i in range(config.layers - 1):
            add(f"{prefix}encoder{i}", f"{encoder}.{i + 1}", later)
    for i in range(config.residual_blocks):
        add(f"mblock{i}", f"encoder.{config.layers + i}", later | {"shortcut.0": "shortcut"})
        aliases += [f"mblock{i}.{alias}" for alias in ("conv1", "conv2", "bypass")]
    for i in range(config.layers):
        add(f"decoder{i}", f"decoder.{i}", later | {"shortcut.0": "shortcut"})
    for i in range(config.context_blocks):
        add(f"PTM.encoder.layers.{i}", f"context.{i}", layer)
        attentions[f"PTM.encoder.layers.{i}.self_attn"] = f"context.{i}.attention"
    for i in range(config.transfer_blocks):
        add(f"PTM.decoder.layers.{i}", f"transfer.{i}", layer | {"norm3": "norm3"})
        attentions[f"PTM.decoder.layers.{i}.self_attn"] = f"transfer.{i}.self_attention"
        attentions[f"PTM.decoder.layers.{i}.multihead_attn"] = f"transfer.{i}.cross_attention"

    modules |= {f"{theirs}.out_proj": f"{ours}.out" for theirs, ours in attentions.items()}
    kinds = ("weight", "bias")
    names = {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in modules.items() for kind in kinds}
    names |= {f"{theirs}.in_proj_{kind}": f"{ours}.in_{kind}" for theirs, ours in attentions.items() for kind in kinds}
    return names, {f"{alias}.{kind}" for alias in aliases for kind in kinds}
