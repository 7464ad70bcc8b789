"""Is one arm better than another? Paired differences over seeds, with an interval over identities and seeds.

Queries of one person succeed and fail together, and those of one seed do too, so the units of chance are identities and
seeds, crossed: every seed is tested on the same identities. The experiment protocol names the paired hierarchical
bootstrap, which draws seeds and identities with replacement. The squared error of such draws has a closed form, so
nothing is drawn here (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007; the slow twin is
tests/reference/pigeonhole_bootstrap.py). But its percentiles are too narrow with few seeds, as draws of 5 have 4/5 of
the variance and not the tails of Student's t, and too wide where there is little but noise, which is in the draws of
seeds, of identities and of both. Hence the same three parts, each with its degrees of freedom and counted once:

- Pseudo-values of the jackknife over identities, one for each seed and identity, and their mean squares between seeds,
  between identities and of the rest (Dorfman, Berbaum and Metz, Investigative Radiology 27, 1992; there readers and
  patients are what seeds and identities are here). Leaving identities out holds for unequal numbers of queries.
- The squared standard error is seeds + max(identities - rest, 0): noise is in both parts, and counts once (Hillis,
  Statistics in Medicine 26, 2007).
- Student's t of few seeds and of many identities, weighted by the two parts of the squared error (Cochran and Cox,
  Experimental Designs, 1957, for means of unequal variances). Satterthwaite's degrees of freedom, the usual choice,
  give 7 false alarms in a hundred with three seeds, because they are many when seeds agree by luck.

`python -m benchmarks.coverage` simulates how often that is right; docs/experiments.md has its table.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int
from scipy.special import chdtri, stdtrit

Key = TypeVar("Key")

LEVEL = 0.05  # two-sided: of intervals, and of the minimum detectable effect
POWER = 0.8
LUCK = 0.05  # seeds that agree more closely than noise lets them this often are not believed
SMALLEST = 1e-50  # p-value that is still told from 0


@dataclass(frozen=True)
class Difference:
    """A gain of one arm over another, as fractions; `low` and `high` bound the 95 % interval.

    `p` is below 0.05 exactly where the interval excludes 0. With one seed the interval holds for the two networks that
    were trained, knows nothing of the noise of training, and there are neither `p` nor `mde`; of one identity as well
    it holds every possible gain. `mde` is as uncertain as the interval: of studies with three seeds 7 of 10 find a gain
    of that size, of those with five 3 of 4.
    """

    mean: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    sd: float | None  # over seeds; None where there is one
    p: float | None = None  # two-sided, of no effect
    mde: float | None = None  # minimum detectable effect: found by four of five such studies


@dataclass(frozen=True)
class _SquaredError:
    """Of a mean gain: the parts of seeds and identities, and the degrees of freedom of each."""

    seeds: float
    identities: float
    freedom: tuple[int, int]

    def margin(self, tail: float) -> float:
        """What chance alone exceeds with probability `tail`, on one side."""
        whole = self.seeds + self.identities
        parts = zip((self.seeds, self.identities), self.freedom, strict=True)
        return sum(-part * float(stdtrit(freedom, tail)) for part, freedom in parts if part > 0) / math.sqrt(whole or 1)


def compare(baseline: Sequence[Mapping[str, Any]], arm: Sequence[Mapping[str, Any]], measure: str = "ap") -> Difference:
    """The gain of `arm` in the mean of a per-query measure (ap: mAP; rank1: rank-1), results paired by position (seed).

    Queries without a match are left out.

    Raises:
        ValueError: the results are not of the same queries, or not as many, or no query has a match.
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
    if not valid.any():
        raise ValueError(f"no query has a value of {measure} in every result; evaluate on data with matches")
    return summarise(scored[:, valid], np.asarray(baseline[0]["per_query"]["pid"])[valid])


