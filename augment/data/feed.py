"""Images and key points of a split in memory, and training batches drawn from them on the device."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from augment.data import images, keypoints, posemaps
from augment.data.pairs import ListedPairs, Pairs
from augment.data.records import Record
from generators.tensors import Images, PoseMaps, from_uint8
from generators.training import Batch


@dataclass(frozen=True)
class Posed:
    """Pixels and key points of images, in the order of `records` (25 kB an image at 128x64)."""

    records: tuple[Record, ...]
    pixels: UInt8[np.ndarray, "n h w 3"]
    points: Float[np.ndarray, "n k 2"]

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[2]

    def images(self, indices: Int[np.ndarray, " b"], device: torch.device) -> Images:
        return from_uint8(torch.from_numpy(self.pixels[indices]).to(device))

    def maps(self, indices: Int[np.ndarray, " b"], device: torch.device) -> PoseMaps:
        return posemaps.render(torch.from_numpy(self.points[indices]).to(device), self.size)


def load(
    records: Sequence[Record],
    points: Mapping[str, keypoints.Points],
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Posed:
    """Decode `records` once; all must have one size (`size`, or the first image's).

    Raises:
        ValueError: an image that cannot be read or has another size.
    """
    return Posed(tuple(records), images.read_images(records, size, progress), keypoints.stack(records, points))


@dataclass(frozen=True)
class Feed:
    """Training batches by step number, a pure function of (seed, step); pose maps are drawn on the device."""

    split: Posed
    pairs: Pairs | ListedPairs
    batch: int
    seed: int
    flip: bool
    device: torch.device

    def batch_at(self, step: int) -> Batch:
        drawn = self.pairs.draw(self.seed, step, self.batch)
        mirrored = np.random.default_rng([self.seed, step, 1]).random(self.batch) < 0.5 * self.flip
        return Batch(*self._take(drawn[:, 0], mirrored), *self._take(drawn[:, 1], mirrored))

    def _take(self, indices: Int[np.ndarray, " b"], mirrored: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels, points = self.split.pixels[indices], self.split.points[indices]
        pixels[mirrored] = pixels[mirrored, :, ::-1]
        points[mirrored] = keypoints.flip(points[mirrored], self.split.size[1])
        drawn = Posed((), pixels, points)
        everyone = np.arange(len(indices))
        return drawn.images(everyone, self.device), drawn.maps(everyone, self.device)
