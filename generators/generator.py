"""What every pose-transfer generator promises, whether it was trained or not."""

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from generators.tensors import Images, PoseMaps


class Generator(nn.Module, ABC):
    """Source image, source pose map, target pose map -> the person in the target pose.

    `config` is a frozen dataclass that rebuilds the network; it travels in the header of the weights.
    """

    config: Any
    pose_map: str = "gaussian"  # how joints are drawn for this network: gaussian (sigma 6) or disc (radius 4)

    @property
    @abstractmethod
    def stride(self) -> int:
        """The sides of an image must be divisible by this."""

    @abstractmethod
    def forward(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Images:
        """Draw the person of `source` in the target pose.

        Raises:
            ValueError: sides that `stride` does not divide, or another number of pose channels.
        """

    def repose(
        self, source: Images, source_map: PoseMaps, target_map: Float[Tensor, "m k h w"], index: Int[Tensor, " m"]
    ) -> Float[Tensor, "m 3 h w"]:
        """Several poses a source: row i of `target_map` is for source index[i]. Networks that can share work do."""
        return self(source[index], source_map[index], target_map)

    def for_inference(self) -> "Generator":
        """The same function of its inputs, at least as fast, which need not be trainable any more."""
        return self


def check_shapes(source: Tensor, maps: Tensor, stride: int, pose_channels: int) -> None:
    """Refuse images and pose maps that a network of this stride and number of pose channels cannot take.

    Raises:
        ValueError: as said, with the sizes.
    """
    height, width = source.shape[2:]
    if height % stride or width % stride or height * width <= stride**2:
        raise ValueError(
            f"images of {height}x{width} pixels: both sides must be divisible by {stride}, and one must be larger "
            "than that"
        )
    if maps.shape[1] != pose_channels:
        raise ValueError(f"pose maps of {maps.shape[1]} channels, but the network has {pose_channels}")
