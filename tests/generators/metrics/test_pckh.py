"""PCKh clause by clause, by hand, and against one image and one joint at a time."""

import math

import numpy as np
import pytest

from generators.metrics.pckh import pckh
from tests.reference.set_metrics import pckh as slow

NOSE, NECK, SHOULDER, WRIST, LEFT_EAR = 0, 1, 2, 4, 17


def people(points, count=1):
    """Key points of `count` people who have only those joints."""
    found = np.full((count, 18, 2), np.nan)
    for joint, point in points.items():
        found[:, joint] = point
    return found


# The head is 12 pixels high and 4 wide: right is nearer than 6 rows and nearer than 2 columns.
TARGET = {NOSE: (10, 30), NECK: (22, 34), WRIST: (60, 20)}


def counts(found, target=None):
    result = pckh(people(found), people(TARGET if target is None else target))
    return int(result.right[0]), int(result.counted[0])


def test_the_target_itself_is_all_right():
    assert counts(TARGET) == (3, 3)


@pytest.mark.parametrize(
    ("offset", "right"),
    [((5, 0), 3), ((6, 0), 2), ((-5, 1), 3), ((0, 1), 3), ((0, 2), 2), ((0, -2), 2), ((6, 2), 2), ((5.99, -1.99), 3)],
)
def test_per_axis_and_strictly(offset, right):
    """A wrist of the target at (60, 20); both axes must hold, and exactly half the head is too far."""
    assert counts(TARGET | {WRIST: (60 + offset[0], 20 + offset[1])}) == (right, 3)


def test_the_neck_belongs_to_the_head():
    """Without the neck the head would be a single point, the nose, and the image left out."""
    assert counts({NOSE: (10, 30), NECK: (22, 34)}, {NOSE: (10, 30), NECK: (22, 34)}) == (2, 2)


def test_the_shoulders_do_not_belong_to_the_head():
    alone = {NOSE: (10, 30), SHOULDER: (25, 25), WRIST: (60, 20)}
    assert counts(alone, alone) == (0, 0)


def test_the_head_is_the_targets():
    """A prediction with a large head forgives nothing."""
    assert counts(TARGET | {LEFT_EAR: (90, 60), WRIST: (66, 20)}) == (2, 3)
    assert counts(TARGET | {WRIST: (66, 20)}, TARGET | {LEFT_EAR: (9, 30)}) == (3, 4)  # the head is a row higher


def test_a_missing_prediction_is_wrong_and_a_joint_nobody_asked_for_does_not_count():
    assert counts({NOSE: (10, 30), NECK: (22, 34)}) == (2, 3)
    assert counts(TARGET | {SHOULDER: (25, 25)}) == (3, 3)
    assert counts({}) == (0, 3)


def test_fewer_than_two_points_of_the_head_leave_the_image_out():
    for head in ({}, {NOSE: (10, 30)}, {NECK: (22, 34)}):
        assert counts(head | {WRIST: (60, 20)}, head | {WRIST: (60, 20)}) == (0, 0)


@pytest.mark.parametrize("neck", [(22, 30), (10, 34), (10, 30)], ids=["no width", "no height", "neither"])
def test_a_head_without_size_counts_as_all_wrong(neck):
    flat = TARGET | {NECK: neck}
    assert counts(flat, flat) == (0, 3)


def test_a_joint_with_one_coordinate_is_missing():
    assert counts(TARGET, TARGET | {SHOULDER: (25, math.nan)}) == (3, 3)
    assert counts(TARGET | {WRIST: (60, math.nan)}) == (2, 3)


def test_a_share_of_joints_and_not_a_mean_of_images():
    target = np.concatenate([people(TARGET), people(TARGET | {SHOULDER: (25, 25)}), people({NOSE: (1, 1)})])
    found = np.concatenate([people({}), target[1:]])
    result = pckh(found, target)
    assert result.right.tolist() == [0, 4, 0]
    assert result.counted.tolist() == [3, 4, 0]
    assert result.value == 4 / 7
    assert math.isnan(pckh(found[2:], target[2:]).value)


def test_the_slow_twin():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 12, (300, 18, 2)).astype(np.float64)
    found = target + rng.integers(-6, 7, target.shape)
    for points in (target, found):
        points[rng.random((300, 18)) < 0.4] = np.nan
    result = pckh(found, target)
    plain = [[[None if np.isnan(p[0]) else tuple(p) for p in person] for person in side] for side in (found, target)]
    expected = [slow(*pair) or (0, 0) for pair in zip(*plain, strict=True)]
    assert list(zip(result.right.tolist(), result.counted.tolist(), strict=True)) == expected
    assert 0 in result.counted
    assert 0.05 < result.value < 0.95
