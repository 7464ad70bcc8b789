"""Key points: PATN's files, their mistakes, and the flip."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from augment.data import keypoints
from augment.data.records import DataSet, Record

ROWS, COLUMNS = list(range(10, 28)), list(range(30, 48))
GOOD = f"0002_c1.jpg: {ROWS}: {COLUMNS}"


def read(tmp_path, *lines, header=keypoints.HEADER):
    path = tmp_path / "annotation.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return keypoints.read_annotation(path)


def people(count=1, missing=()):
    points = np.random.default_rng(0).uniform(0, 60, (count, 18, 2)).astype(np.float32)
    points[:, list(missing)] = np.nan
    return points


# Reading and writing


def test_rows_come_before_columns(tmp_path):
    (points,) = read(tmp_path, GOOD).values()
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, np.stack([ROWS, COLUMNS], axis=1))


def test_a_joint_that_is_missing_in_either_list_is_missing(tmp_path):
    (points,) = read(tmp_path, f"a.jpg:{[-1, *ROWS[1:]]}:{[30, -1, *COLUMNS[2:]]}").values()
    assert np.isnan(points[:2]).all()
    np.testing.assert_array_equal(points[2:], np.stack([ROWS, COLUMNS], axis=1)[2:])


def test_spaces_blank_lines_and_fractions(tmp_path):
    lines = ["", f"a.jpg : {[0.5] * 18} :{[1.25] * 18}  ", ""]
    found = read(tmp_path, *lines, header="name: keypoints_y: keypoints_x")
    assert found["a.jpg"][0].tolist() == [0.5, 1.25]


@given(arrays(np.int64, (18, 2), elements=st.integers(0, 400)), st.sets(st.integers(0, 17)))
def test_round_trip(tmp_path_factory, whole, missing):
    points = whole.astype(np.float32)
    points[list(missing)] = np.nan
    path = keypoints.write_annotation(tmp_path_factory.mktemp("points") / "annotation.csv", {"a.jpg": points})
    np.testing.assert_array_equal(keypoints.read_annotation(path)["a.jpg"], points)


def test_written_lines_are_json_whatever_numpy_prints():
    _, rows, columns = keypoints.annotation_line("a.jpg", people(missing=[3])[0]).split(": ")
    assert "np." not in rows
    assert json.loads(rows)[3] == json.loads(columns)[3] == -1
    assert len(json.loads(rows)) == 18


def test_the_procedural_annotation_reads(pedestrians):
    for split in ("train", "test"):
        points = keypoints.read_annotation(pedestrians / f"market-annotation-{split}.csv")
        assert len(points) > 20
        assert all(keypoint.shape == (18, 2) for keypoint in points.values())


# Mistakes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"a.jpg: {ROWS[:-1]}: {COLUMNS}", "keypoints_y has 17 values, expected 18"),
        (f"a.jpg: {ROWS}: {[*COLUMNS, 1]}", "keypoints_x has 19 values, expected 18"),
        (f"a.jpg: {ROWS}", "expected two JSON lists"),
        (f"a.jpg: {ROWS}: {COLUMNS}: []", "expected two JSON lists"),
        ("a.jpg", "expected two JSON lists"),
        (f"a.jpg: [np.int64(1)]: {COLUMNS}", r"expected two JSON lists .*np\.int64\(1\)"),
        (f"a.jpg: {ROWS}: {['x'] * 18}".replace("'", '"'), "expected two JSON lists"),
        (f"a.jpg: {ROWS}: 3", "keypoints_x has 1 values"),
        (f"a.jpg: {[[1, 2]] * 18}: {COLUMNS}", "keypoints_y has 36 values"),
        (f"a.jpg: {ROWS}: {[10**400] * 18}", "expected two JSON lists"),
        (GOOD, r"0002_c1\.jpg is annotated twice"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path, line, message):
    with pytest.raises(ValueError, match=rf"annotation\.csv, line 3: .*{message}"):
        read(tmp_path, GOOD, line)


@pytest.mark.parametrize("header", ["name,keypoints_y,keypoints_x", "name:keypoints_x:keypoints_y", GOOD])
def test_another_header(tmp_path, header):
    with pytest.raises(ValueError, match="a PATN annotation starts with 'name:keypoints_y:keypoints_x'"):
        read(tmp_path, GOOD, header=header)


def test_an_empty_or_binary_file(tmp_path):
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match="first line is ''"):
        keypoints.read_annotation(tmp_path / "empty.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match="not a UTF-8 text file"):
        keypoints.read_annotation(tmp_path / "binary.csv")


# Joints


def test_the_flip_is_its_own_inverse():
    points = people(5, missing=[3, 17])
    np.testing.assert_allclose(keypoints.flip(keypoints.flip(points, 64), 64), points, atol=1e-5)
    assert sorted(keypoints.MIRROR) == list(range(18))


def test_the_flip_swaps_left_and_right():
    points = people(missing=[3])[0]  # right elbow
    mirrored = keypoints.flip(points, 64)
    for joint, name in enumerate(keypoints.JOINTS):
        other = name.replace("left", "x").replace("right", "left").replace("x", "right")
        expected = points[keypoints.JOINTS.index(other)]
        np.testing.assert_allclose(mirrored[joint], [expected[0], 63 - expected[1]], atol=1e-5)
    assert np.isnan(mirrored[keypoints.JOINTS.index("left elbow")]).all()
    assert not np.isnan(mirrored[keypoints.JOINTS.index("right elbow")]).any()


def test_limbs_join_joints_of_one_side():
    for ends in keypoints.LIMBS:
        first, second = (keypoints.JOINTS[joint] for joint in ends)
        assert not {"left", "right"} <= {first.split()[0], second.split()[0]}
    assert set(np.ravel(keypoints.LIMBS)) == set(range(18))


@pytest.mark.parametrize("joint", range(18))
def test_a_usable_image_has_shoulders_and_hips(joint):
    assert bool(keypoints.has_torso(people(missing=[joint])[0])) == (
        keypoints.JOINTS[joint].split()[-1] not in ("shoulder", "hip")
    )


# Of a data set


def records(*names):
    return tuple(Record(Path("train") / name, 2, 1) for name in names)


def test_usable_images_and_their_points_in_order():
    points = {"c.jpg": people()[0], "a.jpg": people()[0] + 1, "b.jpg": people(missing=[2])[0]}
    kept = keypoints.usable(records("a.jpg", "b.jpg", "c.jpg", "d.jpg"), points)
    assert [record.name for record in kept] == ["a.jpg", "c.jpg"]
    np.testing.assert_array_equal(keypoints.stack(kept, points), np.stack([points["a.jpg"], points["c.jpg"]]))
    with pytest.raises(ValueError, match=r"none of 1 images .* \(first image: x\.jpg\)"):
        keypoints.usable(records("x.jpg"), points)


def test_two_images_of_one_name_cannot_be_told_apart():
    twice = (Record(Path("one/a.jpg"), 2, 1), Record(Path("two/a.jpg"), 4, 1))
    with pytest.raises(ValueError, match=r"2 images are named a\.jpg; key points are given by name"):
        keypoints.usable(twice, {"a.jpg": people()[0]})


def test_where_the_points_of_a_data_set_come_from(tmp_path):
    (tmp_path / "own.csv").write_text(f"{keypoints.HEADER}\n{GOOD}\n")
    (tmp_path / "given.csv").write_text(f"{keypoints.HEADER}\n")
    dataset = DataSet(tmp_path, records("0002_c1.jpg"), (), (), (tmp_path / "own.csv",))
    assert list(keypoints.dataset_points(dataset)) == ["0002_c1.jpg"]
    assert keypoints.dataset_points(dataset, tmp_path / "given.csv") == {}
    with pytest.raises(ValueError, match="no such file"):
        keypoints.dataset_points(dataset, tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match=r"no key points: .*--poses FILE"):
        keypoints.dataset_points(DataSet(tmp_path, records("a.jpg"), (), ()))


def test_the_digest_is_that_of_the_points_of_the_records():
    points = {"a.jpg": people()[0], "b.jpg": people()[0]}
    digest = keypoints.digest(records("a.jpg"), points)
    assert digest == keypoints.digest(records("a.jpg"), points | {"b.jpg": people()[0] + 5})
    assert digest != keypoints.digest(records("a.jpg"), points | {"a.jpg": people()[0] + 5})
