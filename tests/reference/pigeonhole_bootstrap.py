"""The paired hierarchical bootstrap of the experiment protocol, drawn: seeds and identities, with replacement."""

import numpy as np


def mean_gains(gains, pids, draws, rng):
    """The mean over queries, of each draw; gains are seeds x queries."""
    people = [np.flatnonzero(pids == pid) for pid in np.unique(pids)]
    means = []
    for _ in range(draws):
        seeds = rng.integers(len(gains), size=len(gains))
        queries = np.concatenate([people[index] for index in rng.integers(len(people), size=len(people))])
        means.append(gains[np.ix_(seeds, queries)].mean())
    return np.array(means)


def interval(gains, pids, draws, rng):
    """Its 95 % interval by percentiles."""
    return tuple(np.percentile(mean_gains(gains, pids, draws, rng), [2.5, 97.5]))
