"""DeepFashion in PATN's layout: what names say, how a root is recognised, what `augment check` says of a bad one."""

import itertools

import numpy as np
import pytest
from PIL import Image

from augment.audit import require_disjoint
from augment.check import check
from augment.data import deepfashion, feed, keypoints
from augment.data.pairs import ListedPairs, Pairs
from augment.data.read import read_data

TRAIN = (
    "fashionMENDenimid0000008001_1front.jpg",
    "fashionMENDenimid0000008001_2side.jpg",
    "fashionMENDenimid0000008002_1front.jpg",
    "fashionMENDenimid0000008002_3back.jpg",
    "fashionWOMENTees_Tanksid0000744201_1front.jpg",
    "fashionWOMENTees_Tanksid0000744201_3back.jpg",
    "fashionWOMENTees_Tanksid0000744201_7additional.jpg",
)
TEST = ("fashionWOMENDressesid0000000101_1front.jpg", "fashionWOMENDressesid0000000101_4full.jpg")
SIZE = (64, 44)


def standing(seed):
    """Key points with shoulders and hips, whole pixels."""
    points = np.random.default_rng(seed).integers(1, SIZE, (18, 2)).astype(np.float32)
    points[0] = np.nan
    return points


def list_pairs(path, names):
    pairs = [(a, b) for a, b in itertools.permutations(names, 2) if a.split("_")[-2] == b.split("_")[-2]]
    path.write_text("from,to\n" + "".join(f"{a},{b}\n" for a, b in pairs))


@pytest.fixture
def root(tmp_path):
    base = tmp_path / "fashion_data"
    for split, names in (("train", TRAIN), ("test", TEST)):
        (base / split).mkdir(parents=True)
        for seed, name in enumerate(names):
            pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(base / split / name)
        points = {name: standing(seed) for seed, name in enumerate(names)}
        keypoints.write_annotation(base / f"fasion-resize-annotation-{split}.csv", points)
        list_pairs(base / f"fasion-resize-pairs-{split}.csv", names)
    return base


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("fashionMENDenimid0000008001_1front.jpg", 80_01_01),
        ("fashionMENDenimid0000008001_2side.png", 80_01_01),
        ("fashionMENDenimid0000008002_1front.jpg", 80_02_01),
        ("fashionMENPantsid0000008001_1front.jpg", 80_01_03),
        ("fashionWOMENTees_Tanksid0000744201_7additional.jpg", 7442_01_23),
        ("fashionWOMENSweatshirts_Hoodiesid0000798213_6flat.jpg", 7982_13_22),
        ("fashionWOMENTees_Tanksid0010744201_7additional.jpg", None),  # an identity of more than 32 bits
        ("fashionWOMENTies_Hatsid0000744201_7additional.jpg", None),
        ("fashionWOMENSuitingid0000744201_1front.jpg", None),
        ("fashionMENDenimid000008001_1front.jpg", None),
        ("fashionMENDenimid0000008001_front.jpg", None),
        ("fashionMENDenimid0000008001_1front.jpg.jpg", None),
        ("MENDenimid0000008001_1front.jpg", None),
        ("0002_c1s1_000451_03.jpg", None),
        ("Thumbs.db", None),
    ],
)
def test_names(name, identity):
    assert deepfashion.parse_name(name) == (None if identity is None else (identity, 0))


def test_identities_fit_into_32_bits():
    assert deepfashion.parse_name("fashionWOMENTees_Tanksid0009999999_1front.jpg") == (99_999_99_23, 0)
    assert 99_999_99_23 < 2**31


def test_a_root_is_recognised_and_read(root):
    found = read_data(root)
    assert [record.name for record in found.train] == sorted(TRAIN)
    assert [record.pid for record in found.train] == [80_01_01] * 2 + [80_02_01] * 2 + [7442_01_23] * 3
    assert found.query == ()
    assert [record.name for record in found.gallery] == sorted(TEST)
    assert found.annotations == tuple(root / f"fasion-resize-annotation-{split}.csv" for split in ("train", "test"))
    assert found.pairs == root / "fasion-resize-pairs-train.csv"
    assert found.test_pairs == root / "fasion-resize-pairs-test.csv"
    assert not found.has_cameras
    require_disjoint(found)


