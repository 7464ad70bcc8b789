"""Which real and which synthetic images a training list holds: a pure function of the sources and a policy.

A synthetic image keeps the identity of the person it shows. Given to torchreid as one more data set, synthetic images
would get identities of their own; here both kinds share one list of raw identities.

Controls of the experiment protocol: `real-duplicated` draws real images in the place of synthetic ones; `self_pose`,
the generator's texture without a new pose, needs nothing here: it is a set made with `augment synthesize --poses self`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from reid.sources import ImageSource, cameras, identities

# Streams of random numbers, kept apart so that the real images chosen do not depend on the synthetic sets. Stream 2
# splits identities in two (reid.consistency).
_PORTION, _DRAW, _COPY = 0, 1, 3

CONTROLS = ("none", "real-duplicated")


@dataclass(frozen=True)
class MixPolicy:
    """How much of which kind. The default is three real images to one synthetic, the ratio of CamStyle."""

    ratio: float = 1 / 3  # synthetic images per real image; 0 = none
    portion: float = 1.0  # share of the real images that is kept of each identity, at least one each
    seed: int = 0
    # Of several synthetic sets, the share of the drawn images that each gives; () = drawn as if they were one set
    set_weights: tuple[float, ...] = ()
    # One synthetic image for each real image that the portion withholds, of the same identity (PATN's protocol, Zhu et
    # al. 2019, section 4.5: a share of the real images is replaced); the ratio is not used
    replace: bool = False
    # real-duplicated: in the place of each drawn synthetic image a copy of a real one of that identity, treated alike
    control: str = "none"
    # Of the choice of real images that the portion keeps; None = `seed`. One number for all seeds of a study
    portion_seed: int | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.ratio) and self.ratio >= 0):
            raise ValueError(f"ratio {self.ratio}: must be 0 or more synthetic images per real image")
        if not 0 < self.portion <= 1:
            raise ValueError(f"portion {self.portion}: must be above 0 and at most 1")
        if not all(np.isfinite(weight) and weight > 0 for weight in self.set_weights):
            raise ValueError(f"set_weights {self.set_weights}: must be above 0; leave a set out instead")
        if self.replace and self.portion == 1:
            raise ValueError("replace: nothing is withheld at portion 1; set a smaller portion")
        if self.portion_seed is not None and self.portion == 1:
            raise ValueError("portion_seed: nothing is withheld at portion 1; set a smaller portion, or leave it out")
        if self.replace and self.set_weights:
            raise ValueError("replace draws from all sets as one: leave set_weights out")
        if self.control not in CONTROLS:
            raise ValueError(f"control {self.control!r}: must be one of {', '.join(CONTROLS)}")


class Item(NamedTuple):
    """One image of a training list."""

    source: int  # 0 is the real source, 1 and above are the synthetic sets in the order given
    index: int  # within its source  # pyright: ignore[reportIncompatibleMethodOverride]
    pid: int  # raw identity
    camid: int  # raw camera; a synthetic image has the camera of the image it was made from
    synthetic: bool  # true of the copy of a real image that stands for a synthetic one


def mix(real: ImageSource, synthetic: Sequence[ImageSource], policy: MixPolicy) -> list[Item]:
    """The training list: the kept real images, then the drawn synthetic ones, each in the order of its source.

    Synthetic images are drawn without replacement, evenly over the identities as far as each has enough. At one seed a
    smaller portion or ratio selects a subset of what a larger one selects.

    Raises:
        ValueError: no real images, a synthetic identity that no real image has, too few synthetic images, or not one
            weight for each set.
    """
    real_pids = identities(real)
    if not len(real_pids):
        raise ValueError("the real source holds no images: give a data set with training images")
    kept = kept_images(real_pids, policy.portion, policy.seed if policy.portion_seed is None else policy.portion_seed)
    items = _items(0, real, kept, real_pids)
    if not synthetic or (policy.ratio == 0 and not policy.replace):
        return items

    pids = [identities(source) for source in synthetic]
    _require_known(pids, real_pids)
    drawn = _replacing(pids, real_pids, kept, policy) if policy.replace else _drawn(pids, len(kept), policy)
    if policy.control == "real-duplicated":
        shown = np.concatenate([own[rows] for own, rows in zip(pids, drawn, strict=True)])
        return items + _copies(real, kept, real_pids, shown, policy.seed)
    for number, (source, rows) in enumerate(zip(synthetic, drawn, strict=True), start=1):
        items += _items(number, source, rows, pids[number - 1])
    return items


def kept_images(pids: Int64[np.ndarray, " n"], portion: float, seed: int) -> Int64[np.ndarray, " k"]:
    """Indices of the real images that stay: of n images of an identity max(1, round(portion * n)).

    Which they are depends on the order of `pids`, which is that of the images' names (augment.reid_training).
    """
    place = _place_in_identity(pids, np.random.default_rng([seed, _PORTION]))
    _, label, sizes = np.unique(pids, return_inverse=True, return_counts=True)
    quota = np.maximum(1, np.round(portion * sizes))
    return np.flatnonzero(place < quota[label])


def _drawn(pids: Sequence[Int64[np.ndarray, " _"]], kept: int, policy: MixPolicy) -> list[Int64[np.ndarray, " _"]]:
    """Of each set the indices drawn for `kept` real images."""
    count, available = round(policy.ratio * kept), sum(map(len, pids))
    if count > available:
        raise ValueError(
            f"ratio {policy.ratio:g} asks for {count} synthetic images to {kept} real ones, but there are "
            f"{available}: use a ratio of at most {available / kept:.4g}, or synthesize more"
        )
    if not policy.set_weights:
        return _split(_balanced(np.concatenate(pids), count, policy.seed, 0), pids)
    if len(policy.set_weights) != len(pids):
        raise ValueError(f"{len(policy.set_weights)} set_weights for {len(pids)} synthetic sets: give one for each")
    counts = apportioned(count, policy.set_weights)
    for number, (own, wanted) in enumerate(zip(pids, counts, strict=True)):
        if wanted > len(own):
            raise ValueError(
                f"synthetic set {number + 1}: its weight {policy.set_weights[number]:g} asks for {wanted} images, but "
                f"it has {len(own)}: lower the ratio or its weight, or synthesize more"
            )
    return [
        _balanced(own, wanted, policy.seed, number)
        for number, (own, wanted) in enumerate(zip(pids, counts, strict=True))
    ]


def apportioned(count: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in the proportion of the weights, by Webster's method: none falls when `count` rises."""
    places = np.arange(count)
    order = np.concatenate([(2 * places + 1) / weight for weight in weights])
    owner = np.repeat(np.arange(len(weights)), count)
    first = owner[np.argsort(order, kind="stable")[:count]]
    return [int(number) for number in np.bincount(first, minlength=len(weights))]


