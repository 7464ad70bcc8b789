"""Neighbour Feature Centralisation: each feature is drawn to the images that are most likely of the same person.

NFC is one half of Pose2ID (Yuan et al., CVPR 2025, arXiv 2503.00938); the other half adds the features of
generated images. Features gain from others of their own list, so queries gain from other queries: another protocol than
the usual one, to be reported in a column of its own.
"""

import numpy as np
from jaxtyping import Float, Float32, Int64

from reid.neighbours import find_neighbours, unit_vectors


def centralised(
    features: Float[np.ndarray, "n d"], k1: int = 2, k2: int = 2, *, unit: bool = True, block: int | None = None
) -> Float32[np.ndarray, "n d"]:
    """Each feature, scaled to length 1, plus those of its mutual neighbours.

    A neighbour is one of the `k1` nearest others; it is mutual if it has the image among its own `k2` nearest. Query
    and gallery are centralised each on its own, as in the authors' code; there the sums, of length 1 to 1 + k1, are
    then ranked by Euclidean distances, so that how many neighbours an image has decides with whom it shows. With `unit`
    they are scaled to length 1 again, and only directions count; without, the result is the authors'.

    Raises:
        ValueError: no images, features that are not finite, or k2 not in 1 to k1.
    """
    if not len(features):
        raise ValueError("no features to centralise: the query or the gallery is empty")
    if not 1 <= k2 <= k1:
        raise ValueError(f"k1 {k1}, k2 {k2}: k2 must be from 1 to k1; the authors have 2 and 2")
    vectors = unit_vectors(features)
    near = _others(find_neighbours(vectors, k1 + 1, "euclidean", block).nearest)
    own = np.arange(len(vectors))
    sums = vectors.copy()
    for neighbour in near.T:
        mutual = (near[neighbour, :k2] == own[:, None]).any(axis=1)
        sums[mutual] += vectors[neighbour[mutual]]
    return unit_vectors(sums) if unit else sums


def _others(nearest: Int64[np.ndarray, "n k"]) -> Int64[np.ndarray, "n j"]:
    """The neighbours of each without itself; where as many copies of it come before it, without the last."""
    itself = nearest == np.arange(len(nearest))[:, None]
    itself[~itself.any(axis=1), -1] = True
    return nearest[~itself].reshape(len(nearest), -1)
