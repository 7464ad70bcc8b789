"""Differences between arms: known effects come out, intervals and p-values are those of hand-worked studies."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from augment import comparison
from augment.comparison import compare, holm, summarise
from tests.reference import pigeonhole_bootstrap


def results(ap, pids, camids=None):
    """As much of results.json as a comparison reads."""
    pids = [int(pid) for pid in pids]
    return {"per_query": {"pid": pids, "camid": camids or [0] * len(pids), "ap": list(ap), "rank1": list(ap)}}


PIDS = np.repeat(np.arange(20), 4)
BASE = np.random.default_rng(0).uniform(0, 1, len(PIDS))


def test_identical_arms_differ_by_exactly_nothing():
    found = compare([results(BASE, PIDS)] * 2, [results(BASE, PIDS)] * 2)
    assert (found.mean, found.low, found.high, found.per_seed, found.sd) == (0, 0, 0, (0, 0), 0)
    assert (found.p, found.mde) == (1, 0)


def test_a_constant_gain_is_found_exactly_and_has_no_uncertainty():
    found = compare([results(BASE, PIDS)] * 3, [results(BASE + 0.25, PIDS)] * 3)
    assert [found.mean, found.low, found.high, *found.per_seed] == pytest.approx([0.25] * 6, abs=1e-12)
    assert found.p == pytest.approx(0, abs=1e-30)
    assert found.mde == pytest.approx(0, abs=1e-12)


def test_the_sign_is_arm_minus_baseline():
    old, new = [results(BASE, PIDS)], [results(BASE + 0.1, PIDS)]
    assert compare(old, new).mean == pytest.approx(0.1)
    assert compare(new, old).mean == pytest.approx(-0.1)


def test_mean_and_spread_over_seeds_by_hand():
    gains = [0.1, 0.3]
    found = compare([results(BASE, PIDS)] * 2, [results(BASE + gain, PIDS) for gain in gains])
    assert found.per_seed == pytest.approx(gains)
    assert found.mean == pytest.approx((0.1 + 0.3) / 2)
    assert found.sd == pytest.approx((2 * 0.1**2) ** 0.5)  # n - 1 below


def test_where_only_seeds_differ_it_is_the_t_test_over_seeds():
    """Every identity gains the same, so that identities add no error, however many queries each has."""
    gains = np.array([0.011, 0.024, -0.003, 0.017, 0.032])
    pids = np.repeat(np.arange(6), [1, 5, 2, 9, 3, 4])
    found = summarise(np.repeat(gains[:, None], len(pids), axis=1), pids)
    error = gains.std(ddof=1) / 5**0.5
    assert found.low == pytest.approx(gains.mean() - 2.77644511 * error)  # t of 4 degrees of freedom, 97.5 %
    assert found.high == pytest.approx(gains.mean() + 2.77644511 * error)
    assert found.mde == pytest.approx((2.77644511 + 0.94096458) * error)  # and its 80 %
    assert found.p == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)


@pytest.mark.parametrize("seeds", [2, 4])
def test_where_only_identities_differ_it_is_the_t_test_over_identities(seeds):
    of_people = np.random.default_rng(5).normal(0.01, 0.03, 30)
    found = summarise(np.tile(np.repeat(of_people, 3), (seeds, 1)), np.repeat(np.arange(30), 3))
    expected = stats.ttest_1samp(of_people, 0)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval(0.95))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.mde == pytest.approx((2.045230 + 0.854192) * of_people.std(ddof=1) / 30**0.5)  # t of 29


def test_one_identity_leaves_the_seeds():
    gains = np.array([0.1, 0.2, 0.15])
    found = summarise(np.repeat(gains[:, None], 4, axis=1), np.zeros(4, int))
    assert (found.low, found.high) == pytest.approx(stats.ttest_1samp(gains, 0).confidence_interval(0.95))


def test_one_seed_and_one_identity_say_nothing():
    found = summarise(np.array([[0.1, 0.3]]), np.zeros(2, int))
    assert (found.mean, found.low, found.high) == (0.2, -1, 1)
    assert found.p is found.mde is None


def test_an_interval_ends_where_gains_end():
    """Two seeds: 0.2 -+ 12.7 * 0.1 were beyond the largest possible gain."""
    found = compare([results(BASE, PIDS)] * 2, [results(BASE + gain, PIDS) for gain in (0.1, 0.3)])
    assert (found.low, found.high) == (-1, 1)
    assert found.p == pytest.approx(stats.ttest_1samp([0.1, 0.3], 0).pvalue)


def two_way(seeds=4, identities=9, seed=6, each=2):
    """Seeds, identities and both vary; every identity has as many queries."""
    rng = np.random.default_rng(seed)
    cells = rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, 0.06, identities) + rng.normal(0, 0.03, (seeds, identities))
    return np.repeat(cells, each, axis=1), np.repeat(np.arange(identities), each)


def test_both_vary_by_hand():
    """Mean squares of the two-way table, in loops."""
    gains, pids = two_way()
    cells = gains[:, ::2]
    total, rows, columns = cells.mean(), cells.mean(axis=1), cells.mean(axis=0)
    of_seeds = sum((row - total) ** 2 for row in rows) / 3 / 4
    of_people = sum((column - total) ** 2 for column in columns) / 8 / 9
    rest = sum((cells[i, j] - rows[i] - columns[j] + total) ** 2 for i in range(4) for j in range(9)) / (3 * 8) / 36
    assert of_people > rest
    of_people -= rest
    whole = of_seeds + of_people
    margin = (of_seeds * 3.182446 + of_people * 2.306004) / whole**0.5  # t of 3 and 8 degrees of freedom
    found = summarise(gains, pids)
    assert (found.low, found.high) == pytest.approx((total - margin, total + margin))


def test_identities_that_are_alike_on_average_take_nothing_off_the_error():
    """What varies between them is noise, and the seeds have it already."""
    gains, pids = two_way(each=1)
    alike = gains - gains.mean(axis=0)
    expected = stats.ttest_1samp(alike.mean(axis=1) + 0.01, 0)
    found = summarise(alike + 0.01, pids)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval(0.95))
    assert found.p == pytest.approx(expected.pvalue)


def test_the_parts_are_those_of_the_hierarchical_bootstrap():
    """Variance of its draws: (n - 1) / n of the parts of seeds and of identities, and of their noise once more."""
    gains, pids = two_way(seeds=3, identities=12)
    drawn = pigeonhole_bootstrap.mean_gains(gains, pids, 20_000, np.random.default_rng(0)).var()
    cells = gains[:, ::2]
    noise = cells - cells.mean(axis=0) - cells.mean(axis=1, keepdims=True) + cells.mean()
    rest = (noise**2).sum() / (2 * 11) / 36
    error = comparison._squared_error(gains, pids)
    expected = error.seeds * 2 / 3 + (error.identities + rest) * 11 / 12 + rest * 2 / 3 * 11 / 12
    assert drawn == pytest.approx(expected, rel=4 * (2 / 20_000) ** 0.5)  # four standard errors of a variance


def test_seeds_that_agree_by_luck_are_not_believed():
    """Equal means, though every identity moves from seed to seed: the interval does not collapse."""
    noise = np.random.default_rng(7).normal(0, 0.1, (3, 40))
    gains = noise - noise.mean(axis=1, keepdims=True) + 0.01
    found = summarise(gains, np.arange(40))
    assert found.sd == pytest.approx(0)
    assert found.high - found.low > 0.1 / 120**0.5  # the standard error of a mean of as many
    assert found.p > 0.001


def test_uneven_numbers_of_queries_are_those_of_the_jackknife():
    """One seed: the mean without each identity, in a loop."""
    rng = np.random.default_rng(12)
    pids = np.repeat(np.arange(7), [12, 1, 5, 2, 1, 3, 4])
    gains = rng.normal(0, 0.1, 7)[pids] + rng.normal(0, 0.05, len(pids))
    without = [gains[pids != pid].mean() for pid in range(7)]
    error = (6 / 7 * sum((mean - sum(without) / 7) ** 2 for mean in without)) ** 0.5
    found = summarise(gains[None], pids)
    assert found.high - found.mean == pytest.approx(2.44691185 * error)  # t of 6


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 12), st.floats(-0.1, 0.1))
def test_p_is_below_5_percent_where_the_interval_excludes_nothing(seed, seeds, identities, effect):
    gains, pids = two_way(seeds, identities, seed, each=1)
    found = summarise(gains + effect, pids)
    assert 0 <= found.p <= 1
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
    mirrored = summarise(-gains - effect, pids)
    assert (mirrored.low, mirrored.high, mirrored.p) == pytest.approx((-found.high, -found.low, found.p))


def test_tiny_p_values_are_told_apart_and_never_negative():
    """Far tails, where quantiles overflow."""
    gains = np.random.default_rng(8).normal(0, 0.01, (3, 200)) + np.random.default_rng(9).normal(0, 0.001, (3, 1))
    ps = [summarise(gains + effect, np.arange(200)).p for effect in (0.01, 0.1, 1.0, 1e3, 1e6)]
    assert ps == sorted(ps, reverse=True)
    assert ps[2] > ps[3] > 0
    assert summarise(np.full((2, 3), 0.5), np.arange(3)).p == 0


def test_one_seed_knows_no_noise_of_training():
    gains, pids = two_way(1, 12, 0, each=2)
    found = summarise(gains + 0.5, pids)
    assert found.low < found.mean < found.high
    assert (found.sd, found.p, found.mde) == (None, None, None)


def test_one_seed_has_no_spread():
    assert compare([results(BASE, PIDS)], [results(BASE, PIDS)]).sd is None


def test_the_order_of_queries_does_not_matter():
    new = np.clip(BASE + np.random.default_rng(1).normal(0.05, 0.2, len(BASE)), 0, 1)
    order = np.random.default_rng(2).permutation(len(BASE))
    first = compare([results(BASE, PIDS)], [results(new, PIDS)])
    second = compare([results(BASE[order], PIDS[order])], [results(new[order], PIDS[order])])
    assert [second.mean, second.low, second.high] == pytest.approx([first.mean, first.low, first.high])


def test_resampling_identities_is_wider_than_resampling_queries():
    """Queries of one person succeed and fail together; taken for independent, they promise too much."""
    rng = np.random.default_rng(3)
    gain = np.repeat(rng.normal(0, 0.2, 20), 4) + rng.normal(0, 0.01, 80)
    by_identity = compare([results(BASE, PIDS)], [results(BASE + gain, PIDS)])
    by_query = compare([results(BASE, range(80))], [results(BASE + gain, range(80))])
    assert by_identity.high - by_identity.low > 1.5 * (by_query.high - by_query.low)


def test_queries_without_a_match_are_left_out_of_both():
    old, new = [0.5, None, 0.5, 0.5], [0.6, 0.9, None, 0.8]
    found = compare([results(old, [1, 2, 3, 4])], [results(new, [1, 2, 3, 4])])
    assert found.mean == pytest.approx((0.1 + 0.3) / 2)


def test_other_queries_or_numbers_of_results_are_refused():
    one = results(BASE, PIDS)
    with pytest.raises(ValueError, match="cannot pair 1 with 2 results"):
        compare([one], [one, one])
    with pytest.raises(ValueError, match="cannot pair 0 with 0"):
        compare([], [])
    for other in (results(BASE, PIDS + 1), results(BASE, PIDS, camids=[1] * len(PIDS))):
        with pytest.raises(ValueError, match="different queries"):
            compare([one], [other])


def test_no_query_with_a_match_is_said():
    one = results([None, None], [1, 2])
    with pytest.raises(ValueError, match="no query has a value of ap in every result"):
        compare([one], [one])


def test_market_1501_and_ten_seeds_take_no_time():
    pids = np.random.default_rng(10).integers(0, 750, 3_368)
    gains = np.random.default_rng(11).normal(0, 0.1, (10, len(pids)))
    started = time.perf_counter()
    summarise(gains, pids)
    assert time.perf_counter() - started < 0.5


def test_holm_by_hand():
    """Four arms: 4 * 0.01, 3 * 0.02, then 2 * 0.03 and 0.04, the last lifted to the one before."""
    assert holm({"b": 0.03, "a": 0.01, "d": 0.04, "c": 0.02}) == pytest.approx(
        {"b": 0.06, "a": 0.04, "d": 0.06, "c": 0.06}
    )
    assert holm({0: 0.01, 1: 0.04, 2: 0.03, 3: 0.005}) == pytest.approx({0: 0.03, 1: 0.06, 2: 0.06, 3: 0.02})
    assert holm({"x": 0.7, "y": 0.6}) == {"x": 1, "y": 1}
    assert holm({"alone": 0.03}) == {"alone": 0.03}
    assert holm({}) == {}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_between_the_raw_and_bonferroni(ps):
    raw = dict(enumerate(ps))
    adjusted = holm(raw)
    assert list(adjusted) == list(raw)
    for one, p in raw.items():
        assert p <= adjusted[one] <= min(1, len(ps) * p)
        assert all(adjusted[one] <= adjusted[other] for other in raw if p <= raw[other])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_steps_down_until_the_first_that_fails(ps):
    """The procedure as published: compare the k-th smallest with 0.05 / (n - k + 1), and stop at the first above."""
    rejected = set()
    for rank, p in enumerate(sorted(ps)):
        if (len(ps) - rank) * p >= 0.05:
            break
        rejected.add(p)
    assert {p for index, p in enumerate(ps) if holm(dict(enumerate(ps)))[index] < 0.05} == rejected
