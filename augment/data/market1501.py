"""Market-1501 roots in the shapes that are found on disks, read by file name (Zheng et al., ICCV 2015).

`0002_c1s1_000451_03.jpg` is identity, camera, sequence, frame, box. Identity -1 is junk, 0000 a distractor.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from augment.data.records import JUNK, DataSet, Record

NAME = re.compile(
    r"^(?P<pid>-1|\d{4,})_c(?P<camid>\d+)(?:s(?P<sequence>\d+))?_(?P<frame>\d+)(?:_(?P<box>\d+))?\.(?:jpg|jpeg|png)$",
    re.I,
)
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}
TRAIN_FOLDERS = ("bounding_box_train", "train")  # the second is PATN's renaming
QUERY_FOLDERS = ("query",)
GALLERY_FOLDERS = ("bounding_box_test", "test")
NESTED = ("", "Market-1501-v15.09.15", "market1501", "market1501/Market-1501-v15.09.15", "Market-1501")
ANNOTATIONS = ("market-annotation-train.csv", "market-annotation-test.csv")
PAIRS = ("market-pairs-train.csv", "market-pairs-test.csv")


@dataclass(frozen=True)
class Folders:
    """Where a root keeps its splits; `query` and `gallery` may be absent from a root that only trains generators."""

    root: Path
    train: Path
    query: Path | None
    gallery: Path | None


def find_folders(root: Path) -> Folders:
    """Locate the splits in the official layout, torchreid's nested one, or PATN's renamed one.

    Raises:
        ValueError: nothing of the kind there; the message says what was looked for.
    """
    if not root.exists():
        raise ValueError(
            f"{root}: no such folder; give a Market-1501 root, or make one with `augment make-data {root}`"
        )
    for nested in NESTED:
        base = root / nested
        train = _first(base, TRAIN_FOLDERS)
        if train is not None:
            return Folders(base, train, _first(base, QUERY_FOLDERS), _first(base, GALLERY_FOLDERS))
    held = ", ".join(sorted(entry.name for entry in root.iterdir())[:5]) or "nothing"
    raise ValueError(
        f"{root}: no Market-1501 root: it holds neither {' nor '.join(TRAIN_FOLDERS)} (also not under "
        f"{NESTED[1]}/ or {NESTED[3]}/) but {held}; give the folder that holds bounding_box_train/, or a CSV manifest"
    )


def read_root(root: Path) -> DataSet:
    """The splits of a root, each sorted by file name. Files that are no images (`Thumbs.db`) are passed over.

    Raises:
        ValueError: no root, an empty training folder, or an image whose name is not Market-1501's.
    """
    folders = find_folders(root)
    train = read_folder(folders.train)
    if not train:
        raise ValueError(
            f"{folders.train}: holds no image named like 0002_c1s1_000451_03.jpg; check that the download is complete"
        )
    query = read_folder(folders.query) if folders.query else ()
    gallery = read_folder(folders.gallery) if folders.gallery else ()
    pairs, test_pairs = (find_pairs(name, root, folders.root) for name in PAIRS)
    return DataSet(folders.root, train, query, gallery, find_annotations(root, folders.root), pairs, test_pairs)


def read_folder(folder: Path) -> tuple[Record, ...]:
    """The images of one split without junk, sorted by name.

    Raises:
        ValueError: an image's name tells no identity.
    """
    records = []
    for path in image_files(folder):
        parsed = parse_name(path.name)
        if parsed is None:
            raise ValueError(
                f"{path}: its name is not Market-1501's (identity_camera..., as 0002_c1s1_000451_03.jpg); rename or "
                "remove it, or describe the images in a CSV manifest (`augment check` lists all such names)"
            )
        pid, camid = parsed
        if pid != JUNK:
            records.append(Record(path, pid, camid))
    return tuple(records)


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


def _first(base: Path, names: tuple[str, ...]) -> Path | None:
    return next((base / name for name in names if (base / name).is_dir()), None)
