"""The drawing of poses: shares that are counted, and sets of which nothing is known."""

import re

import numpy as np
import pytest

from augment import report_poses, store
from augment.data.read import read_data
from augment.plan import UNKNOWN, Plan
from tests import studying


@pytest.fixture(scope="module")
def place(tmp_path_factory, pedestrians):
    path = tmp_path_factory.mktemp("sets") / "unit" / "set.h5"
    studying.write_set(path, pedestrians, scored=False)
    return path


def shares(plot):
    """By label, in percent."""
    found = re.findall(r"([\w ]+): ([\d, ]+) %", plot.alt)
    return {label.strip(): [float(share) for share in values.split(", ")] for label, values in found}


def test_a_set_in_the_poses_of_the_real_images_has_their_shares(place, pedestrians):
    found = shares(report_poses.plot(read_data(pedestrians), [("set of mixed", store.Reader(place))]))
    assert found["real images"] == found["set of mixed"]
    assert found["real images"] == sorted(found["real images"], reverse=True)
    assert sum(found["real images"]) == pytest.approx(100, abs=len(found["real images"]) / 2)


def test_one_pose_is_one_cluster(place, pedestrians):
    reader = store.Reader(place)
    reader.__dict__["_base"].poses = lambda rows: np.repeat(store.Reader(place).poses(np.array([0])), len(rows), axis=0)
    found = shares(report_poses.plot(read_data(pedestrians), [("one", reader)]))
    assert sorted(found["one"])[-2:] == [0, 100]


def test_a_set_without_known_poses_is_named(tmp_path, pedestrians):
    plan = Plan(
        ("a.jpg",), np.zeros((1, 18, 2), np.float32), np.array([1]), np.array([1]), np.array([0]),
        np.array([UNKNOWN]), np.array([0], np.uint64),
    )  # fmt: skip
    provenance = {"tool": "test", "config": {}, "generator": {}, "versions": {}}
    path = store.write_set(tmp_path / "set.h5", plan, provenance, [np.zeros((1, 8, 4, 3), np.uint8)])
    plot = report_poses.plot(read_data(pedestrians), [("set of renders", store.Reader(path))])
    assert list(shares(plot)) == ["real images"]
    assert plot.caption.endswith("No pose is known of the set of renders.")
