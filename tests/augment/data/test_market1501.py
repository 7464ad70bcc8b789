"""Roots in the shapes that are found on disks, read by file name."""

import shutil

import pytest

from augment.data.market1501 import parse_name, read_folder, read_root
from augment.data.read import read_data


@pytest.fixture
def root(tmp_path):
    """Two training images of two people, a query, a gallery of three; nothing of it is decoded."""
    names = {
        "bounding_box_train": ["0007_c3s3_077419_03.jpg", "0002_c1s1_000451_03.jpg", "Thumbs.db"],
        "query": ["0001_c1s1_001051_00.jpg"],
        "bounding_box_test": ["0001_c2s1_000301_00.jpg", "0000_c1s1_000151_01.jpg", "-1_c4s6_000810_05.jpg"],
    }
    for folder, files in names.items():
        (tmp_path / "root" / folder).mkdir(parents=True)
        for name in files:
            (tmp_path / "root" / folder / name).touch()
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0002_c1s1_000451_03.jpg", (2, 1)),
        ("1501_c6s4_012345_00.JPG", (1501, 6)),
        ("-1_c4s6_000810_05.jpg", (-1, 4)),
        ("0000_c2s1_000151_01.jpg", (0, 2)),
        ("0005_c2_f0046985.jpg", None),  # DukeMTMC-reID
        ("0002_c1s1_000451.png", (2, 1)),
        ("2_c1s1_000451_03.jpg", None),
        ("0002c1s1_000451_03.jpg", None),
        ("0002_c1s1_000451_03.jpg.jpg", None),
        ("x0002_c1s1_000451_03.jpg", None),
        ("Thumbs.db", None),
    ],
)
def test_names(name, expected):
    assert parse_name(name) == expected


def test_splits_sorted_by_name_without_junk(root):
    found = read_root(root)
    assert [(record.name, record.pid, record.camid) for record in found.train] == [
        ("0002_c1s1_000451_03.jpg", 2, 1),
        ("0007_c3s3_077419_03.jpg", 7, 3),
    ]
    assert [record.pid for record in found.query] == [1]
    assert [record.pid for record in found.gallery] == [0, 1], "distractors stay, junk does not"
    assert (found.root, found.annotations) == (root, ())


@pytest.mark.parametrize("nested", ["Market-1501-v15.09.15", "market1501", "market1501/Market-1501-v15.09.15"])
def test_nested_roots(root, tmp_path, nested):
    inner = tmp_path / "outer" / nested
    inner.parent.mkdir(parents=True)
    root.rename(inner)
    assert read_data(tmp_path / "outer").root == inner
    assert read_data(tmp_path / "outer").digest == read_root(inner).digest


def test_annotations_beside_or_inside_a_nested_root(root, tmp_path):
    outer = tmp_path / "outer"
    inner = shutil.move(root, outer / "Market-1501-v15.09.15")
    (inner / "market-annotation-train.csv").touch()
    assert read_data(outer).annotations == (inner / "market-annotation-train.csv",)
    for name in ("market-annotation-test.csv", "market-annotation-train.csv"):
        (outer / name).touch()
    assert read_data(outer).annotations == tuple(
        outer / f"market-annotation-{split}.csv" for split in ("train", "test")
    )


def test_folders_as_patn_renames_them(root):
    expected = read_root(root)
    (root / "bounding_box_train").rename(root / "train")
    (root / "bounding_box_test").rename(root / "test")
    found = read_root(root)
    for split in ("train", "query", "gallery"):
        assert [r.name for r in getattr(found, split)] == [r.name for r in getattr(expected, split)]


def test_a_root_that_only_trains_generators(root):
    shutil.rmtree(root / "query")
    shutil.rmtree(root / "bounding_box_test")
    found = read_root(root)
    assert (len(found.train), found.query, found.gallery) == (2, (), ())


def test_the_digest_is_that_of_the_training_split(root):
    before = read_root(root).digest
    (root / "query" / "0001_c3s1_001051_00.jpg").touch()
    assert read_root(root).digest == before
    (root / "bounding_box_train" / "0007_c3s3_077419_03.jpg").write_bytes(b"another size")
    assert read_root(root).digest != before


def test_wrong_names_are_named(root):
    for name in ("holiday.jpg", "0005_c2_f0046985.jpg"):
        (root / "query" / name).touch()
    message = r"query: 2 images whose names are not Market-1501's .*: 0005_c2_f0046985\.jpg, holiday\.jpg; rename"
    for read in (read_root, read_data):
        with pytest.raises(ValueError, match=message):
            read(root)
    with pytest.raises(ValueError, match="query: 2 images whose names are not Market-1501's"):
        read_folder(root / "query")


@pytest.mark.parametrize(("folder", "split"), [("bounding_box_train", "train"), ("query", "query")])
def test_nobody_is_trained_on_or_searched_for(root, folder, split):
    (root / folder / "0000_c1s1_000151_01.jpg").touch()
    with pytest.raises(
        ValueError, match=rf"{folder}: 1 {split} images of identity 0 \(0000_c1s1.*number people from 1"
    ):
        read_data(root)


def test_an_empty_training_folder(root):
    for path in (root / "bounding_box_train").glob("*.jpg"):
        path.unlink()
    with pytest.raises(ValueError, match=r"holds no image named like .*; check that the download is complete"):
        read_root(root)


def test_a_folder_without_training_images_is_no_root(root):
    with pytest.raises(ValueError, match="no Market-1501 root: it holds neither bounding_box_train nor train"):
        read_root(root / "query")
