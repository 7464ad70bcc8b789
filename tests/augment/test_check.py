"""`augment check`: each kind of error is found in a data set that has only that one."""

import json
import shutil

import pytest
from PIL import Image

from augment.check import check

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
ANNOTATION = "market-annotation-train.csv"


@pytest.fixture
def root(pedestrians, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(pedestrians, tmp_path / "data")


def first(folder):
    return sorted(folder.glob("*.jpg"))[0]


def rewrite(path, change):
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def test_a_good_set_has_no_errors_and_its_counts_are_those_of_its_files(root):
    found = check(root, deep=True)
    assert (found.errors, found.warnings) == ([], [])
    names = {folder: [path.name for path in (root / folder).glob("*.jpg")] for folder in (TRAIN, QUERY, GALLERY)}
    junk = sum(name.startswith("-1") for name in names[GALLERY])
    distractors = sum(name.startswith("0000") for name in names[GALLERY])
    assert junk > 0
    assert found.counts["gallery"]["junk"] == junk
    assert found.counts["gallery"]["distractors"] == distractors
    assert found.counts["gallery"]["images"] == len(names[GALLERY]) - junk
    assert found.counts["train"]["images"] == found.counts["train"]["annotated"] == len(names[TRAIN])
    assert found.counts["train"]["identities"] == 6
    assert found.counts["query"] | {"images": len(names[QUERY]), "identities": 4} == found.counts["query"]
    assert json.loads(json.dumps(found.as_json()))["counts"] == found.counts


def test_thumbs_db_is_no_image(root):
    (root / TRAIN / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    assert check(root, deep=True).errors == []


def test_a_wrong_name(root):
    first(root / TRAIN).rename(root / TRAIN / "holiday.jpg")
    (error,) = check(root).errors
    assert "1 names that tell no identity and camera: holiday.jpg" in error
    assert TRAIN in error


@pytest.mark.parametrize("deep", [False, True])
def test_a_truncated_jpeg(root, deep):
    path = first(root / QUERY)
    path.write_bytes(path.read_bytes()[:-200])
    (error,) = check(root, deep=deep).errors
    assert error.startswith("1 unreadable images: ")
    assert path.name in error


@pytest.mark.parametrize("content", [b"", b"<html>404</html>"])
def test_a_file_that_is_no_image(root, content):
    first(root / TRAIN).write_bytes(content)
    (error,) = check(root).errors
    assert "1 unreadable images" in error


def test_images_of_several_sizes_are_a_warning(root):
    Image.new("RGB", (32, 64)).save(first(root / TRAIN))
    found = check(root)
    assert found.errors == []
    assert found.warnings == ["images of 2 sizes (64x32, 128x64): generators need one size"]


def test_an_image_without_key_points_is_a_warning(root):
    rewrite(root / ANNOTATION, lambda lines: lines[:-1])
    found = check(root)
    assert found.errors == []
    assert found.warnings[0].startswith("train: 1 images without key points: ")


def test_no_annotation_at_all_is_a_warning_for_re_id_needs_none(root):
    for path in root.glob("market-annotation-*.csv"):
        path.unlink()
    found = check(root)
    assert found.errors == []
    assert "no key points" in found.warnings[0]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("[", "[5, ", "keypoints_y has 19 values, expected 18"),
        ("]", "", "expected two JSON lists"),
        ("[", "[np.int64(1), ", "expected two JSON lists"),
    ],
)
def test_broken_key_points_are_an_error_with_its_line(root, old, new, named):
    rewrite(root / ANNOTATION, lambda lines: [*lines[:3], lines[3].replace(old, new, 1), *lines[4:]])
    (error,) = check(root).errors
    assert f"{ANNOTATION}, line 4: " in error
    assert named in error


def test_an_annotation_of_another_data_set(root):
    lines = (root / ANNOTATION).read_text().splitlines()
    empty = ": ".join(["", str([-1] * 18), str([-1] * 18)])
    (root / ANNOTATION).write_text("\n".join([lines[0], *(line.split(":")[0] + empty for line in lines[1:])]) + "\n")
    assert "train: no image has all of shoulders and hips; the pose estimator failed on all" in check(root).errors


def test_an_identity_in_both_splits(root):
    path = first(root / TRAIN)
    shutil.copy(path, root / GALLERY / path.name)
    assert check(root).errors == [f"1 identities are both in training and in query or gallery: {int(path.name[:4])}"]


def test_an_empty_training_split(root):
    for path in (root / TRAIN).iterdir():
        path.unlink()
    assert "train: no images" in check(root).errors


def test_all_errors_are_reported_at_once(root):
    first(root / TRAIN).rename(root / TRAIN / "holiday.jpg")
    first(root / QUERY).write_bytes(b"")
    path = first(root / TRAIN)
    shutil.copy(path, root / GALLERY / path.name)
    assert len(check(root).errors) == 3


@pytest.mark.parametrize("nested", ["Market-1501-v15.09.15", "market1501", "market1501/Market-1501-v15.09.15"])
def test_the_nested_layout(pedestrians, tmp_path, nested):
    (tmp_path / nested).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / nested).symlink_to(pedestrians)
    assert check(tmp_path).counts == check(pedestrians).counts


def test_the_layout_of_patn(root):
    expected = check(root).counts
    (root / TRAIN).rename(root / "train")
    (root / GALLERY).rename(root / "test")
    assert check(root).counts == expected


def test_a_manifest(root, tmp_path):
    lines = ["path,pid,camid,split"]
    for folder, split in ((TRAIN, "train"), (QUERY, "query"), (GALLERY, "gallery")):
        for path in sorted((root / folder).glob("*.jpg")):
            pid, camera = path.name.split("_")[:2]
            lines.append(f"{path.relative_to(root)},{int(pid)},{camera[1]},{split}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    found, expected = check(root / "manifest.csv"), check(root)
    assert found.errors == []
    for split, counts in found.counts.items():
        assert counts == {key: value for key, value in expected.counts[split].items() if key != "junk"}


def test_no_such_root_and_no_root_at_all(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds neither bounding_box_train nor train"):
        check(tmp_path)
