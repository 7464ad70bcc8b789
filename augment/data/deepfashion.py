"""DeepFashion's in-shop images in PATN's layout (Liu et al., CVPR 2016; Zhu et al., CVPR 2019): generators only.

`fashionWOMENTees_Tanksid0000744201_7additional.jpg` is category, eight digits for the person, two for the clothes worn,
shot and view. PATN pairs images of one person in the same clothes, so that is the identity here; its list has 101,966
such pairs of 48,674 training images. A number occurs in several categories, so the category is part of an identity:
without it 15 of the 1,000 test identities of PATN's published split would be training ones. That split keeps identities
apart but not persons: 503 of the 930 test persons are trained on too, in other clothes.
"""

import re
from pathlib import Path

from augment.data import market1501
from augment.data.market1501 import IMAGE_SUFFIXES, Folders, find_pairs, image_files
from augment.data.records import NO_CAMERA, DataSet, Record

CATEGORIES = (
    "MENDenim", "MENJackets_Vests", "MENPants", "MENShirts_Polos", "MENShorts", "MENSuiting", "MENSweaters",
    "MENSweatshirts_Hoodies", "MENTees_Tanks",
    "WOMENBlouses_Shirts", "WOMENCardigans", "WOMENDenim", "WOMENDresses", "WOMENGraphic_Tees", "WOMENJackets_Coats",
    "WOMENLeggings", "WOMENPants", "WOMENRompers_Jumpsuits", "WOMENShorts", "WOMENSkirts", "WOMENSweaters",
    "WOMENSweatshirts_Hoodies", "WOMENTees_Tanks",
)  # fmt: skip
# Three leading zeros (the data set ends at 00007982) keep an identity within 32 bits.
NAME = re.compile(
    rf"^fashion(?P<category>{'|'.join(CATEGORIES)})id(?P<person>000\d{{5}})(?P<clothes>\d\d)_(?P<shot>\d+)(?P<view>[a-z]+)"
    r"\.(?:jpg|jpeg|png)$"
)
EXAMPLE = "fashionWOMENTees_Tanksid0000744201_7additional.jpg"
SIZE = (256, 176)  # (height, width) of the images that PATN's key points are for
ANNOTATIONS = ("fasion-resize-annotation-train.csv", "fasion-resize-annotation-test.csv")  # PATN's spelling
PAIRS = ("fasion-resize-pairs-train.csv", "fasion-resize-pairs-test.csv")


def is_root(root: Path) -> bool:
    """Whether one of PATN's files lies there, or the training images have DeepFashion's names."""
    if any((root / name).exists() for name in (*ANNOTATIONS, *PAIRS)):
        return True
    train = root / "train"
    paths = train.iterdir() if train.is_dir() else ()
    first = next((path.name for path in paths if path.suffix.lower() in IMAGE_SUFFIXES), "")
    return first.startswith("fashion")


def find_folders(root: Path) -> Folders:
    """`train` and `test`; there are no queries.

    Raises:
        ValueError: no folder `train`.
    """
    train, test = root / "train", root / "test"
    if not train.is_dir():
        raise ValueError(
            f"{root}: holds PATN's files for DeepFashion but no folder train/; put the training images there, "
            f"{SIZE[0]}x{SIZE[1]} pixels, with names like {EXAMPLE}"
        )
    return Folders(root, train, None, test if test.is_dir() else None)


def read_root(root: Path) -> DataSet:
    """Training images, test images as the gallery, and what lies there of PATN's key points and pair lists.

    Raises:
        ValueError: no folder `train`, an empty one, or an image whose name is not DeepFashion's.
    """
    folders = find_folders(root)
    train = read_folder(folders.train)
    if not train:
        raise ValueError(f"{folders.train}: holds no image named like {EXAMPLE}; check that the copy is complete")
    gallery = read_folder(folders.gallery) if folders.gallery else ()
    return DataSet(root, train, (), gallery, find_annotations(root), *(find_pairs(name, root) for name in PAIRS))


def read_folder(folder: Path) -> tuple[Record, ...]:
    """The images of one split, sorted by name.

    Raises:
        ValueError: an image's name tells no identity.
    """
    records = []
    for path in image_files(folder):
        parsed = parse_name(path.name)
        if parsed is None:
            raise ValueError(
                f"{path}: its name is not DeepFashion's in PATN's form (as {EXAMPLE}); rename or remove it, or "
                "describe the images in a CSV manifest (`augment check` lists all such names)"
            )
        records.append(Record(path, *parsed))
    return tuple(records)


def parse_name(name: str) -> tuple[int, int] | None:
    """(identity, camera) of a file name, or None where it is not DeepFashion's.

    An identity's decimal digits read person, clothes (two), category (two, counted from 1).
    """
    match = NAME.match(name)
    if match is None:
        return None
    category = CATEGORIES.index(match["category"]) + 1
    return (int(match["person"]) * 100 + int(match["clothes"])) * 100 + category, NO_CAMERA


def find_annotations(*bases: Path) -> tuple[Path, ...]:
    """PATN's key-point files in the first of `bases` that has any."""
    return market1501.find_annotations(*bases, names=ANNOTATIONS)


def shared_persons(dataset: DataSet) -> int:
    """How many persons (number and category) of the test images are also in training, in other clothes perhaps."""
    train, test = (
        {(record.pid // 10_000, record.pid % 100) for record in split} for split in (dataset.train, dataset.gallery)
    )
    return len(train & test)
