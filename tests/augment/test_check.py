"""`augment check`: each kind of error is found in a data set that has only that one."""

import json
import shutil

import pytest
from click.testing import CliRunner
from PIL import Image

from augment import subset
from augment.check import check
from augment.cli import group
from augment.data.read import PUBLISHED, read_data
from augment.subset import SubsetConfig

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
    assert f"{TRAIN}: 1 images whose names are not Market-1501's (as 0002_c1s1_000451_03.jpg): holiday.jpg" in error


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
    assert any("bounding_box_train: holds no image named like" in error for error in check(root).errors)


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


def test_a_manifest(root):
    found, expected = check(write_manifest(root)), check(root)
    assert found.errors == []
    assert found.counts == expected.counts


def test_no_such_root_and_no_root_at_all(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no data set: it holds neither bounding_box_train nor train"):
        check(tmp_path)


def write_manifest(root, camera=lambda path: path.name.split("_c")[1][0], header="path,pid,camid,split"):
    """A manifest of a root in Market-1501's layout, with cameras as `camera` says."""
    lines = [header]
    for folder, split in ((TRAIN, "train"), (QUERY, "query"), (GALLERY, "gallery")):
        for path in sorted((root / folder).glob("*.jpg")):
            lines.append(f"{path.relative_to(root)},{int(path.name.split('_')[0])},{camera(path)},{split}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return root / "manifest.csv"


def test_bad_rows_of_a_manifest_are_one_error_beside_the_others(root):
    path = write_manifest(root)
    rewrite(path, lambda lines: [lines[0], *(line.replace(",train", ",") for line in lines[1:4]), *lines[4:]])
    first(root / QUERY).write_bytes(b"")
    rows, image = check(path).errors
    assert "manifest.csv: 3 rows cannot be used: line 2: split ''; expected one of" in rows
    assert "1 unreadable images" in image


def test_unknown_cameras_are_said_and_are_none(root):
    found = check(write_manifest(root, lambda path: ""))
    assert (found.errors, found.warnings) == ([], [])
    assert [counts["cameras"] for counts in found.counts.values()] == [0, 0, 0]
    assert len(found.notes) == 2
    assert "is unknown: a search leaves out no image" in found.notes[1]


def test_cameras_from_0_on_are_all_counted(root):
    found = check(write_manifest(root, lambda path: int(path.name.split("_c")[1][0]) - 1))
    assert found.counts["train"]["cameras"] == check(root).counts["train"]["cameras"] == 3
    assert found.notes == []


def test_numbers_that_no_synthetic_set_can_hold(root):
    found = check(write_manifest(root, lambda path: 32766 + int(path.name.split("_c")[1][0])))
    assert found.errors == []
    assert found.warnings == [
        "train: 2 cameras above 32767 (32768, 32769), which no synthetic set can hold: number them lower before "
        "`augment synthesize`"
    ]


def test_queries_that_nothing_can_be_found_for(root):
    lost = first(root / QUERY).name
    person, camera = lost.split("s")[0].split("_c")
    for path in (root / GALLERY).glob(f"{person}_*"):
        if f"_c{camera}s" not in path.name:
            path.unlink()
    (warning,) = [line for line in check(root).warnings if line.startswith("query")]
    count = len(list((root / QUERY).glob(f"{person}_c{camera}s*")))
    assert f"{count} of " in warning
    assert "have no image of the same identity from another camera in the gallery, so they are not scored" in warning
    assert lost in warning
    shutil.rmtree(root / GALLERY)
    (root / GALLERY).mkdir()
    assert any("so there is nothing to evaluate" in warning for warning in check(root).warnings)


def test_published_figures_stand_beside_a_copy_of_the_published_set(root, tmp_path):
    assert check(root).published == {}
    official = tmp_path / "Market-1501-v15.09.15"
    root.rename(official)
    found = check(official)
    assert found.title == "Market-1501"
    assert found.published["train"] == {"images": 12_936, "identities": 751, "cameras": 6}
    images = found.counts["train"]["images"]
    assert (
        f"train: {images} images of 6 identities, published Market-1501 has 12,936 of 751: an incomplete copy, or "
        "another split"
    ) in found.warnings
    assert len(found.warnings) == 3


def test_published_figures_that_agree_are_no_warning(root, monkeypatch):
    counts = {split: {key: value for key, value in counts.items() if key in ("images", "identities", "cameras")}
              for split, counts in check(root).counts.items()}  # fmt: skip
    monkeypatch.setitem(PUBLISHED, "Market-1501", counts)
    found = check(root)
    assert (found.published, found.warnings) == (counts, [])
    first(root / QUERY).unlink()
    (warning,) = check(root).warnings
    assert warning.startswith("query: ")
    assert "an incomplete copy" in warning


def test_the_command_prints_the_table_the_notes_and_the_verdict(root):
    path = write_manifest(root, lambda path: "")
    result = CliRunner().invoke(group, ["check", str(path)])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split()[:3] == ["manifest", "junk", "images"]
    assert result.stdout.splitlines()[-2].startswith("note: ")
    assert result.stdout.splitlines()[-1] == "ok"
    official = root.rename(root.parent / "DukeMTMC-reID")
    result = CliRunner().invoke(group, ["check", str(official)])
    assert "published" not in result.stdout, "its images are named as Market-1501's"
    official = official.rename(root.parent / "Market-1501-v15.09.15")
    result = CliRunner().invoke(group, ["check", str(official)])
    assert ["published", "12936", "751", "6"] in [line.split() for line in result.stdout.splitlines()]


def test_a_subset_says_of_what(pedestrians, tmp_path, root):
    whole, out = read_data(pedestrians), subset.run(SubsetConfig(0.5, 3), pedestrians, tmp_path / "half")
    kept = len(list((out / TRAIN).glob("*.jpg")))
    said = (
        f"made by `augment subset` of a Market-1501 root (training split {whole.digest[:12]}...): {kept} of "
        f"{len(whole.train)} training images (portion 0.5, seed 3), of 6 identities"
    )
    assert 0 < kept < len(whole.train)
    assert check(out).notes == [*whole.notes, said]
    assert f"note: {said}\n" in CliRunner().invoke(group, ["check", str(out)]).output
    assert check(root).notes == list(whole.notes)


def test_a_subset_that_was_changed_is_an_error(root, tmp_path):
    out = subset.run(SubsetConfig(0.5), root, tmp_path / "half")
    first(out / TRAIN).unlink()
    (error,) = check(out).errors
    assert "its training images are no longer the" in error
    (out / "subset.json").write_text("{")
    (error,) = check(out).errors
    assert "subset.json: not" in error
