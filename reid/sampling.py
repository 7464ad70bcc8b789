"""In which order images are drawn: every draw is a pure function of (seed, epoch, position).

There is no sampler state, so a resumed training needs none, and any number of workers sees the same batches.
"""

from collections.abc import Iterator
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float64, Int64
from torch.utils.data import Sampler

from reid.quotas import CONSTANT, QuotaPlan, epoch_quotas

# Streams of random numbers: all images together, or real and synthetic apart; identities, and the images of each.
_ALL, _REAL, _SYNTHETIC, _IDENTITIES, _INSTANCES = 0, 1, 2, 3, 4


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
    image off), whatever their number; otherwise their share is that of the list. A `plan` moves the share over the
    epochs, and does not change how many images an epoch draws.
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
        plan: QuotaPlan = CONSTANT,
    ) -> None:
        self._quotas = epoch_quotas(synthetic, quota, plan, epochs)
        self._synthetic = synthetic
        self._seed, self._epochs, self._first_epoch = seed, epochs, first_epoch
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
        if self._quotas is None:
            start = epoch * self._images
            return shuffled(len(self._synthetic), start, start + drawn, (self._seed, _ALL))
        # Draw d is synthetic where the sum of the quotas passes a whole number. So the count is right to one image
        # within any row of draws, thus within a batch; counted over all epochs, rounding evens out.
        bounds = _whole_quotas(self._quotas, epoch, drawn)
        is_synthetic = np.diff(bounds) > 0
        order = np.empty(drawn, np.int64)
        before, after = int(bounds[0]), int(bounds[-1])
        fake, genuine = np.flatnonzero(self._synthetic), np.flatnonzero(~self._synthetic)
        if after > before:
            order[is_synthetic] = fake[shuffled(len(fake), before, after, (self._seed, _SYNTHETIC))]
        start, stop = epoch * drawn - before, (epoch + 1) * drawn - after
        order[~is_synthetic] = genuine[shuffled(len(genuine), start, stop, (self._seed, _REAL))]
        return order


@final
class IdentityBatches(Sampler[list[Draw]]):
    """Batches of P identities with K images (`instances`) each, as the triplet loss needs them (Hermans et al. 2017).

    The identities of a batch differ, and P is at least 2; a row of batches shows every identity before it shows any a
    second time, but for those that fill its last batch. The images of an identity differ as far as it has enough, and
    are drawn anew each time. A `quota` is met in each batch, to one image, among the draws from identities that have
    both kinds, and as evenly among these; without one all images of an identity are drawn alike.
    """

    def __init__(
        self,
        pids: Int64[np.ndarray, " n"],
        synthetic: Bool[np.ndarray, " n"],
        *,
        batch: int,
        instances: int,
        seed: int,
        epochs: int,
        first_epoch: int = 0,
        epoch_images: int | None = None,
        quota: float | None = None,
        plan: QuotaPlan = CONSTANT,
    ) -> None:
        people, label = np.unique(pids, return_inverse=True)
        if len(people) < 2:
            raise ValueError("instances: identity sampling needs at least 2 identities; set it to 0")
        self._quotas = epoch_quotas(synthetic, quota, plan, epochs)
        self._real, self._synthetic, self._all = (
            _by_identity(label, kind, len(people)) for kind in (~synthetic, synthetic, np.ones(len(pids), bool))
        )
        self._seed, self._epochs, self._first_epoch = seed, epochs, first_epoch
        self._people, self._instances = min(batch // instances, len(people)), instances
        self.batch = self._people * instances
        self.steps = max(1, (epoch_images or len(pids)) // self.batch)

    def __len__(self) -> int:
        return max(0, self._epochs - self._first_epoch) * self.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        for epoch in range(self._first_epoch, self._epochs):
            for step in range(self.steps):
                items = self._items(epoch, epoch * self.steps + step)
                yield [Draw(item, (self._seed, epoch, step * self.batch + place)) for place, item in enumerate(items)]

    def _items(self, epoch: int, step: int) -> list[int]:
        """The images of a batch, which is number `step` of the training."""
        labels = self._labels(step)
        rng = np.random.default_rng([self._seed, _INSTANCES, step])
        if self._quotas is None:
            return [item for label in labels for item in _some(self._all[label], self._instances, rng)]
        counts = self._synthetic_counts(labels, self._quotas[epoch], rng.random())
        items = []
        for label, count in zip(labels, counts, strict=True):
            items += _some(self._synthetic[label], count, rng)
            items += _some(self._real[label], self._instances - count, rng)
        return items

    def _labels(self, step: int) -> Int64[np.ndarray, " p"]:
        """The identities of a batch: a stretch of a shuffled pass, whose last stretch is filled from its beginning."""
        count = len(self._all)
        steps = -(-count // self._people)
        order = np.random.default_rng([self._seed, _IDENTITIES, step // steps]).permutation(count)
        start = (step % steps) * self._people
        return order[np.arange(start, start + self._people) % count]

    def _synthetic_counts(self, labels: Int64[np.ndarray, " p"], quota: float, phase: float) -> list[int]:
        """How many images of each identity are synthetic: systematic sampling from a random start."""
        kinds = [(len(self._real[label]) > 0, len(self._synthetic[label]) > 0) for label in labels]
        draws = np.cumsum([0, *(self._instances * (real and fake) for real, fake in kinds)])
        counts = np.diff(np.floor(draws * quota + phase).astype(np.int64))
        return [
            int(count) if real else self._instances for (real, _), count in zip(kinds, counts, strict=True)
        ]  # an identity that lost its real images shows the others


def _by_identity(
    label: Int64[np.ndarray, " n"], chosen: Bool[np.ndarray, " n"], count: int
) -> list[Int64[np.ndarray, " _"]]:
    """The chosen items of each of `count` identities."""
    items = np.flatnonzero(chosen)
    order = items[np.argsort(label[items], kind="stable")]
    return np.split(order, np.cumsum(np.bincount(label[items], minlength=count))[:-1])


def _some(items: Int64[np.ndarray, " n"], count: int, rng: np.random.Generator) -> list[int]:
    """`count` of the items in random order; each comes again only when all have come."""
    if count == 0:
        return []
    passes = [rng.permutation(items) for _ in range(-(-count // len(items)))]
    return [int(item) for item in np.concatenate(passes)[:count]]


def _whole_quotas(quotas: Float64[np.ndarray, " e"], epoch: int, drawn: int) -> Int64[np.ndarray, " k"]:
    """The whole part of the summed quotas before each draw of an epoch, and after its last."""
    quota, places = float(quotas[epoch]), np.arange(drawn + 1)
    if (quotas == quota).all():
        return np.floor((places + epoch * drawn) * quota).astype(np.int64)
    return np.floor(drawn * float(quotas[:epoch].sum()) + places * quota).astype(np.int64)
