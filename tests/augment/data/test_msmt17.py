"""MSMT17: two versions of its folders, four lists, two numberings of people."""

import numpy as np
import pytest
from PIL import Image

from augment.audit import require_disjoint
from augment.check import check
from augment.data.read import read_data, survey

LISTS = {
    "list_train.txt": ("train", [(0, 0, 1), (0, 2, 12), (1, 0, 4), (1, 1, 4), (1, 3, 5)]),
    "list_val.txt": ("train", [(0, 1, 7), (1, 2, 15)]),
    "list_query.txt": ("test", [(0, 0, 1), (1, 4, 3)]),
    "list_gallery.txt": ("test", [(0, 5, 14), (1, 5, 9), (2, 0, 2)]),
}
FOLDERS = {"MSMT17_V1": ("train", "test"), "MSMT17_V2": ("mask_train_v2", "mask_test_v2")}


def name(split, person, index, camera):
    """As the archives name them; the frame keeps names of training and test images apart, as it does there."""
    return f"{person:04d}_{index:03d}_{camera:02d}_0303morning_{index + (50 if split == 'test' else 0):04d}_0_ex.jpg"


def make(base, version="MSMT17_V1"):
    """A root of `version` in `base`."""
    for list_name, (split, images) in LISTS.items():
        lines = []
        for person, index, camera in images:
            folder = base / FOLDERS[version][split == "test"] / f"{person:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([person, index, split == "test"]).integers(0, 256, (32, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name(split, person, index, camera))
            lines.append(f"{folder.name}/{name(split, person, index, camera)} {person}\n")
        (base / list_name).write_text("".join(lines))
    return base


@pytest.fixture
def root(tmp_path):
    return make(tmp_path / "MSMT17_V1")


@pytest.mark.parametrize("version", list(FOLDERS))
@pytest.mark.parametrize("nested", [".", "MSMT17_V1", "MSMT17_V2", "msmt17/MSMT17_V1", "msmt17/MSMT17_V2", "msmt17"])
def test_both_versions_wherever_they_lie(tmp_path, version, nested):
    make(tmp_path / nested, version)
    found = read_data(tmp_path)
    assert (found.root, found.title, found.notes) == (tmp_path / nested, "MSMT17", ())
    assert found.has_cameras
    assert {record.path.parent.parent.name for record in found.train} == {FOLDERS[version][0]}
    assert {record.path.parent.parent.name for record in found.gallery} == {FOLDERS[version][1]}


def test_training_images_are_those_of_two_lists_in_the_order_of_names(root):
    found = read_data(root)
    expected = [(0, 0, 1), (0, 1, 7), (0, 2, 12), (1, 0, 4), (1, 1, 4), (1, 2, 15), (1, 3, 5)]
    assert [record.name for record in found.train] == [name("train", *image) for image in expected]
    assert [(record.pid, record.camid) for record in found.train] == [(10_000 + p, c) for p, _, c in expected]


def test_test_people_are_others_and_nobody_is_nobody(root):
    found = read_data(root)
    assert [record.pid for record in found.query] == [20_000, 20_001]
    assert [record.pid for record in found.gallery] == [20_000, 20_001, 20_002]
    require_disjoint(found)
    assert check(root).counts["gallery"]["distractors"] == 0


def test_an_empty_validation_list_is_said(root):
    (root / "list_val.txt").write_text("\n")
    found = read_data(root)
    assert len(found.train) == 5
    assert found.notes == ("list_val.txt is empty: training images are those of list_train.txt alone",)


def test_check_counts_and_compares(root):
    found = check(root)
    assert (found.title, found.errors) == ("MSMT17", [])
    counts = {
        split: tuple(found.counts[split][k] for k in ("images", "identities", "cameras")) for split in found.counts
    }
    assert counts == {"train": (7, 2, 6), "query": (2, 2, 2), "gallery": (3, 3, 3)}
    published = {split: (figures["images"], figures["identities"]) for split, figures in found.published.items()}
    assert published == {"train": (30_248 + 2_373, 1_041), "query": (11_659, 3_060), "gallery": (82_161, 3_060)}
    assert "query: 2 images of 2 identities, published MSMT17 has 11,659 of 3,060" in found.warnings[1]


