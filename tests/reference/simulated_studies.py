"""Results of studies whose true gain is known: seeds, identities and noise in any proportion, or AP between 0 and 1."""

from dataclasses import dataclass

import numpy as np

ERROR = 0.012  # standard error of the mean gain of an additive study, as fractions


@dataclass(frozen=True)
class Scenario:
    """What varies; shares are those of the squared error that seeds, identities and both together (noise) have."""

    name: str
    shares: tuple[float, float, float] = (0.0, 0.0, 0.0)
    people: str = "normal"  # or "few": most people gain nothing much, few gain a lot
    bounded: bool = False  # AP in [0, 1], a good part of it 1
    hits: bool = False  # rank-1: 0 or 1
    queries: str = "even"  # 1 to 6 an identity; or "uneven": geometric, up to 20


SCENARIOS = (
    Scenario("seeds vary", (0.9, 0.05, 0.05)),
    Scenario("identities vary", (0.05, 0.9, 0.05)),
    Scenario("both vary", (0.45, 0.45, 0.1)),
    Scenario("as measured for mAP", (0.6, 0.16, 0.24)),
    Scenario("mostly interaction", (0.1, 0.1, 0.8)),
    Scenario("interaction only", (0.0, 0.0, 1.0)),
    Scenario("uneven queries", (0.3, 0.5, 0.2), queries="uneven"),
    Scenario("few people gain", (0.05, 0.9, 0.05), people="few"),
    Scenario("AP in [0, 1]", bounded=True),
    Scenario("rank-1 hits", bounded=True, hits=True),
)


def study(scenario, seeds, identities, effect, rng):
    """Gains (seeds x queries) and the identity of each query; the true gain of an additive scenario is the effect."""
    pids = np.repeat(np.arange(identities), _queries(scenario, identities, rng))
    if scenario.bounded:
        return _bounded(scenario, seeds, identities, 8 * effect, pids, rng), pids
    of_seeds, of_people, of_both = (share**0.5 * ERROR for share in scenario.shares)
    people = rng.exponential(size=identities) - 1 if scenario.people == "few" else rng.normal(size=identities)
    cells = effect + of_seeds * seeds**0.5 * rng.normal(size=(seeds, 1))
    cells = cells + of_people * identities**0.5 * people
    cells = cells + of_both * (seeds * identities) ** 0.5 * rng.normal(size=(seeds, identities))
    return cells[:, pids], pids


def _queries(scenario, identities, rng):
    if scenario.queries == "uneven":
        return np.minimum(rng.geometric(0.25, identities), 20)
    return rng.integers(1, 7, identities)


def _bounded(scenario, seeds, identities, shift, pids, rng):
    """Two arms on a logit scale; people and queries are as hard for both, and without a shift both are the same."""
    easy = 0.7 + 1.2 * rng.normal(size=identities)[pids] + 0.8 * rng.normal(size=len(pids))
    arms = []
    for offset in (0.0, shift):
        logit = offset + easy + 0.12 * rng.normal(size=(seeds, 1)) + 0.3 * rng.normal(size=identities)[pids]
        logit = logit + 0.6 * rng.normal(size=(seeds, identities))[:, pids] + 0.5 * rng.normal(size=(seeds, len(pids)))
        quality = 1 / (1 + np.exp(-logit))
        arms.append(rng.random(quality.shape) < quality if scenario.hits else np.minimum(1, 1.2 * quality))
    return arms[1].astype(float) - arms[0]
