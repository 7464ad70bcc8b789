"""DeepFashion's in-shop images in PATN's layout (Liu et al., CVPR 2016; Zhu et al., CVPR 2019): generators only.

`fashionWOMENTees_Tanksid0000744201_7additional.jpg` is category, eight digits for the person, two for the clothes worn,
shot and view. PATN pairs images of one person in the same clothes, so that is the identity here; its list has 101,966
such pairs of 48,674 training images. A number occurs in several categories, so the category is part of an identity:
without it 15 of the 1,000 test identities of PATN's published split would be training ones. That split keeps identities
apart but not persons: 503 of the 930 test persons are trained on too, in other clothes.
"""

import re
from pathlib import Path

from augment.data.market1501 import IMAGE_SUFFIXES, Folders, Naming, survey_folders
from augment.data.records import NO_CAMERA, DataSet
from augment.data.survey import Survey

TITLE = "DeepFashion"
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


def survey_root(root: Path) -> Survey:
    """Training images, test images as the gallery, and what lies there of PATN's key points and pair lists.

    Raises:
        ValueError: no folder `train`.
    """
    naming = Naming(TITLE, EXAMPLE, parse_name, ANNOTATIONS, PAIRS, has_cameras=False)
    return survey_folders(root, find_folders(root), naming)


def parse_name(name: str) -> tuple[int, int] | None:
    """(identity, camera) of a file name, or None where it is not DeepFashion's.

    An identity's decimal digits read person, clothes (two), category (two, counted from 1).
    """
    match = NAME.match(name)
    if match is None:
        return None
    category = CATEGORIES.index(match["category"]) + 1
    return (int(match["person"]) * 100 + int(match["clothes"])) * 100 + category, NO_CAMERA


def shared_persons(dataset: DataSet) -> int:
    """How many persons (number and category) of the test images are also in training, in other clothes perhaps."""
    train, test = (
        {(record.pid // 10_000, record.pid % 100) for record in split} for split in (dataset.train, dataset.gallery)
    )
    return len(train & test)
