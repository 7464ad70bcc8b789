"""Differences between arms: known effects come out, and the interval covers what it says."""

import numpy as np
import pytest

from augment import comparison
from augment.comparison import compare


def results(ap, pids, camids=None):
    """As much of results.json as a comparison reads."""
    pids = [int(pid) for pid in pids]
    return {"per_query": {"pid": pids, "camid": camids or [0] * len(pids), "ap": list(ap), "rank1": list(ap)}}


PIDS = np.repeat(np.arange(20), 4)
BASE = np.random.default_rng(0).uniform(0, 1, len(PIDS))


def test_identical_arms_differ_by_exactly_nothing():
    found = compare([results(BASE, PIDS)] * 2, [results(BASE, PIDS)] * 2)
    assert (found.mean, found.low, found.high, found.per_seed, found.sd) == (0, 0, 0, (0, 0), 0)


def test_a_constant_gain_is_found_exactly_and_has_no_uncertainty():
    found = compare([results(BASE, PIDS)] * 3, [results(BASE + 0.25, PIDS)] * 3)
    assert [found.mean, found.low, found.high, *found.per_seed] == pytest.approx([0.25] * 6, abs=1e-12)


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
    assert found.low == pytest.approx(0.1)  # seeds are resampled as well: both draws may be the first
    assert found.high == pytest.approx(0.3)


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


def test_the_interval_covers_the_truth_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(comparison, "RESAMPLES", 400)
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(60):
        gain = 0.1 + np.repeat(rng.normal(0, 0.1, 30), 2)
        found = compare(*([results(values, np.repeat(np.arange(30), 2))] for values in (gain * 0, gain)))
        covered += found.low <= 0.1 <= found.high
    assert covered >= 60 * 0.85


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
