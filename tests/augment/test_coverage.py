"""What a plan adds to the real images: pose clusters before and after, and the table."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from augment.coverage import describe, duration, evenness, pose_counts, table
from augment.data.feed import Posed
from augment.planning import Budget, draw_plan
from augment.policies import cluster_poses
from augment.posefile import PoseFile
from tests.posing import pose, posed


def test_evenness():
    assert evenness(np.asarray([3, 3, 3])) == pytest.approx(1)
    assert evenness(np.asarray([0, 7, 0])) == 0
    assert evenness(np.asarray([4])) == 1
    assert evenness(np.asarray([2, 1, 1])) == pytest.approx((0.5 * math.log(2) + 2 * 0.25 * math.log(4)) / math.log(3))
    assert evenness(np.asarray([1, 1, 0, 0])) == pytest.approx(math.log(2) / math.log(4))
    many = np.random.default_rng(0).integers(0, 9, (5, 8)) + np.eye(5, 8, dtype=int)
    np.testing.assert_allclose(evenness(many), [evenness(each) for each in many])
    np.testing.assert_allclose(evenness(many[:, ::-1] * 3), evenness(many))


def test_images_of_each_identity_in_each_cluster():
    pids, shapes = [3, 3, 3, 7, 7, 9], [0, 1, 1, 2, 0, 0]
    split = posed(pids, shapes)
    clusters = cluster_poses(split.points, seed=0, clusters=3)
    of_shape = {shape: int(label) for shape, label in zip(shapes, clusters.labels, strict=True)}
    plan = draw_plan(split, "random", Budget(per_image=2), seed=0)
    real, planned = pose_counts(plan, split, clusters)
    for row, pid in enumerate((3, 7, 9)):
        assert real[row].tolist() == [
            sum(pids[i] == pid and of_shape[shapes[i]] == cluster for i in range(6)) for cluster in range(3)
        ]
        drawn = Counter(of_shape[shapes[target]] for target in plan.target_index[plan.pid == pid].tolist())
        assert planned[row].tolist() == [drawn[cluster] for cluster in range(3)]


def test_poses_of_nobody_count_in_the_nearest_cluster():
    split = posed([1, 1, 2], [0, 1, 1])
    clusters = cluster_poses(split.points, seed=0, clusters=2)
    given = PoseFile(Path("poses.csv"), {"walker.jpg": pose(1, 0.3, (40, 20))}, "0" * 64)
    _, planned = pose_counts(draw_plan(split, given, Budget(per_image=1), seed=0), split, clusters)
    assert planned[:, clusters.labels[0]].tolist() == [0, 0]
    assert planned[:, clusters.labels[1]].tolist() == [2, 1]


@pytest.mark.parametrize("seed", range(3))
def test_diverse_raises_the_entropy_over_pose_clusters(seed):
    """Walkers seen from the front are most, as in the street; everyone has a few images."""
    rng = np.random.default_rng(seed)
    shapes = rng.choice(8, size=240, p=[0.6, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03])
    split = posed(np.repeat(np.arange(40), 6).tolist(), shapes.tolist(), seed=seed)
    clusters = cluster_poses(split.points, seed)
    found = {}
    for policy in ("self", "random", "diverse"):
        real, planned = pose_counts(draw_plan(split, policy, Budget(per_image=1), seed), split, clusters)
        both = real + planned
        found[policy] = (float(evenness(both.sum(axis=0))), float(evenness(both).mean()))
        before = (float(evenness(real.sum(axis=0))), float(evenness(real).mean()))
    assert found["self"] == pytest.approx(before), "its own poses change no share"
    assert found["diverse"][0] > before[0] + 0.1, "over all images"
    assert found["diverse"][1] > before[1] + 0.2, "within an identity"
    assert found["diverse"][0] > found["random"][0] + 0.1
    assert found["diverse"][1] > found["random"][1] + 0.1


def test_the_table():
    shapes = [0, 0, 1, 1, 1, 1]
    placed = posed([2, 2, 2, 5, 5, 9], shapes, [1, 1, 2, 1, 1, 3])
    split = Posed(placed.records, placed.pixels, np.stack([pose(shape) for shape in shapes]))
    plan = draw_plan(split, "self", Budget(balance=True), seed=0)
    lines = table(describe(plan, split, seed=0, sources="random", poses="self")).splitlines()
    assert len({line.index("  ", 20) for line in lines}) == 1, "in columns"
    rows = dict(line.strip().split("  ", maxsplit=1) for line in lines)
    clusters = {name: rows.pop(name) for name in list(rows) if name.startswith("in pose cluster")}
    assert sorted(clusters.values()) == ["2 real + 0 = 2", "4 real + 3 = 7"]

    def entropy(*counts):
        return -sum(n / sum(counts) * math.log2(n / sum(counts)) for n in counts)

    assert rows == {
        "images": "3",
        "identities": "2 of 3",
        "images per identity": "1 / 1.5 / 2 (min / median / max)",
        "with the real ones": "3 / 3 / 3 (min / median / max)",
        "in camera 1": "4 real + 1 = 5",
        "in camera 2": "1 real + 0 = 1",
        "in camera 3": "1 real + 2 = 3",
        "sources": "2 of 6 real images (random)",
        "target poses": "2 different ones (self)",
        "pose entropy": f"{entropy(2, 4):.3f} real, {entropy(2, 7):.3f} together (share of its maximum)",
        "mean of identities": f"{entropy(2, 1) / 3:.3f} real, {entropy(2, 1) / 3:.3f} together (share of its maximum)",
    }


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.42, "0.4 seconds"), (59.0, "59 seconds"), (150.0, "2 minutes"), (7300.0, "2 hours"), (432e3, "5 days")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words
