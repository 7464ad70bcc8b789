"""Pose clusters: what they see of a pose, and that each pose is in the cluster of the nearest centre."""

import numpy as np
import pytest

from augment.data.keypoints import TORSO
from augment.policies import cluster_poses, pose_features
from tests.posing import pose, posed


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


def test_the_cluster_of_any_pose_is_that_of_the_nearest_centre():
    points = np.random.default_rng(2).uniform(0, 60, (60, 18, 2)).astype(np.float32)
    points[5:20, 4] = np.nan
    found = cluster_poses(points, seed=4)
    np.testing.assert_array_equal(found.of(points), found.labels)
    np.testing.assert_array_equal(found.of(points[7:9] / 3 + 11), found.labels[7:9])
    assert found.of(points[:1]) == found.labels[:1], "a joint that is missing does not depend on the other poses"
