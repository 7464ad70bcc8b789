"""Is one arm better than another? Paired differences over seeds, with an interval over identities and seeds.

Queries of one person succeed and fail together, so whole identities are resampled, not queries; seeds are resampled
with them (a paired hierarchical bootstrap; experiment protocol in docs/experiments.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

RESAMPLES = 4_000


@dataclass(frozen=True)
class Difference:
    """A gain of one arm over another, as fractions; `low` and `high` bound the 95 % interval."""

    mean: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    sd: float | None  # over seeds; None where there is one


def compare(
    baseline: Sequence[Mapping[str, Any]], arm: Sequence[Mapping[str, Any]], measure: str = "ap", seed: int = 0
) -> Difference:
    """The gain of `arm` in the mean of a per-query measure (ap: mAP; rank1: rank-1), results paired by position (seed).

    Raises:
        ValueError: the results are not of the same queries, or not as many.
    """
    if len(baseline) != len(arm) or not baseline:
        raise ValueError(f"cannot pair {len(baseline)} with {len(arm)} results; run both arms with the same seeds")
    gains = []
    for old, new in zip(baseline, arm, strict=True):
        if old["per_query"]["pid"] != new["per_query"]["pid"] or old["per_query"]["camid"] != new["per_query"]["camid"]:
            raise ValueError("cannot pair results of different queries; evaluate both arms on the same data")
        gains.append(_values(new, measure) - _values(old, measure))
    scored = np.stack(gains)
    valid = ~np.isnan(scored).any(axis=0)
    pids = np.asarray(baseline[0]["per_query"]["pid"])[valid]
    per_seed = scored[:, valid].mean(axis=1)
    low, high = _interval(scored[:, valid], pids, np.random.default_rng(seed))
    sd = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None
    return Difference(float(per_seed.mean()), low, high, tuple(per_seed.tolist()), sd)


def _interval(
    gains: Float[np.ndarray, "seeds queries"], pids: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """Percentiles of the mean gain when seeds and identities are drawn with replacement."""
    _, identity = np.unique(pids, return_inverse=True)
    sizes = np.bincount(identity)
    sums = np.stack([np.bincount(identity, weights=row) for row in gains])  # seeds x identities
    means = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        chosen = rng.integers(len(sizes), size=len(sizes))
        seeds = rng.integers(len(gains), size=len(gains))
        means[index] = sums[seeds][:, chosen].sum() / (sizes[chosen].sum() * len(gains))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _values(results: Mapping[str, Any], measure: str) -> Float[np.ndarray, "queries"]:
    return np.asarray([np.nan if value is None else value for value in results["per_query"][measure]], dtype=np.float64)
