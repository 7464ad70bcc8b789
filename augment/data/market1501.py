"""Market-1501 roots in the shapes that are found on disks, read by file name (Zheng et al., ICCV 2015).

`0002_c1s1_000451_03.jpg` is identity, camera, sequence, frame, box. Identity -1 is junk, 0000 a distractor.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from augment.data.records import JUNK, DataSet, Record
from augment.data.survey import Survey, nobody, some

TITLE = "Market-1501"
PUBLISHED = {  # junk left out, distractors no identities
    "train": {"images": 12_936, "identities": 751, "cameras": 6},
    "query": {"images": 3_368, "identities": 750, "cameras": 6},
    "gallery": {"images": 15_913, "identities": 750, "cameras": 6},
}
NAME = re.compile(
    r"^(?P<pid>-1|\d{4,})_c(?P<camid>\d+)(?:s(?P<sequence>\d+))?_(?P<frame>\d+)(?:_(?P<box>\d+))?\.(?:jpg|jpeg|png)$",
    re.I,
)
EXAMPLE = "0002_c1s1_000451_03.jpg"
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}
TRAIN_FOLDERS = ("bounding_box_train", "train")  # the second is PATN's renaming
QUERY_FOLDERS = ("query",)
GALLERY_FOLDERS = ("bounding_box_test", "test")
NESTED = ("Market-1501-v15.09.15", "market1501", "market1501/Market-1501-v15.09.15", "Market-1501")
ANNOTATIONS = ("market-annotation-train.csv", "market-annotation-test.csv")
PAIRS = ("market-pairs-train.csv", "market-pairs-test.csv")


@dataclass(frozen=True)
class Folders:
    """Where a root keeps its splits; `query` and `gallery` may be absent from a root that only trains generators."""

    root: Path
    train: Path
    query: Path | None
    gallery: Path | None


@dataclass(frozen=True)
class Naming:
    """How a data set names its images; `parse` gives (identity, camera), or None for another name."""

    title: str
    example: str
    parse: Callable[[str], tuple[int, int] | None]
    annotations: tuple[str, ...] = ANNOTATIONS
    pairs: tuple[str, str] = PAIRS
    has_cameras: bool = True


def find_folders(base: Path) -> Folders | None:
    """The splits that lie in this very folder, in the official layout or in PATN's renamed one."""
    train = _first(base, TRAIN_FOLDERS)
    return None if train is None else Folders(base, train, _first(base, QUERY_FOLDERS), _first(base, GALLERY_FOLDERS))


def survey_folders(root: Path, folders: Folders, naming: Naming) -> Survey:
    """Splits of images with such names, each sorted by name. Files that are no images (`Thumbs.db`) are passed over.

    Key points and pair lists may lie in `folders.root`, or in `root` above it.
    """
    errors: list[str] = []
    junk: dict[str, int] = {}
    splits: dict[str, tuple[Record, ...]] = {}
    for split, folder in (("train", folders.train), ("query", folders.query), ("gallery", folders.gallery)):
        records, wrong = _parse_folder(folder, naming.parse) if folder else ([], [])
        if wrong:
            errors.append(
                f"{folder}: {len(wrong)} images whose names are not {naming.title}'s (as {naming.example}): "
                f"{some(wrong)}; rename or remove them, or describe the images in a CSV manifest"
            )
        errors += nobody(split, folder, records)
        splits[split] = tuple(record for record in records if record.pid != JUNK)
        junk[split] = len(records) - len(splits[split])
    if not splits["train"]:
        errors.append(
            f"{folders.train}: holds no image named like {naming.example}; check that the download is complete"
        )
    pairs, test_pairs = (find_pairs(name, root, folders.root) for name in naming.pairs)
    dataset = DataSet(
        folders.root,
        splits["train"],
        splits["query"],
        splits["gallery"],
        find_annotations(root, folders.root, names=naming.annotations),
        pairs,
        test_pairs,
        naming.title,
        naming.has_cameras,
    )
    return Survey(dataset, tuple(errors), junk)


def read_root(root: Path) -> DataSet:
    """The splits that lie in this very folder.

    Raises:
        ValueError: no root, an empty training folder, or images whose names are not Market-1501's.
    """
    folders = find_folders(root)
    if folders is None:
        raise ValueError(f"{root}: no Market-1501 root: it holds neither {' nor '.join(TRAIN_FOLDERS)}")
    return survey_folders(root, folders, NAMING).usable()


def read_folder(folder: Path) -> tuple[Record, ...]:
    """The images of one split without junk, sorted by name.

    Raises:
        ValueError: an image's name tells no identity.
    """
    records, wrong = _parse_folder(folder, parse_name)
    if wrong:
        raise ValueError(f"{folder}: {len(wrong)} images whose names are not {TITLE}'s (as {EXAMPLE}): {some(wrong)}")
    return tuple(record for record in records if record.pid != JUNK)


def image_files(folder: Path) -> list[Path]:
    """Every image file directly in `folder`, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def parse_name(name: str) -> tuple[int, int] | None:
    """(identity, camera) of a file name, or None where it is not Market-1501's."""
    match = NAME.match(name)
    return None if match is None else (int(match["pid"]), int(match["camid"]))


def find_annotations(*bases: Path, names: tuple[str, ...] = ANNOTATIONS) -> tuple[Path, ...]:
    """PATN's key-point files in the first of `bases` that has any."""
    for base in bases:
        found = tuple(base / name for name in names if (base / name).exists())
        if found:
            return found
    return ()


def find_pairs(name: str, *bases: Path) -> Path | None:
    """One of PATN's pair lists, in the first of `bases` that has it."""
    return next((base / name for base in bases if (base / name).exists()), None)


def _parse_folder(folder: Path, parse: Callable[[str], tuple[int, int] | None]) -> tuple[list[Record], list[str]]:
    """The images, and the names that say nothing."""
    parsed = [(path, parse(path.name)) for path in image_files(folder)]
    return [Record(path, *found) for path, found in parsed if found], [path.name for path, found in parsed if not found]


def _first(base: Path, names: tuple[str, ...]) -> Path | None:
    return next((base / name for name in names if (base / name).is_dir()), None)


NAMING = Naming(TITLE, EXAMPLE, parse_name)
