"""In which order images are drawn: every draw is a pure function of (seed, epoch, position).

There is no sampler state, so a resumed training needs none, and any number of workers sees the same batches.
"""

from collections.abc import Iterator
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Bool, Int64
from torch.utils.data import Sampler

# Streams of random numbers: all images together, or real and synthetic apart.
_ALL, _REAL, _SYNTHETIC = 0, 1, 2


class Draw(NamedTuple):
    """An item of the training list, and the numbers that seed its augmentation."""

    item: int
    noise: tuple[int, int, int]  # seed, epoch, position within the epoch


def shuffled(count: int, start: int, stop: int, key: tuple[int, ...]) -> Int64[np.ndarray, " k"]:
    """Draws `start` to `stop` of an endless row of shuffled passes over range(count)."""
    assert count > 0, "nothing to draw from"
    passes = range(start // count, -(-stop // count))
    row = np.concatenate(
        [np.empty(0, np.int64), *(np.random.default_rng([*key, number]).permutation(count) for number in passes)]
    )
    offset = (start // count) * count
    return row[start - offset : stop - offset]


@final
class EpochBatches(Sampler[list[Draw]]):
    """Batches of all epochs from `first_epoch` on; an epoch is `epoch_images` draws (default: each image once).

    Only full batches are drawn, as in torchreid; the images left over are other ones in each epoch. A list smaller than
    a batch is one batch. With a `quota` each batch holds that share of synthetic images (exact on average, at most one
    image off), whatever their number; otherwise their share is that of the list.
    """

    def __init__(
        self,
        synthetic: Bool[np.ndarray, " n"],
        *,
        batch: int,
        seed: int,
        epochs: int,
        first_epoch: int = 0,
        epoch_images: int | None = None,
        quota: float | None = None,
    ) -> None:
        if quota is not None and (synthetic.all() or not synthetic.any()):
            raise ValueError(
                f"quota {quota}: needs both real and synthetic images; leave it out or give a synthetic set"
            )
        self._synthetic = synthetic
        self._seed, self._epochs, self._first_epoch = seed, epochs, first_epoch
        self._quota = quota
        self._images = epoch_images or len(synthetic)
        self.batch = min(batch, self._images)
        self.steps = self._images // self.batch

    def __len__(self) -> int:
        return max(0, self._epochs - self._first_epoch) * self.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        for epoch in range(self._first_epoch, self._epochs):
            order = self._order(epoch)
            for start in range(0, self.steps * self.batch, self.batch):
                positions = range(start, start + self.batch)
                yield [Draw(int(order[position]), (self._seed, epoch, position)) for position in positions]

    def _order(self, epoch: int) -> Int64[np.ndarray, " k"]:
        """The items of an epoch's batches, one after the other."""
        drawn = self.steps * self.batch
        if self._quota is None:
            start = epoch * self._images
            return shuffled(len(self._synthetic), start, start + drawn, (self._seed, _ALL))
        # Draw d is synthetic where d * quota passes a whole number. So the count is right to one image within any row
        # of draws, thus within a batch; counted over all epochs, rounding evens out.
        bounds = np.floor((np.arange(drawn + 1) + epoch * drawn) * self._quota).astype(np.int64)
        is_synthetic = np.diff(bounds) > 0
        order = np.empty(drawn, np.int64)
        before, after = int(bounds[0]), int(bounds[-1])
        fake, genuine = np.flatnonzero(self._synthetic), np.flatnonzero(~self._synthetic)
        order[is_synthetic] = fake[shuffled(len(fake), before, after, (self._seed, _SYNTHETIC))]
        start, stop = epoch * drawn - before, (epoch + 1) * drawn - after
        order[~is_synthetic] = genuine[shuffled(len(genuine), start, stop, (self._seed, _REAL))]
        return order