def _replacing(
    pids: Sequence[Int64[np.ndarray, " _"]],
    real_pids: Int64[np.ndarray, " n"],
    kept: Int64[np.ndarray, " k"],
    policy: MixPolicy,
) -> list[Int64[np.ndarray, " _"]]:
    """Of each set the indices that stand for withheld real images: of each identity as many as it lost."""
    people, sizes = np.unique(real_pids, return_counts=True)
    withheld = sizes - np.bincount(np.searchsorted(people, real_pids[kept]), minlength=len(people))
    together = np.concatenate(pids)
    place = _place_in_identity(together, np.random.default_rng([policy.seed, _DRAW]))
    label = np.searchsorted(people, together)
    missing = withheld - np.bincount(label, minlength=len(people))
    if (missing > 0).any():
        worst = int(np.argmax(missing))
        raise ValueError(
            f"replace: identity {people[worst]} loses {withheld[worst]} real images, but has "
            f"{withheld[worst] - missing[worst]} synthetic ones ({(missing > 0).sum()} such identities): use a larger "
            "portion, or synthesize more of each identity"
        )
    return _split(np.flatnonzero(place < withheld[label]), pids)


def _copies(
    real: ImageSource,
    kept: Int64[np.ndarray, " k"],
    real_pids: Int64[np.ndarray, " n"],
    shown: Int64[np.ndarray, " m"],
    seed: int,
) -> list[Item]:
    """A kept real image in the place of each synthetic one: of its identity, each as often as the others."""
    place = _place_in_identity(real_pids[kept], np.random.default_rng([seed, _COPY]))
    order = kept[np.lexsort((place, real_pids[kept]))]
    people, starts, sizes = np.unique(real_pids[order], return_index=True, return_counts=True)
    label = np.searchsorted(people, shown)
    turn = _turn(label)
    copied = order[starts[label] + turn % sizes[label]]
    camids = cameras(real)
    return [Item(0, int(i), int(real_pids[i]), int(camids[i]), True) for i in copied]


def _turn(label: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """How many of the same label come before each."""
    order = np.argsort(label, kind="stable")
    _, starts, sizes = np.unique(label[order], return_index=True, return_counts=True)
    turn = np.empty(len(label), np.int64)
    turn[order] = np.arange(len(label)) - np.repeat(starts, sizes)
    return turn


def _split(drawn: Int64[np.ndarray, " k"], pids: Sequence[Int64[np.ndarray, " _"]]) -> list[Int64[np.ndarray, " _"]]:
    """Sorted indices into the sets laid end to end, as indices into each."""
    starts = np.cumsum([0, *map(len, pids)])
    return [drawn[(drawn >= start) & (drawn < stop)] - start for start, stop in itertools.pairwise(starts)]


def _balanced(pids: Int64[np.ndarray, " n"], count: int, seed: int, number: int) -> Int64[np.ndarray, " k"]:
    """Sorted indices of a balanced draw: each identity gives its first image before any gives its second, and so on."""
    rng = np.random.default_rng([seed, _DRAW, number] if number else [seed, _DRAW])
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
