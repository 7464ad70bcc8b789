"""Images and key points of a split, and training batches drawn from them on the device."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from augment.data import images, keypoints, posemaps
from augment.data.cache import decoded
from augment.data.pairs import ListedPairs, Pairs
from augment.data.records import Record
from generators import distributed
from generators.objective import Batch
from generators.tensors import Images, Pixels, PoseMaps, from_uint8

UPLOAD = 1024  # images that are copied to the device at a time


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

    def maps(self, indices: Int[np.ndarray, " b"], device: torch.device, kind: str = "gaussian") -> PoseMaps:
        return posemaps.render(torch.from_numpy(self.points[indices]).to(device), self.size, kind=kind)


def load(
    records: Sequence[Record],
    points: Mapping[str, keypoints.Points],
    size: tuple[int, int] | None = None,
    cache: Path | None = None,
    resize: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Posed:
    """Decode `records` once, or map what an earlier run left in the folder `cache`.

    All images must have one size (`size`, or the first image's), unless they are to be resized to it, key points too.

    Raises:
        ValueError: an image that cannot be read or has another size; a damaged file in the cache.
    """
    pixels = decoded(records, size, cache, resize, progress)
    stacked = keypoints.stack(records, points)
    if resize:
        stored = np.asarray([images.glance(record.path) for record in records])
        for old in np.unique(stored, axis=0):
            rows = (stored == old).all(axis=1)
            place = torch.from_numpy(stacked[rows])
            stacked[rows] = posemaps.scale_points(place, (int(old[0]), int(old[1])), pixels.shape[1:3]).numpy()
    return Posed(tuple(records), pixels, stacked)


@dataclass(frozen=True)
class Feed:
    """Training batches by step number: this process's rows of the global batch, a pure function of (seed, step).

    Pose maps are drawn on the device. A GPU keeps all pixels where they fit; else a batch's travel from pinned memory.
    """

    split: Posed
    pairs: Pairs | ListedPairs
    batch: int  # of all processes together
    seed: int
    flip: bool
    device: torch.device
    pose_map: str = "gaussian"
    masks: bool = False  # whether batches hold the mask of the target's body

    def batch_at(self, step: int) -> Batch:
        """The batch of one step.

        Raises:
            ValueError: there is no pair to draw, or the batch does not divide among the processes.
        """
        mine = distributed.share(self.batch)
        drawn = self.pairs.draw(self.seed, step, self.batch)[mine]
        mirrored = np.random.default_rng([self.seed, step, 1]).random(self.batch)[mine] < 0.5 * self.flip
        both, mirrored = drawn.T.reshape(-1), np.concatenate([mirrored, mirrored])  # sources, then targets

        pixels = self._pixels(both)
        if mirrored.any():
            rows = self._send(np.flatnonzero(mirrored))
            pixels[rows] = pixels[rows].flip(2)
        source, target = from_uint8(pixels).chunk(2)

        points = self.split.points[both]
        points[mirrored] = keypoints.flip(points[mirrored], self.split.size[1])
        placed = self._send(points)
        # Apart, because a new tensor above 32 MB costs the CPU a page fault every 4 kB.
        source_map, target_map = (
            posemaps.render(part, self.split.size, kind=self.pose_map) for part in placed.chunk(2)
        )
        mask = posemaps.body_mask(placed[len(drawn) :], self.split.size) if self.masks else None
        return Batch(source, source_map, target, target_map, mask)

    def _pixels(self, indices: Int[np.ndarray, " b"]) -> Pixels:
        if self._resident is not None:
            return self._resident.index_select(0, self._send(indices))
        return self._send(self.split.pixels[indices])

    @cached_property
    def _resident(self) -> UInt8[Tensor, "n h w 3"] | None:
        """All pixels on the device, or None where they stay on the host."""
        pixels = self.split.pixels
        if pixels.nbytes > _room(self.device):
            return None
        resident = torch.empty(pixels.shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(pixels), UPLOAD):
            part = np.array(pixels[start : start + UPLOAD])  # a copy: what the cache maps is read-only
            resident[start : start + UPLOAD] = torch.from_numpy(part)
        return resident

    def _send(self, array: np.ndarray) -> Tensor:
        """Copy to the device without waiting for what it does."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


def _room(device: torch.device) -> int:
    """Bytes that pixels may take on a device; none on the host, where they are already."""
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 0
