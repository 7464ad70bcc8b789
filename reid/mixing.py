"""Which real and which synthetic images a training list holds: a pure function of the sources and a policy.

A synthetic image keeps the identity of the person it shows. Given to torchreid as one more data set, synthetic images
would get identities of their own; here both kinds share one list of raw identities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from reid.sources import ImageSource, cameras, identities

# Streams of random numbers, kept apart so that the real images chosen do not depend on the synthetic sets.
_PORTION, _DRAW = 0, 1


@dataclass(frozen=True)
class MixPolicy:
    """How much of which kind. The default is three real images to one synthetic, the ratio of CamStyle."""

    ratio: float = 1 / 3  # synthetic images per real image; 0 = none
    portion: float = 1.0  # share of the real images that is kept of each identity, at least one each
    seed: int = 0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.ratio) and self.ratio >= 0):
            raise ValueError(f"ratio {self.ratio}: must be 0 or more synthetic images per real image")
        if not 0 < self.portion <= 1:
            raise ValueError(f"portion {self.portion}: must be above 0 and at most 1")


class Item(NamedTuple):
    """One image of a training list."""

    source: int  # 0 is the real source, 1 and above are the synthetic sets in the order given
    index: int  # within its source  # pyright: ignore[reportIncompatibleMethodOverride]
    pid: int  # raw identity
    camid: int  # raw camera; a synthetic image has the camera of the image it was made from
    synthetic: bool


def mix(real: ImageSource, synthetic: Sequence[ImageSource], policy: MixPolicy) -> list[Item]:
    """The training list: the kept real images, then the drawn synthetic ones, each in the order of its source.

    Synthetic images are drawn without replacement, evenly over the identities as far as each has enough. At one seed a
    smaller portion or ratio selects a subset of what a larger one selects.

    Raises:
        ValueError: no real images, a synthetic identity that no real image has, or too few synthetic images.
    """
    real_pids = identities(real)
    if not len(real_pids):
        raise ValueError("the real source holds no images: give a data set with training images")
    kept = _kept(real_pids, policy)
    items = _items(0, real, kept, real_pids)
    if not synthetic or policy.ratio == 0:
        return items

    pids = [identities(source) for source in synthetic]
    _require_known(pids, real_pids)
    count = round(policy.ratio * len(kept))
    available = sum(map(len, pids))
    if count > available:
        raise ValueError(
            f"ratio {policy.ratio:g} asks for {count} synthetic images to {len(kept)} real ones, but there are "
            f"{available}: use a ratio of at most {available / len(kept):.4g}, or synthesize more"
        )
    drawn = _drawn(np.concatenate(pids), count, policy.seed)
    starts = np.cumsum([0, *map(len, pids)])
    for number, source in enumerate(synthetic):
        start, stop = starts[number : number + 2]
        chosen = drawn[(drawn >= start) & (drawn < stop)] - start
        items += _items(number + 1, source, chosen, pids[number])
    return items


def _kept(pids: Int64[np.ndarray, " n"], policy: MixPolicy) -> Int64[np.ndarray, " k"]:
    """Indices of the real images that stay: of n images of an identity max(1, round(portion * n))."""
    place = _place_in_identity(pids, np.random.default_rng([policy.seed, _PORTION]))
    _, label, sizes = np.unique(pids, return_inverse=True, return_counts=True)
    quota = np.maximum(1, np.round(policy.portion * sizes))
    return np.flatnonzero(place < quota[label])


def _drawn(pids: Int64[np.ndarray, " n"], count: int, seed: int) -> Int64[np.ndarray, " k"]:
    """Sorted indices of a balanced draw: each identity gives its first image before any gives its second, and so on."""
    rng = np.random.default_rng([seed, _DRAW])
    place = _place_in_identity(pids, rng)
    order = np.lexsort((rng.permutation(len(pids)), place))
    return np.sort(order[:count])


def _place_in_identity(pids: Int64[np.ndarray, " n"], rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """A random order within each identity: 0 for its first image, 1 for its second, and so on."""
    order = np.lexsort((rng.permutation(len(pids)), pids))
    _, starts, sizes = np.unique(pids[order], return_index=True, return_counts=True)
    place = np.empty(len(pids), np.int64)
    place[order] = np.arange(len(pids)) - np.repeat(starts, sizes)
    return place


def _require_known(pids: Sequence[Int64[np.ndarray, " _"]], real_pids: Int64[np.ndarray, " n"]) -> None:
    for number, found in enumerate(pids):
        unknown = np.setdiff1d(found, real_pids)
        if len(unknown):
            raise ValueError(
                f"synthetic set {number + 1}: identity {unknown[0]} ({len(unknown)} such in all) is not among the real "
                "training identities: use a set that was made from this training split"
            )


def _items(
    number: int, source: ImageSource, indices: Int64[np.ndarray, " k"], pids: Int64[np.ndarray, " n"]
) -> list[Item]:
    camids = cameras(source)
    return [Item(number, int(i), int(pids[i]), int(camids[i]), number > 0) for i in indices]
