"""Whether an image still shows whom it is labelled with: similarity to that identity's prototype and to the others'.

A prototype is the mean direction of an identity's real images in feature space (after Snell et al., NIPS 2017, with
cosines in the place of Euclidean distances). A network would take the identities that it was trained on for right too
easily, so they are split in two, and each half is judged by a network that was trained on the other (cross-fitting,
Chernozhukov et al. 2018).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

FOLDS = 2
LEAST_IDENTITIES = 2 * FOLDS  # of fewer than two in a fold nothing can be learnt, and none has a competitor

_FOLD = 2  # stream of random numbers, beside those of reid.mixing


@dataclass(frozen=True)
class Prototypes:
    """The mean direction of each identity's images."""

    pids: Int64[np.ndarray, " k"]  # ascending
    directions: Float64[np.ndarray, "k d"]  # of length 1


def folds(pids: Int64[np.ndarray, " n"], seed: int) -> Int64[np.ndarray, " n"]:
    """The fold, 0 or 1, of each image: that of its identity. Which identities there are and the seed decide it.

    Raises:
        ValueError: too few identities.
    """
    people, label = np.unique(pids, return_inverse=True)
    if len(people) < LEAST_IDENTITIES:
        raise ValueError(
            f"{len(people)} training identities: cross-fitting needs at least {LEAST_IDENTITIES}, two in each fold; "
            "use a larger training split"
        )
    order = np.random.default_rng([seed, _FOLD]).permutation(len(people))
    fold = np.empty(len(people), np.int64)
    fold[order] = np.arange(len(people)) % FOLDS
    return fold[label]


def prototypes(features: Float[np.ndarray, "n d"], pids: Int64[np.ndarray, " n"]) -> Prototypes:
    """The mean of each identity's unit features, scaled to length 1."""
    people, label = np.unique(pids, return_inverse=True)
    return Prototypes(people, unit_rows(_sums(unit_rows(features), label, len(people))))


def consistency(
    features: Float[np.ndarray, "n d"], pids: Int64[np.ndarray, " n"], known: Prototypes
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Of each image the cosine to its own identity's prototype, and how much that exceeds the largest to any other's.

    Raises:
        ValueError: an identity without a prototype.
    """
    place = np.searchsorted(known.pids, pids).clip(max=len(known.pids) - 1)
    strangers = pids[known.pids[place] != pids]
    if len(strangers):
        raise ValueError(
            f"identity {strangers[0]} ({len(strangers)} images of such in all) has no real image to be compared with: "
            "use a set that was made from this training split"
        )
    cosines = unit_rows(features) @ known.directions.T
    own = np.take_along_axis(cosines, place[:, None], axis=1)[:, 0]
    return own, own - _best_other(cosines, place)


def left_out_margin(features: Float[np.ndarray, "n d"], pids: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """The margin of each image to prototypes of which its own is made without it; NaN for an identity's only image.

    Where it is above 0, the nearest prototype is that of the right person.
    """
    people, label, sizes = np.unique(pids, return_inverse=True, return_counts=True)
    units = unit_rows(features)
    sums = _sums(units, label, len(people))
    own = np.einsum("nd,nd->n", units, unit_rows(sums[label] - units))
    margin = own - _best_other(units @ unit_rows(sums).T, label)
    return np.where(sizes[label] > 1, margin, np.nan)


def cosine(one: Float[np.ndarray, "n d"], two: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """Row by row."""
    return np.einsum("nd,nd->n", unit_rows(one), unit_rows(two))


def unit_rows(features: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Rows of length 1; a row of zeros stays one."""
    features = features.astype(np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _sums(rows: Float64[np.ndarray, "n d"], label: Int64[np.ndarray, " n"], count: int) -> Float64[np.ndarray, "k d"]:
    sums = np.zeros((count, rows.shape[1]))
    np.add.at(sums, label, rows)
    return sums


def _best_other(cosines: Float64[np.ndarray, "n k"], place: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    assert cosines.shape[1] > 1, "an identity alone has no competitor"
    others = cosines.copy()
    np.put_along_axis(others, place[:, None], -np.inf, axis=1)
    return others.max(axis=1)
