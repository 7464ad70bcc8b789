"""Intervals of a bootstrap over identities: width, ties, and that images of one identity count as one."""

import numpy as np
import pytest

from augment import intervals
from augment.intervals import linear_interval, ratio_interval, split_interval, statistic_interval
from generators.metrics.frechet import frechet_distance, frechet_influences, moments
from generators.metrics.inception_score import divergences, inception_score
from generators.metrics.kernel_distance import kernel_distance, kernel_influences


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


def test_the_interval_of_a_mean_by_its_derivative_is_that_of_the_mean():
    rng = np.random.default_rng(4)
    values, people = rng.normal(3, 1, 60), rng.integers(9, size=60)
    expected = ratio_interval(values, np.ones(60), people, seed=0)
    assert linear_interval(values.mean(), values + 17, people, seed=0) == pytest.approx(expected)
    assert linear_interval(1.0, values, np.zeros(60, int), seed=0) is None


def test_splits_as_a_loop_over_the_same_draws():
    rng = np.random.default_rng(5)
    people, splits = np.repeat(np.arange(6), 4), np.repeat(np.arange(3), 8)
    values = rng.normal(size=24)
    scores = []
    for counts in np.concatenate(list(intervals._draws(6, 2))):
        rows = np.concatenate(
            [np.flatnonzero(people == person) for person in np.repeat(np.arange(6), counts.astype(int))]
        )
        there = [values[rows[splits[rows] == split]] for split in range(3)]
        scores.append(np.mean([np.exp(part.mean()) for part in there if len(part)]))
    found = split_interval(values, splits, people + 70, seed=2)
    assert found == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])))


WIDTH, EACH = 6, 4


def crowd(seed, count, shift):
    """Features of images of some people; those of one are alike."""
    rng = np.random.default_rng(seed)
    who = np.repeat(rng.normal(size=(count, WIDTH)), EACH, axis=0)
    return shift + 0.8 * who + 0.6 * rng.normal(size=who.shape)


def fid(real, generated, people):
    value = frechet_distance(moments(real), moments(generated))
    return value, linear_interval(value, frechet_influences(moments(real), generated), people, seed=0)


def kid(real, generated, people):
    value = kernel_distance(generated, real, subsets=1, size=len(generated), seed=0)[0]
    return value, linear_interval(value, kernel_influences(real, generated, seed=0), people, seed=0)


def score(real, generated, people):
    value = inception_score(generated)[0]
    return value, split_interval(*divergences(generated), people, seed=0)


@pytest.mark.parametrize(
    ("of", "count", "shift"), [(fid, 50, 0.4), (fid, 50, 1.5), (kid, 50, 0.4), (kid, 50, 1.5), (score, 100, 0)]
)
def test_intervals_are_as_wide_as_other_people_make_a_value_vary(of, count, shift, monkeypatch):
    """Half a width is about two standard deviations over draws of new people, never much less; counting the images one
    by one would make it half as wide, for four of one person are much alike."""
    monkeypatch.setattr(intervals, "RESAMPLES", 300)
    real = np.random.default_rng(1).normal(size=(count * EACH, WIDTH))
    people = np.repeat(np.arange(count), EACH)
    found = [of(real, crowd(seed, count, shift), people) for seed in range(2, 62)]
    values = np.asarray([value for value, _ in found])
    widths = [interval[1] - interval[0] for _, interval in found]
    assert 0.8 < np.mean(widths) / 2 / (1.96 * values.std()) < 1.5
    assert all(interval[0] < value < interval[1] for value, interval in found)
