"""Target poses from a file: whose they may be, and where."""

from pathlib import Path

import numpy as np
import pytest

from augment.data.keypoints import write_annotation
from augment.data.records import DISTRACTOR, DataSet, Record
from augment.files import sha256
from augment.posefile import read_poses, require_policy_or_file
from tests.posing import pose

SIZE = (128, 64)
STANDING = np.rint(pose(0, 0.2, (60, 30)))
WALKING = np.rint(pose(1, 0.2, (60, 30)))


def record(name, pid):
    return Record(Path(name), pid, 1)


@pytest.fixture
def dataset():
    train = (record("train.jpg", 2), record("bare.jpg", 2))
    return DataSet(Path("root"), train, (record("query.jpg", 1),), (record("distractor.jpg", DISTRACTOR),))


POINTS = {"train.jpg": STANDING, "query.jpg": STANDING}


@pytest.fixture
def read(dataset, tmp_path):
    def read_them(poses, **options):
        return read_poses(write_annotation(tmp_path / "poses.csv", poses), dataset, POINTS, SIZE, **options)

    return read_them


def test_usable_poses_by_name(read, tmp_path):
    lacking = STANDING.copy()
    lacking[8] = np.nan
    found = read({"z.jpg": WALKING, "train.jpg": STANDING, "lacking.jpg": lacking, "bare.jpg": WALKING})
    assert list(found.points) == ["bare.jpg", "train.jpg", "z.jpg"]
    np.testing.assert_array_equal(found.points["z.jpg"], WALKING)
    assert found.sha256 == sha256(tmp_path / "poses.csv")
    with pytest.raises(ValueError, match=r"poses\.csv: none of 1 poses has both shoulders and both hips"):
        read({"lacking.jpg": lacking})
    with pytest.raises(ValueError, match=r"poses\.csv: none of 0 poses"):
        read({})


@pytest.mark.parametrize("name", ["query.jpg", "distractor.jpg"])
def test_poses_of_test_images_are_refused_unless_it_is_said(read, name):
    poses = {"a.jpg": WALKING, name: STANDING}
    with pytest.raises(ValueError, match=rf"1 poses are of query or gallery .*{name}.*--allow-test-identities"):
        read(poses)
    assert name in read(poses, test_identities=True).points


def test_other_key_points_of_an_image_of_the_data_are_refused(read):
    near, far = STANDING + 0.4, STANDING.copy()
    far[3] += 1
    assert "train.jpg" in read({"train.jpg": near}).points, "the format holds whole pixels"
    with pytest.raises(ValueError, match=r"train\.jpg is an image of the data set with other .*\(1 of 2 poses are\)"):
        read({"train.jpg": far, "a.jpg": far})
    far[3] = np.nan
    with pytest.raises(ValueError, match=r"train\.jpg is an image of the data set with other"):
        read({"train.jpg": far})
    with pytest.raises(ValueError, match=r"query\.jpg is an image of the data set with other"):
        read({"query.jpg": far}, test_identities=True)


def test_a_pose_may_reach_out_of_the_image_but_not_lie_outside(read):
    partly = np.rint(pose(0, 1.0, (120, 8)))
    assert (partly < 0).any()
    assert (partly > 127).any()
    assert "a.jpg" in read({"a.jpg": partly}).points
    for shift in ((0, 200), (300, 0), (-300, 0), (0, -200)):
        with pytest.raises(ValueError, match=r"a\.jpg lies outside of the 128x64 images .*row and column.*; scale"):
            read({"a.jpg": STANDING + shift})


def test_a_word_that_is_no_policy_and_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert require_policy_or_file("diverse") == "diverse"
    (tmp_path / "sub").mkdir()
    for word in ("upside-down", "sub", "file"):
        with pytest.raises(ValueError, match=rf"--poses {word}: neither a policy \(random, .*canonical\) nor a file"):
            require_policy_or_file(word)
    (tmp_path / "file").touch()
    assert require_policy_or_file("file") == "file"
