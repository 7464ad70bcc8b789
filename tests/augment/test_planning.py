"""Plans: pure functions of what they are given, with poses that the policy admits and as many as asked for."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from augment.data.feed import Posed
from augment.data.records import Record
from augment.planning import Budget, draw_plan, fill
from augment.policies import POLICIES, cluster_poses
from augment.posefile import PoseFile
from tests.posing import pose, posed

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


@pytest.mark.parametrize(
    ("policy", "twice", "half"),
    [
        ("random", "afe1af8eb340a164", "0c1fa0a06937bca1"),
        ("same-camera", "0a312aefefc62d7b", "8c42ea7c80d38df3"),
        ("other-identity", "51d237aa6a11c111", "56e3a1dc74600f7c"),
        ("same-identity", "91932599273d0e2e", "88bca7da17fc3437"),
        ("self", "28ba9e9642484d78", "b97ea386f132795e"),
    ],
)
def test_plans_are_those_of_earlier_versions(split, policy, twice, half):
    """A set that was begun with an earlier version goes on: these digests must never change."""
    points = (np.arange(10 * 18 * 2) * 7 % 60).reshape(10, 18, 2).astype(np.float32)
    same = Posed(split.records, split.pixels, points)
    for budget, digest in ((Budget(per_image=2), twice), (Budget(ratio=0.5), half)):
        assert draw_plan(same, policy, budget, seed=3).sha256[:16] == digest


def test_rows_are_consistent(split):
    plan = draw_plan(split, "random", Budget(per_image=3), seed=0)
    assert plan.files == tuple(record.name for record in split.records)
    np.testing.assert_array_equal(plan.pid, np.asarray(PIDS)[plan.source_index])
    np.testing.assert_array_equal(plan.camid, np.asarray(CAMERAS)[plan.source_index])
    np.testing.assert_array_equal(plan.poses, split.points)
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
    two = ({"per_image": 1, "ratio": 1.0}, {"per_identity": 1, "balance": True}, {"ratio": 1.0, "balance": True})
    for given in ({}, *two):
        with pytest.raises(ValueError, match="exactly one of --per-image, --ratio, --per-identity and --balance"):
            Budget(**given)
    with pytest.raises(ValueError, match="--per-identity 0: makes no image; ask for 1 or more"):
        Budget(per_identity=0)
    for policy, budget, named in [
        ("diverse", Budget(per_image=10), r"000000_00\.jpg has 9 admitted target poses, 10 asked for; ask for fewer"),
        ("canonical", Budget(per_image=9), r"000000_00\.jpg has 8 admitted target poses, 9 asked for; ask for fewer"),
    ]:
        with pytest.raises(ValueError, match=named):
            draw_plan(split, policy, budget, seed=0)
    three = Posed(split.records[4:], split.pixels[4:], split.points[4:])  # two identities with three images each
    with pytest.raises(ValueError, match=r"--balance: each of 2 identities has 3 images, .*; use --per-identity"):
        draw_plan(three, "random", Budget(balance=True), seed=0)
    with pytest.raises(ValueError, match=r"--ratio 0\.01: makes no image of 10 real ones"):
        draw_plan(split, "random", Budget(ratio=0.01), seed=0)
    with pytest.raises(ValueError, match=r"000000_00\.jpg has 9 admitted target poses, 10 asked for"):
        draw_plan(split, "random", Budget(per_image=10), seed=0)
    with pytest.raises(ValueError, match=r"0004_c1s1_000004_00\.jpg has 2 admitted"):
        draw_plan(split, "same-identity", Budget(per_image=3), seed=0)
    with pytest.raises(ValueError, match="--poses upside-down: expected one of random"):
        draw_plan(split, "upside-down", PER_IMAGE, seed=0)


@pytest.mark.parametrize("ratio", [float("inf"), float("nan"), -float("inf"), 0.0, -1.0])
def test_a_ratio_is_a_finite_number_above_0(ratio):
    with pytest.raises(ValueError, match=rf"--ratio {ratio}: expected a finite number above 0"):
        Budget(ratio=ratio)


@pytest.mark.parametrize("budget", [Budget(per_image=10**9), Budget(ratio=1e308), Budget(per_identity=10**20)])
def test_a_set_has_no_more_rows_than_have_numbers(split, budget):
    with pytest.raises(ValueError, match=rf"{re.escape(budget.option)}: makes more than 2,147,483,647 images"):
        draw_plan(split, "self", budget, seed=0)


def test_totals_are_those_of_the_plan(split):
    sources = np.ones(10, dtype=bool)
    pid, camid = np.asarray(PIDS), np.asarray(CAMERAS)
    for budget in (Budget(per_image=3), Budget(ratio=1.25), Budget(per_identity=4), Budget(balance=True)):
        drawn = budget.counts(pid, camid, sources, np.random.default_rng(0))
        assert budget.total(pid, sources) == drawn.sum()


def test_a_plan_needs_room(split):
    needed = 10 * 2 * 8 * 4 * 3
    assert len(draw_plan(split, "self", Budget(per_image=2), seed=0, room=needed)) == 20
    with pytest.raises(ValueError, match=r"--per-image 2: 20 images take 0\.0 MB, and the disk has 0\.0 MB"):
        draw_plan(split, "self", Budget(per_image=2), seed=0, room=needed - 1)


@pytest.mark.parametrize("count", [1, 3, 4, 10, 13])
def test_each_identity_gets_its_number_spread_evenly_over_its_sources(split, count):
    plan = draw_plan(split, "random", Budget(per_identity=count), seed=0)
    assert Counter(plan.pid.tolist()) == {2: count, 4: count, 8: count}
    counts = Counter(plan.source_index.tolist())
    for pid in (2, 4, 8):
        of_sources = [counts[i] for i in range(10) if PIDS[i] == pid]
        assert max(of_sources) - min(of_sources) == (count % len(of_sources) > 0)


def test_the_remainder_of_an_identity_falls_on_any_of_its_sources(split):
    drawn = {s for seed in range(40) for s in draw_plan(split, "self", Budget(per_identity=1), seed).source_index}
    assert drawn == set(range(10))


def test_balance_fills_identities_up_to_the_largest_ones_real_images():
    pids = [1] * 7 + [2] * 3 + [3] * 1 + [4] * 7
    plan = draw_plan(posed(pids, [0] * len(pids)), "random", Budget(balance=True), seed=0)
    assert Counter(plan.pid.tolist()) == {2: 7 - 3, 3: 7 - 1}
    assert Counter(pids) + Counter(plan.pid.tolist()) == dict.fromkeys((1, 2, 3, 4), 7)
    assert sorted(Counter(plan.source_index[plan.pid == 2].tolist()).values()) == [1, 1, 2]


def test_canonical_shows_every_source_in_the_same_eight_poses():
    points = np.random.default_rng(2).uniform(0, 60, (30, 18, 2)).astype(np.float32)
    records = tuple(Record(Path(f"{i}.jpg"), i // 3, 1) for i in range(30))
    split = Posed(records, np.zeros((30, 8, 4, 3), np.uint8), points)
    plan = draw_plan(split, "canonical", Budget(per_image=8), seed=4)
    expected = np.sort(cluster_poses(points, seed=4).closest)
    assert len(set(expected.tolist())) == 8
    np.testing.assert_array_equal(plan.target_index.reshape(30, 8), np.tile(expected, (30, 1)))
    fewer = draw_plan(split, "canonical", Budget(per_image=1), seed=4)
    assert set(fewer.target_index.tolist()) == set(expected.tolist())


def test_diverse_prefers_poses_that_the_identity_lacks():
    """Person 1 has 24 images in pose 0 and none in poses 1 to 7, which others have; pose 0 is the commonest of all."""
    pids, shapes = np.repeat([1, 2], [24, 49]), np.concatenate([np.zeros(24 + 7, int), np.repeat(np.arange(1, 8), 6)])
    split = posed(pids.tolist(), shapes)
    poses = {"diverse": np.zeros(8), "random": np.zeros(8)}
    for policy, found in poses.items():
        for seed in range(20):
            plan = draw_plan(split, policy, Budget(per_identity=24), seed)
            found += np.bincount(shapes[plan.target_index[plan.pid == 1]], minlength=8) / 20
    assert poses["diverse"][0] < 1.5, "equal shares would be 24 / 8"
    assert poses["diverse"][1:].min() > 2
    assert abs(poses["random"][0] - 24 * 30 / 72) < 1.5


def test_diverse_counts_what_was_drawn_before():
    """A person of one image, with as many draws as poses, has most of them; independent draws would repeat more."""
    shapes = np.tile(np.arange(8), 20)
    split = posed([1, *[2] * 159], shapes)
    distinct = []
    for seed in range(20):
        plan = draw_plan(split, "diverse", Budget(per_identity=7), seed)
        distinct.append(len(set(shapes[plan.target_index[plan.pid == 1]].tolist())))
    assert np.mean(distinct) > 8 * (1 - (7 / 8) ** 7) + 0.25


def test_diverse_draws_each_pose_of_a_source_once_and_never_its_own(split):
    plan = draw_plan(split, "diverse", Budget(per_image=9), seed=0)
    targets = plan.target_index.reshape(10, 9)
    for source in range(10):
        np.testing.assert_array_equal(targets[source], [t for t in range(10) if t != source])


def filled_slowly(levels, total):
    """Pour one drop after another, each into the first of the lowest."""
    now = list(levels)
    for _ in range(total):
        now[now.index(min(now))] += 1
    return now


@pytest.mark.parametrize("levels", [[4], [0, 0, 0], [1, 5], [9, 2, 2, 7], [3, 1, 4, 1, 5, 9, 2, 6]])
def test_filling_goes_to_the_lowest_always(levels):
    before = np.asarray(levels)
    for total in range(40):
        received = fill(before, total, np.random.default_rng(total))
        assert received.sum() == total
        assert received.min() >= 0
        assert sorted(before + received) == sorted(filled_slowly(levels, total))
        filled = (before + received)[received > 0]
        assert total == 0 or (before + received).min() >= filled.max() - 1, "above another that got less"


def test_what_does_not_divide_flows_anywhere():
    drawn = [fill(np.asarray([1, 1, 1, 5]), 1, np.random.default_rng(seed)) for seed in range(40)]
    np.testing.assert_array_equal(np.unique(drawn, axis=0), [[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]])


UNEVEN = {
    (1, 1): 6,
    (1, 2): 2,
    (2, 1): 1,
    (2, 2): 1,
    (2, 3): 3,
    (3, 2): 2,
    (4, 1): 8,
}  # (identity, camera): real images


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sources", ["random", "sharpest", "most-visible"])
def test_balance_fills_the_cameras_of_an_identity_from_below(sources, seed):
    who = [pair for pair, images in UNEVEN.items() for _ in range(images)]
    split = posed([pid for pid, _ in who], [0] * len(who), [camera for _, camera in who])
    plan = draw_plan(split, "random", Budget(balance=True), seed, sources=sources)
    made = Counter(zip(plan.pid.tolist(), plan.camid.tolist(), strict=True))
    both = {pair: UNEVEN[pair] + made[pair] for pair in UNEVEN}
    assert made.keys() <= UNEVEN.keys(), "a camera without a source stays without images"
    assert Counter(pid for pid, _ in made.elements()) == {2: 8 - 5, 3: 8 - 2}
    assert made[(3, 2)] == 6
    assert (both[(2, 1)], both[(2, 2)], both[(2, 3)]) in {(3, 2, 3), (2, 3, 3)}, "5 real ones and 3 more over 3 cameras"
    counts = Counter(plan.source_index.tolist())
    for pair in made:
        rows = [row for row, each in enumerate(who) if each == pair]
        per_source = sorted(counts[row] for row in rows)
        if sources == "random":
            assert per_source[-1] - per_source[0] <= 1
        else:
            assert per_source[:-1] == [0] * (len(rows) - 1)


def test_budgets_count_the_sources_but_a_ratio_the_real_images():
    split = posed([1] * 6 + [2] * 2, [0] * 8, [1, 1, 1, 2, 2, 2, 1, 1])  # three sources: 1 in cameras 1 and 2, 2 in 1
    images = {
        Budget(per_image=2): 3 * 2,
        Budget(ratio=1.5): 8 * 1.5,
        Budget(per_identity=5): 2 * 5,
        Budget(balance=True): 6 - 2,
    }
    for budget, total in images.items():
        plan = draw_plan(split, "random", budget, seed=1, sources="most-visible")
        assert len(plan) == total
        assert set(plan.source_index.tolist()) == ({6} if budget.balance else {0, 3, 6})
    with pytest.raises(ValueError, match=r"0001_000000\.jpg has 7 admitted target poses, 8 asked for"):
        draw_plan(split, "random", Budget(per_image=8), seed=1, sources="sharpest")
    with pytest.raises(ValueError, match="--sources best: expected one of random, sharpest, most-visible"):
        draw_plan(split, "random", PER_IMAGE, seed=1, sources="best")


def test_poses_of_a_file_are_those_of_training_images_or_of_nobody(split):
    names = [record.name for record in split.records]
    others = {"z.jpg": pose(1), "a.jpg": pose(2)}
    given = PoseFile(Path("poses.csv"), {**others, names[3]: split.points[3]}, "0" * 64)
    plan = draw_plan(split, given, Budget(per_image=3), seed=0)
    assert plan.files == (*names, "a.jpg", "z.jpg")
    np.testing.assert_array_equal(plan.poses, [*split.points, others["a.jpg"], others["z.jpg"]])
    np.testing.assert_array_equal(plan.target_index.reshape(10, 3), [[3, 10, 11]] * 10)
    reversed_file = PoseFile(Path("other.csv"), dict(reversed(given.points.items())), "1" * 64)
    assert draw_plan(split, reversed_file, Budget(per_image=2), seed=5).sha256 == (
        draw_plan(split, given, Budget(per_image=2), seed=5).sha256
    )
    with pytest.raises(ValueError, match=r"--poses poses\.csv: .*000000_00\.jpg has 3 admitted .*, 4 asked for"):
        draw_plan(split, given, Budget(per_image=4), seed=0)


def test_poses_of_training_images_alone_add_no_files(split):
    given = PoseFile(Path("poses.csv"), {split.records[row].name: split.points[row] for row in (2, 7)}, "0" * 64)
    plan = draw_plan(split, given, PER_IMAGE, seed=0)
    assert plan.files == tuple(record.name for record in split.records)
    assert set(plan.target_index.tolist()) == {2, 7}