def test_names_are_enough_to_recognise_a_root(root):
    for path in root.glob("*.csv"):
        path.unlink()
    found = read_data(root)
    assert len(found.train) == len(TRAIN)
    assert (found.annotations, found.pairs, found.test_pairs) == ((), None, None)
    with pytest.raises(ValueError, match=r"no key points: neither .* nor fasion-resize-annotation-train\.csv"):
        keypoints.dataset_points(found)


def test_listed_pairs_are_the_pairs_of_an_identity(root):
    dataset = read_data(root)
    points = keypoints.dataset_points(dataset)
    for records, path in ((dataset.train, dataset.pairs), (dataset.gallery, dataset.test_pairs)):
        assert path is not None
        listed = ListedPairs(path, keypoints.usable(records, points))
        streamed = Pairs([record.pid for record in records])
        assert len(listed) == len(streamed) > 0
        drawn = listed.draw(0, 0, 500), streamed.draw(0, 0, 500)
        assert set(map(tuple, drawn[0].tolist())) == set(map(tuple, drawn[1].tolist()))


def test_pixels_and_key_points_are_loaded(root):
    dataset = read_data(root)
    split = feed.load(dataset.train, keypoints.dataset_points(dataset))
    assert split.size == SIZE
    for index in (0, len(TRAIN) - 1):
        np.testing.assert_array_equal(split.points[index], standing(index))


def test_without_test_images_only_training_is_left(root):
    for path in (root / "test").iterdir():
        path.unlink()
    (root / "test").rmdir()
    assert read_data(root).gallery == ()


def test_broken_roots_say_what_is_wrong(root):
    (root / "train" / "holiday.jpg").touch()
    with pytest.raises(ValueError, match=r"train: 1 images whose names are not DeepFashion's .*: holiday\.jpg;"):
        read_data(root)
    for path in (root / "train").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="train: holds no image named like fashionWOMEN"):
        read_data(root)
    (root / "train").rmdir()
    for read in (read_data, check):
        with pytest.raises(ValueError, match="no folder train/; put the training images there, 256x176 pixels"):
            read(root)


def test_check_counts_what_is_there(root):
    found = check(root, deep=True)
    assert found.errors == []
    (size,) = found.warnings
    assert size.startswith("images of 64x44 pixels: PATN's key points are for 256x176; crop")
    train = {"images": 7, "identities": 3, "cameras": 0, "with_shoulders_and_hips": 7, "listed_pairs": 2 + 2 + 6}
    assert found.counts["train"] | train == found.counts["train"]
    assert found.counts["gallery"] | {"images": 2, "identities": 1, "listed_pairs": 2} == found.counts["gallery"]


def spoil_name(root):
    (root / "train" / TRAIN[0]).rename(root / "train" / "fashionMENHatsid0000008001_1front.jpg")
    return f"1 images whose names are not DeepFashion's (as {TRAIN[6]}): fashionMENHatsid0000008001_1front.jpg"


def spoil_size(root):
    Image.new("RGB", (44, 32)).save(root / "train" / TRAIN[0])
    return "images of 2 sizes (32x44, 64x44): generators need one size"


def spoil_list(root):
    with (root / "fasion-resize-pairs-test.csv").open("a") as file:
        file.write(f"{TEST[0]},{TRAIN[0]}\n")
    return f"fasion-resize-pairs-test.csv, line 4: {TRAIN[0]} is no image of this split with annotated shoulders"


def spoil_split(root):
    (root / "train" / TRAIN[4]).rename(root / "test" / TRAIN[4])
    return "1 identities are both in training and in query or gallery: 74420123"


@pytest.mark.parametrize("spoil", [spoil_name, spoil_size, spoil_list, spoil_split])
def test_check_names_what_is_wrong(root, spoil):
    expected = spoil(root)
    assert any(expected in error for error in check(root).errors), check(root).errors


def test_a_person_in_other_clothes_in_both_splits_is_a_warning(root):
    (root / "test" / TEST[0]).rename(root / "test" / "fashionMENDenimid0000008003_1front.jpg")
    assert any(line.startswith("1 persons are both in training") for line in check(root).warnings)
    require_disjoint(read_data(root))
