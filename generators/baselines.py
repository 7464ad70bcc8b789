"""Generators that need no training: what a network must beat, and control arms of an ablation.

`Copy` returns the source and ignores the pose. `Warp` moves the limbs by hand, after the affine transformations of
deformable skip connections (Siarohin et al., CVPR 2018, arXiv 1801.00055), applied to pixels instead of features.
"""

from dataclasses import dataclass

import torch

from generators.generator import Generator, check_shapes
from generators.tensors import Images, PoseMaps
from generators.warping import JOINTS, read_joints, warp


@dataclass(frozen=True)
class CopyConfig:
    """Nothing to choose but which maps are taken."""

    pose_channels: int = JOINTS

    def __post_init__(self) -> None:
        if self.pose_channels < 1:
            raise ValueError(f"pose_channels={self.pose_channels}: expected at least 1")


@dataclass(frozen=True)
class WarpConfig:
    """Nothing to choose: the parts of the body are those of OpenPose's 18 joints."""

    pose_channels: int = JOINTS

    def __post_init__(self) -> None:
        if self.pose_channels != JOINTS:
            raise ValueError(
                f"pose_channels={self.pose_channels}: the warp knows the body by OpenPose's {JOINTS} joints; give "
                "pose maps of these, or take the copy baseline or a network"
            )


COPY_PRESETS: dict[str, CopyConfig] = dict.fromkeys(("market", "deepfashion", "tiny"), CopyConfig())
WARP_PRESETS: dict[str, WarpConfig] = dict.fromkeys(("market", "deepfashion", "tiny"), WarpConfig())


class Copy(Generator):
    """The source, whatever the pose."""

    def __init__(self, config: CopyConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def stride(self) -> int:
        """Any size will do."""
        return 1

    def forward(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Images:
        """Return a copy of the source.

        Raises:
            ValueError: another number of pose channels.
        """
        for maps in (source_map, target_map):
            check_shapes(source, maps, self.stride, self.config.pose_channels)
        return source.clone()


class Warp(Generator):
    """Each limb of the source, moved along with its joints.

    By definition the source itself where either pose lacks a shoulder or a hip; see `generators.warping.warp`.
    """

    def __init__(self, config: WarpConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def stride(self) -> int:
        """Any size will do, from 3x3 pixels up."""
        return 1

    def forward(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Images:
        """Read the joints out of both maps and move the person.

        Raises:
            ValueError: another number of pose channels, or a side shorter than 3 pixels.
        """
        for maps in (source_map, target_map):
            check_shapes(source, maps, self.stride, self.config.pose_channels)
        with torch.autocast(source.device.type, enabled=False):  # places in bf16 would be off by pixels
            source_map, target_map = source_map.float(), target_map.float()
            return warp(source.float(), read_joints(source_map), read_joints(target_map)).to(source.dtype)
