"""Intervals of a bootstrap over identities: width, ties, and that images of one identity count as one."""

import numpy as np
import pytest

from augment import intervals
from augment.intervals import ratio_interval, statistic_interval


def test_width_is_that_of_a_mean_over_identities():
    """1.96 standard errors to each side, where every identity has one image."""
    values = np.random.default_rng(0).normal(5, 2, 900)
    interval = ratio_interval(values, np.ones(900), np.arange(900), seed=0)
    assert interval is not None
    error = values.std() / np.sqrt(900)
    assert interval[0] == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert interval[1] == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_more_images_of_the_same_people_do_not_make_it_surer():
    values, people = np.arange(12.0), np.arange(12)
    once = ratio_interval(values, np.ones(12), people, seed=1)
    often = ratio_interval(np.repeat(values, 40), np.ones(480), np.repeat(people, 40), seed=1)
    assert once is not None
    assert often == pytest.approx(once)


def test_equals_a_loop_over_the_same_draws():
    rng = np.random.default_rng(2)
    people = rng.integers(7, size=60)
    above, below = rng.integers(9, size=60).astype(float), rng.integers(9, 12, size=60).astype(float)
    ratios = []
    for counts in np.concatenate(list(intervals._draws(len(np.unique(people)), 3))):
        drawn = np.repeat(np.arange(7), counts.astype(int))
        rows = np.concatenate([np.flatnonzero(people == person) for person in drawn])
        ratios.append(above[rows].sum() / below[rows].sum())
    assert len(ratios) == intervals.RESAMPLES
    expected = tuple(np.percentile(ratios, [2.5, 97.5]))
    assert ratio_interval(above, below, people, seed=3) == pytest.approx(expected)


def test_one_identity_has_no_interval_and_equal_ones_a_point():
    assert ratio_interval(np.arange(5.0), np.ones(5), np.zeros(5, int), seed=0) is None
    assert ratio_interval(np.full(6, 0.25), np.ones(6), np.arange(6), seed=0) == pytest.approx((0.25, 0.25))


def test_draws_do_not_depend_on_how_many_are_held(monkeypatch):
    whole = np.concatenate(list(intervals._draws(5, 0)))
    monkeypatch.setattr(intervals, "CELLS", 5 * 300)
    parts = list(intervals._draws(5, 0))
    assert len(parts) == 7
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole.sum(axis=1) == 5).all()


def test_any_statistic_of_the_counts():
    found = statistic_interval(lambda counts: counts[:, 0] / counts.sum(axis=1), 2, seed=0)
    assert found == (0.0, 1.0)