@pytest.mark.parametrize("gone", [["list_query.txt"], ["list_query.txt", "list_gallery.txt"], list(LISTS)])
def test_missing_lists_are_named(root, gone):
    for list_name in gone:
        (root / list_name).unlink()
    expected = ", ".join(list_name for list_name in LISTS if list_name in gone)
    for read in (read_data, check):
        with pytest.raises(ValueError, match=f"an MSMT17 root without {expected}; the lists belong to the data set"):
            read(root)


def test_a_missing_validation_list_may_be_left_empty(root):
    (root / "list_val.txt").unlink()
    with pytest.raises(
        ValueError, match=r"without list_val\.txt; .*\(an empty list_val\.txt trains on list_train\.txt"
    ):
        read_data(root)


@pytest.mark.parametrize(
    "line",
    [
        "0000/0000_000_01_0303morning_0008_0.jpg",
        "0000/0000_000_01_0303morning_0008_0.jpg zero",
        "0000/0000_000_01_0303morning_0008_0.jpg 7",  # another person than the name says
        "0001/0000_000_01_0303morning_0008_0.jpg 0",
        "0000_000_01_0303morning_0008_0.jpg 0",
        "0000/0000_000.jpg 0",
        "0000/0002_c1s1_000451_03.jpg 0",
        "../0000/0000_000_01_0303morning_0008_0.jpg 0",
    ],
)
def test_lines_that_do_not_parse_are_shown(root, line):
    path = root / "list_gallery.txt"
    path.write_text(line + "\n" + path.read_text() + "\n")
    with pytest.raises(ValueError, match=r"list_gallery\.txt: 1 lines that are not MSMT17's .*: line 1: '\S*0000"):
        read_data(root)
    assert len(survey(root).dataset.gallery) == 3


def test_absent_images_are_counted(root):
    for person, index, camera in LISTS["list_gallery.txt"][1][:2]:
        (root / "test" / f"{person:04d}" / name("test", person, index, camera)).unlink()
    message = (
        r"list_gallery\.txt: 2 of 3 images are not there \(the first: .*/test/0000/0000_005_14_0303morning_0055_0_ex"
    )
    with pytest.raises(ValueError, match=message):
        read_data(root)
    (error,) = check(root).errors
    assert "2 of 3 images are not there" in error


def test_images_in_two_lists(root):
    query = (root / "list_query.txt").read_text()
    with (root / "list_gallery.txt").open("a") as file:
        file.write(query)
    with pytest.raises(ValueError, match="2 images are listed twice, in one list or in two: 0000_000_01"):
        read_data(root)


def test_every_error_is_reported(root):
    for list_name in ("list_train.txt", "list_query.txt"):
        with (root / list_name).open("a") as file:
            file.write("nonsense\n0009/0009_000_01_0303morning_0008_0.jpg 9\n")
    assert len(check(root).errors) == 4
    with pytest.raises(ValueError, match=r"list_train\.txt: 1 lines .*\(3 more errors: see `augment check`\)"):
        read_data(root)


def test_another_encoding(root):
    (root / "list_val.txt").write_bytes(b"\xff\xfe0\x000\x00")
    with pytest.raises(ValueError, match=r"list_val\.txt: not a UTF-8 text file"):
        read_data(root)


def test_no_training_image(root):
    for list_name in ("list_train.txt", "list_val.txt"):
        (root / list_name).write_text("")
    with pytest.raises(ValueError, match=r"list_train\.txt: lists no image"):
        read_data(root)


def test_images_are_missing_or_of_two_versions(root, tmp_path):
    (root / "test").rename(tmp_path / "elsewhere")
    message = "needs the images in train/ and test/ or mask_train_v2/ and mask_test_v2/; "
    with pytest.raises(ValueError, match=message + "put them beside the lists"):
        read_data(root)
    (tmp_path / "elsewhere").rename(root / "test")
    make(root, "MSMT17_V2")
    with pytest.raises(ValueError, match=message + "it holds both: keep one version"):
        read_data(root)
