"""Whether an image still shows whom it is labelled with: similarity to that identity's prototype and to the others'.

A prototype is the mean direction of an identity's real images in feature space (after Snell et al., NIPS 2017, with
cosines in the place of Euclidean distances). Those of an image's own identity are taken without the one that it was
made from: a copy is as consistent as its source is, and no more (leave-one-out). A network would take the identities
that it was trained on for right too easily, so they are split in two, and each half is judged by a network that was
trained on the other (cross-fitting, Chernozhukov et al. 2018).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64

FOLDS = 2
LEAST_IDENTITIES = 2 * FOLDS  # of fewer than two in a fold nothing can be learnt, and none has a competitor
LEAST_SKILL = 2.0  # times chance, of a judge that is to be believed

_FOLD = 2  # stream of random numbers, beside those of reid.mixing


@dataclass(frozen=True)
class Prototypes:
    """The mean direction of each identity's images, as a sum that one of them can be taken out of."""

    pids: Int64[np.ndarray, " k"]  # ascending
    sums: Float64[np.ndarray, "k d"]  # of unit features
    sizes: Int64[np.ndarray, " k"]  # images of each

    @property
    def directions(self) -> Float64[np.ndarray, "k d"]:
        """Of length 1, of all images of each identity."""
        return unit_rows(self.sums)


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
    """Of each identity the sum of its unit features, and how many they are."""
    people, label, sizes = np.unique(pids, return_inverse=True, return_counts=True)
    sums = np.zeros((len(people), features.shape[1]))
    np.add.at(sums, label, unit_rows(features))
    return Prototypes(people, sums, sizes.astype(np.int64))


def consistency(
    features: Float[np.ndarray, "n d"],
    pids: Int64[np.ndarray, " n"],
    known: Prototypes,
    sources: Float[np.ndarray, "n d"],
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Of each image the cosine to its own identity's prototype, and how much that exceeds the largest to any other's.

    The own prototype is made without the image's source, whose feature is the row of `sources`; NaN where that is the
    only image of the identity. The others' are whole.

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
    own = cosine(features, known.sums[place] - unit_rows(sources))
    own[known.sizes[place] == 1] = np.nan
    return own, own - _best_other(unit_rows(features) @ known.directions.T, place)


def left_out_margin(features: Float[np.ndarray, "n d"], pids: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """The margin of each image to prototypes of which its own is made without it; NaN for an identity's only image.

    Where it is above 0, the nearest prototype is that of the right person.
    """
    return consistency(features, pids, prototypes(features, pids), features)[1]


def doubt(judges: Sequence[Mapping[str, Any]]) -> str | None:
    """Why scores by these judges are not to be believed; None where each is right twice as often as by chance.

    Of each judge `rank1` is the share of real images of identities new to it that are nearest to the right prototype,
    None where that could not be tested, and `chance` is what guessing gives.
    """
    if any(judge["rank1"] is None for judge in judges):
        return "the judges are untested: the identities of one have a single image each"
    weaker = min(judges, key=lambda judge: judge["rank1"] / judge["chance"])
    rank1, chance = weaker["rank1"], weaker["chance"]
    if rank1 >= LEAST_SKILL * chance:
        return None
    return f"of people new to it, the weaker judge finds {rank1:.1%} (by chance {chance:.1%})"


def cosine(one: Float[np.ndarray, "n d"], two: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """Row by row."""
    return np.einsum("nd,nd->n", unit_rows(one), unit_rows(two))


def unit_rows(features: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Rows of length 1; a row of zeros stays one."""
    features = features.astype(np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _best_other(cosines: Float64[np.ndarray, "n k"], place: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    assert cosines.shape[1] > 1, "an identity alone has no competitor"
    others = cosines.copy()
    np.put_along_axis(others, place[:, None], -np.inf, axis=1)
    return others.max(axis=1)
