"""How sure a mean over images is: 95 % intervals of a bootstrap over identities (Efron, Annals of Statistics 7, 1979).

Images of one person are good and bad together, so whole identities are drawn with replacement, each with all of its
images.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Float64, Int

RESAMPLES = 2_000
CELLS = 2_000_000  # counts held at a time
LEVEL = 95.0  # percent
ENOUGH = 5  # identities; draws of fewer are too much alike for an interval to be relied on


def ratio_interval(
    numerators: Float[np.ndarray, " n"], denominators: Float[np.ndarray, " n"], people: Int[np.ndarray, " n"], seed: int
) -> tuple[float, float] | None:
    """Of the sum of the numerators over that of the denominators; None where all images are of one identity.

    With denominators of 1 this is the mean over images. Draws whose denominators sum to 0 are left out.
    """
    identity = np.unique(people, return_inverse=True)[1]
    above, below = (np.bincount(identity, weights=values) for values in (numerators, denominators))

    def ratios(counts: Float64[np.ndarray, "r k"]) -> Float64[np.ndarray, " r"]:
        sums = counts @ below
        return (counts @ above)[sums > 0] / sums[sums > 0]

    return statistic_interval(ratios, len(above), seed)


def linear_interval(
    value: float, influences: Float[np.ndarray, " n"], people: Int[np.ndarray, " n"], seed: int
) -> tuple[float, float] | None:
    """Of a statistic whose derivative by the weight of each image is `influences`, up to a constant.

    Distances of distributions cannot be resampled: a draw holds fewer different images, and so lies further from the
    real ones. Their derivative can, and has no such bias.
    """
    found = ratio_interval(influences - influences.mean(), np.ones(len(influences)), people, seed)
    return None if found is None else (value + found[0], value + found[1])


def split_interval(
    logarithms: Float[np.ndarray, " n"], splits: Int[np.ndarray, " n"], people: Int[np.ndarray, " n"], seed: int
) -> tuple[float, float] | None:
    """Of the mean over splits of exp(mean over the split's images); a split that a draw has nobody of is left out."""
    identity, split = (np.unique(values, return_inverse=True)[1] for values in (people, splits))
    above, below = np.zeros((2, identity.max() + 1, split.max() + 1))
    np.add.at(above, (identity, split), logarithms)
    np.add.at(below, (identity, split), 1)

    def scores(counts: Float64[np.ndarray, "r k"]) -> Float64[np.ndarray, " r"]:
        sums = counts @ below
        there = sums > 0
        means = np.divide(counts @ above, sums, out=np.zeros_like(sums), where=there)
        return np.where(there, np.exp(means), 0).sum(axis=1) / there.sum(axis=1)

    return statistic_interval(scores, len(above), seed)


def statistic_interval(
    statistic: Callable[[np.ndarray], np.ndarray], people: int, seed: int
) -> tuple[float, float] | None:
    """Of anything that `statistic` makes of how often each identity was drawn (a row a draw)."""
    if people < 2:
        return None
    values = np.concatenate([statistic(counts) for counts in _draws(people, seed)])
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _draws(people: int, seed: int) -> Iterator[Float64[np.ndarray, "r k"]]:
    """RESAMPLES draws of as many identities as there are, some at a time: how often each is in it."""
    rng = np.random.default_rng([seed, people])
    rows = max(1, CELLS // people)
    for start in range(0, RESAMPLES, rows):
        drawn = rng.integers(people, size=(min(rows, RESAMPLES - start), people))
        drawn += people * np.arange(len(drawn))[:, None]
        yield np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
