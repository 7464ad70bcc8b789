"""Plans: pure functions of what they are given, with poses that the policy admits and as many as asked for."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from augment.data.feed import Posed
from augment.data.keypoints import TORSO
from augment.data.records import Record
from augment.planning import POLICIES, Budget, coverage, draw_plan, table
from augment.policies import cluster_poses, pose_features

PIDS = [2, 2, 2, 2, 4, 4, 4, 8, 8, 8]
CAMERAS = [1, 1, 2, 2, 1, 1, 2, 1, 1, 2]
PER_IMAGE = Budget(per_image=1)
SHAPES = np.random.default_rng(7).normal(0, 40, (8, 14, 2))  # eight poses: all joints but those of the torso


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
    with pytest.raises(ValueError, match=r"--ratio 0\.01: makes no image of 10 sources"):
        draw_plan(split, "random", Budget(ratio=0.01), seed=0)
    with pytest.raises(ValueError, match=r"000000_00\.jpg has 9 admitted target poses, 10 asked for"):
        draw_plan(split, "random", Budget(per_image=10), seed=0)
    with pytest.raises(ValueError, match=r"0004_c1s1_000004_00\.jpg has 2 admitted"):
        draw_plan(split, "same-identity", Budget(per_image=3), seed=0)
    with pytest.raises(ValueError, match="--poses upside-down: expected one of random"):
        draw_plan(split, "upside-down", PER_IMAGE, seed=0)


def pose(shape, scale=1.0, shift=(0.0, 0.0)):
    """One of eight poses, somewhere and of some size."""
    joints = np.empty((18, 2))
    joints[list(TORSO)] = [[-20, -10], [-20, 10], [20, -8], [20, 8]]
    joints[[j for j in range(18) if j not in TORSO]] = SHAPES[shape]
    return (joints * scale + shift).astype(np.float32)


def posed(pids, shapes, seed=0):
    """Images of persons in poses, each placed and scaled anyhow."""
    rng = np.random.default_rng(seed)
    records = tuple(Record(Path(f"{pid:04d}_{i:06d}.jpg"), pid, 1) for i, pid in enumerate(pids))
    points = [pose(shape, rng.uniform(0.8, 1.2), rng.uniform(0, 9, 2)) for shape in shapes]
    return Posed(records, np.zeros((len(records), 8, 4, 3), np.uint8), np.stack(points))


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


def test_pose_features_see_neither_place_nor_size():
    first, other = pose_features(np.stack([pose(3), pose(3, 0.5, (9, -4))])).reshape(2, 18, 2)
    np.testing.assert_allclose(first, other, atol=1e-5)
    np.testing.assert_allclose(first[list(TORSO)].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(first[list(TORSO)], np.array([[-20, -10], [-20, 10], [20, -8], [20, 8]]) / 40, atol=1e-6)


def test_a_missing_joint_lies_where_it_lies_on_average():
    points = np.stack([pose(shape) for shape in range(4)])
    whole = pose_features(points).reshape(4, 18, 2)
    points[1, 4] = np.nan
    points[:, 17] = np.nan
    partly = pose_features(points).reshape(4, 18, 2)
    np.testing.assert_allclose(partly[1, 4], whole[[0, 2, 3], 4].mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(partly[:, 17], 0)
    kept = [j for j in range(18) if j not in (4, 17)]
    np.testing.assert_array_equal(partly[:, kept], whole[:, kept])


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_the_poses_there_are(seed):
    shapes = np.repeat(np.arange(4), [20, 5, 9, 2])
    split = posed([1] * len(shapes), shapes)
    found = cluster_poses(split.points, seed, clusters=4)
    assert set(found.labels.tolist()) == set(range(4))
    assert len(set(zip(shapes.tolist(), found.labels.tolist(), strict=True))) == 4
    np.testing.assert_array_equal(found.labels[found.closest], np.arange(4))


def test_there_are_no_more_clusters_than_poses():
    points = np.stack([pose(shape) for shape in (0, 0, 0, 1, 1)])
    found = cluster_poses(points, seed=0)
    assert len(found.closest) == 2
    assert len(set(found.labels[:3].tolist())) == len(set(found.labels[3:].tolist())) == 1


def test_every_pose_is_in_the_cluster_of_the_nearest_mean_and_the_closest_is_closest_to_it():
    points = np.random.default_rng(2).uniform(0, 60, (60, 18, 2)).astype(np.float32)
    features, found = pose_features(points), cluster_poses(points, seed=4)
    means = np.stack([features[found.labels == cluster].mean(axis=0) for cluster in range(len(found.closest))])
    distances = np.linalg.norm(features[:, None] - means, axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), found.labels)
    for cluster, closest in enumerate(found.closest):
        rows = np.flatnonzero(found.labels == cluster)
        distances = np.linalg.norm(features[rows] - features[rows].mean(axis=0), axis=1)
        assert closest == rows[distances.argmin()]


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


def test_the_table(split):
    plan = draw_plan(split, "self", Budget(per_identity=12), seed=0)
    rows = dict(line.split("  ", maxsplit=1) for line in map(str.strip, table(plan, (128, 64)).splitlines()))
    cameras = Counter(plan.camid.tolist())
    assert rows == {
        "images": "36",
        "identities": "3",
        "of camera 1": f"{cameras[1]}",
        "of camera 2": f"{cameras[2]}",
        "images per identity": "12 / 12 / 12 (min / median / max)",
        "target poses used": "10 of 10",
        "size": f"{36 * 128 * 64 * 3 / 1e6:.1f} MB at 128 x 64",
    }


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