def summarise(gains: Float[np.ndarray, "seeds queries"], pids: Int[np.ndarray, " queries"]) -> Difference:
    """The mean gain, and how sure it is."""
    per_seed = gains.mean(axis=1)
    mean, sd = float(per_seed.mean()), float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None
    error = _squared_error(gains, pids)
    if error is None:
        return Difference(mean, -1.0, 1.0, tuple(per_seed.tolist()), sd)
    margin = error.margin(LEVEL / 2)
    low, high = max(-1.0, mean - margin), min(1.0, mean + margin)  # a gain of fractions is never beyond
    if len(per_seed) < 2:  # nothing says how much training alone moves
        return Difference(mean, low, high, tuple(per_seed.tolist()), sd)
    detectable = margin + error.margin(1 - POWER)
    return Difference(mean, low, high, tuple(per_seed.tolist()), sd, _p_value(mean, error), detectable)


def holm(ps: Mapping[Key, float]) -> dict[Key, float]:
    """P-values adjusted for being a family: the chance of any false alarm among those below 0.05 is at most 0.05.

    Holm, Scandinavian Journal of Statistics 6, 1979: the smallest of n times n, the next times n - 1, and so on, never
    below the one before. The tests may depend on one another, as arms that share a baseline do.
    """
    assert all(0 <= p <= 1 for p in ps.values()), ps
    adjusted, floor = {}, 0.0
    for rank, key in enumerate(sorted(ps, key=lambda key: ps[key])):
        floor = max(floor, min(1.0, (len(ps) - rank) * ps[key]))
        adjusted[key] = floor
    return {key: adjusted[key] for key in ps}


def _squared_error(
    gains: Float[np.ndarray, "seeds queries"], pids: Int[np.ndarray, " queries"]
) -> _SquaredError | None:
    """None where there is one seed and one identity."""
    pseudo = _pseudo_values(gains, pids)
    seeds, identities = pseudo.shape
    freedom = seeds - 1, identities - 1
    between_seeds = float(gains.mean(axis=1).var(ddof=1)) / seeds if seeds > 1 else 0.0
    if identities == 1:
        return _SquaredError(between_seeds, 0.0, freedom) if seeds > 1 else None
    between_identities = float(pseudo.mean(axis=0).var(ddof=1)) / identities
    if seeds == 1:
        return _SquaredError(0.0, between_identities, freedom)
    rest = pseudo - pseudo.mean(axis=0) - pseudo.mean(axis=1, keepdims=True) + pseudo.mean()
    noise = float((rest**2).sum()) / (freedom[0] * freedom[1]) / pseudo.size
    least = noise * float(chdtri(freedom[0], 1 - LUCK)) / freedom[0]
    return _SquaredError(max(between_seeds, least), max(between_identities - noise, 0.0), freedom)


def _pseudo_values(
    gains: Float[np.ndarray, "seeds queries"], pids: Int[np.ndarray, " queries"]
) -> Float[np.ndarray, "seeds identities"]:
    """What each identity adds to the mean gain of a seed, times their number: of a jackknife that leaves it out."""
    identity = np.unique(pids, return_inverse=True)[1]
    queries = np.bincount(identity)
    sums = np.stack([np.bincount(identity, weights=row) for row in gains])
    if len(queries) == 1:
        return sums / queries
    whole = sums.sum(axis=1, keepdims=True)
    without = (whole - sums) / (queries.sum() - queries)
    return len(queries) * whole / queries.sum() - (len(queries) - 1) * without


def _p_value(mean: float, error: _SquaredError) -> float:
    """Twice the tail whose margin is the gain, by halving on a logarithmic scale."""
    if abs(mean) > error.margin(SMALLEST / 2):
        return 0.0
    low, high = math.log10(SMALLEST), 0.0
    for _ in range(40):
        middle = (low + high) / 2
        if error.margin(10**middle / 2) >= abs(mean):
            low = middle
        else:
            high = middle
    return 10**high


def _values(results: Mapping[str, Any], measure: str) -> Float[np.ndarray, "queries"]:
    return np.asarray([np.nan if value is None else value for value in results["per_query"][measure]], dtype=np.float64)
