"""Plans: pure functions of what they are given, with poses that the policy admits and as many as asked for."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from augment.data.feed import Posed
from augment.data.records import Record
from augment.planning import POLICIES, Budget, coverage, draw_plan

PIDS = [2, 2, 2, 2, 4, 4, 4, 8, 8, 8]
CAMERAS = [1, 1, 2, 2, 1, 1, 2, 1, 1, 2]
PER_IMAGE = Budget(per_image=1)


@pytest.fixture
def split():
    records = tuple(
        Record(Path(f"{pid:04d}_c{camera}s1_{index:06d}_00.jpg"), pid, camera)
        for index, (pid, camera) in enumerate(zip(PIDS, CAMERAS, strict=True))
    )
    points = np.random.default_rng(0).uniform(0, 60, (len(records), 18, 2)).astype(np.float32)
    return Posed(records, np.zeros((len(records), 8, 4, 3), np.uint8), points)


def test_rows_are_consistent(split):
    plan = draw_plan(split, "random", Budget(per_image=3), seed=0)
    assert plan.files == tuple(record.name for record in split.records)
    np.testing.assert_array_equal(plan.pid, np.asarray(PIDS)[plan.source_index])
    np.testing.assert_array_equal(plan.camid, np.asarray(CAMERAS)[plan.source_index])
    np.testing.assert_array_equal(plan.target_pose, split.points[plan.target_index])
    assert (np.diff(plan.source_index) >= 0).all()
    assert len(set(plan.seed.tolist())) == len(plan)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_plan_is_a_pure_function_of_its_seed(split, policy):
    first, same, other = (draw_plan(split, policy, Budget(per_image=2), seed) for seed in (5, 5, 6))
    assert first.sha256 == same.sha256
    assert first.sha256 != other.sha256


@pytest.mark.parametrize(
    ("policy", "admits"),
    [
        ("random", lambda s, t: s != t),
        ("same-camera", lambda s, t: s != t and CAMERAS[s] == CAMERAS[t]),
        ("other-identity", lambda s, t: PIDS[s] != PIDS[t]),
        ("same-identity", lambda s, t: s != t and PIDS[s] == PIDS[t]),
        ("self", lambda s, t: s == t),
    ],
)
def test_policies_admit_what_they_say_and_all_of_it(split, policy, admits):
    drawn = set()
    for seed in range(120):
        plan = draw_plan(split, policy, PER_IMAGE, seed)
        drawn |= set(zip(plan.source_index.tolist(), plan.target_index.tolist(), strict=True))
    everyone = range(len(PIDS))
    assert drawn == {(s, t) for s in everyone for t in everyone if admits(s, t)}


def test_poses_of_a_source_are_drawn_without_replacement(split):
    plan = draw_plan(split, "random", Budget(per_image=9), seed=0)
    pairs = list(zip(plan.source_index.tolist(), plan.target_index.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) == 90


def test_self_repeats_the_one_pose_it_has(split):
    plan = draw_plan(split, "self", Budget(per_image=3), seed=0)
    np.testing.assert_array_equal(plan.source_index, np.repeat(np.arange(10), 3))
    np.testing.assert_array_equal(plan.target_index, plan.source_index)


@pytest.mark.parametrize(("ratio", "total"), [(0.5, 5), (1.0, 10), (1.25, 12), (2.5, 25), (0.1, 1)])
def test_a_ratio_is_spread_evenly_over_the_sources(split, ratio, total):
    plan = draw_plan(split, "random", Budget(ratio=ratio), seed=1)
    counts = Counter(plan.source_index.tolist())
    assert len(plan) == total
    assert {counts[source] for source in range(10)} <= {total // 10, -(-total // 10)}


def test_the_fraction_falls_on_other_sources_with_another_seed(split):
    chosen = {tuple(draw_plan(split, "self", Budget(ratio=0.5), seed).source_index.tolist()) for seed in range(5)}
    assert len(chosen) > 1


def test_impossible_budgets_are_refused(split):
    for given in ({}, {"per_image": 1, "ratio": 1.0}):
        with pytest.raises(ValueError, match="exactly one of --per-image and --ratio"):
            Budget(**given)
    with pytest.raises(ValueError, match=r"--ratio 0\.01: makes no image of 10 sources"):
        draw_plan(split, "random", Budget(ratio=0.01), seed=0)
    with pytest.raises(ValueError, match=r"000000_00\.jpg has 9 admitted target poses, 10 asked for"):
        draw_plan(split, "random", Budget(per_image=10), seed=0)
    with pytest.raises(ValueError, match=r"0004_c1s1_000004_00\.jpg has 2 admitted"):
        draw_plan(split, "same-identity", Budget(per_image=3), seed=0)
    with pytest.raises(ValueError, match="--poses upside-down: expected one of random"):
        draw_plan(split, "upside-down", PER_IMAGE, seed=0)


def test_coverage(split):
    found = coverage(draw_plan(split, "random", Budget(per_image=2), seed=0))
    assert found == {
        "images": 20,
        "identities": 3,
        "cameras": 2,
        "least_per_identity": 2 * 3,
        "mean_per_identity": 20 / 3,
        "most_per_identity": 2 * 4,
    }
