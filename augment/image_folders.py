"""Folders of generated images: paired by name with a folder of real ones, or by the pair that a name tells of.

The test scripts of papers name an image after its pair of test images: PATN's SOURCE.jpg___TARGET.jpg_vis.jpg, which
holds five panels (source, its pose, target, its pose, generated), GFLA's and DPTN's SOURCE_2_TARGET_vis.jpg, which
holds the generated image alone.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64

from augment import audit, files
from augment.data.images import glance
from augment.data.market1501 import IMAGE_SUFFIXES, image_files, parse_name
from augment.data.records import DISTRACTOR, JUNK, UNKNOWN_CAMERA, DataSet, Record
from augment.image_pairs import (
    IDENTITIES,
    IMAGES,
    SOME_KNOWN,
    Chosen,
    Compared,
    Pixels,
    Points,
    Read,
    Rows,
    of_chosen,
    reading,
    test_images,
)

SEPARATORS = ("___", "_2_")  # of PATN's names, and of GFLA's and DPTN's
ENDING = "_vis"  # of the names of all three
PATTERN = re.compile(r"(?P<place>[1-9]\d*)/(?P<count>[1-9]\d*)")


@dataclass(frozen=True)
class Panel:
    """Which of several pictures of one width, side by side in a file, is the generated image; 1 is the left one."""

    place: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.place}/{self.count}"


def parse_panel(text: str) -> Panel:
    """`5/5` is the last of five.

    Raises:
        ValueError: it is not of that form.
    """
    found = PATTERN.fullmatch(text)
    if found is None or int(found["place"]) > int(found["count"]):
        raise ValueError(f"--panel {text}: expected PLACE/COUNT, such as 5/5 for the last of five panels side by side")
    return Panel(int(found["place"]), int(found["count"]))


def of_folders(real: Path, generated: Path, points: Points | None = None, panel: Panel | None = None) -> Compared:
    """Two folders of images. Those of one name are a pair; where there is none, those of one name but for the suffix.

    Identities are known of generated images that are named as Market-1501's are and show no distractor; each of the
    others is resampled on its own. The pose asked for is that of the true image, else what `points` hold under the
    generated one's name.

    Raises:
        ValueError: a folder without images, images of several sizes, one that cannot be read, or of which it is not
            clear with which it is paired; key points of none of them.
    """
    panel = panel or Panel()
    records, made = (_plain_records(folder, what) for folder, what in ((real, "DATA"), (generated, "--images")))
    size = _common_size(records, made, panel)
    target = _of_one_name(records, made)
    people = np.asarray([record.pid for record in made], dtype=np.int64)
    known = people > DISTRACTOR
    unit = IDENTITIES if known.all() else SOME_KNOWN if known.any() else IMAGES
    read_real = reading(records, size)
    asked_for = [records[place].name if place >= 0 else made[row].name for row, place in enumerate(target)]
    poses, notes = _poses(asked_for, points)
    return Compared(
        size,
        _reading_panel(made, size, panel),
        np.where(known, people, -1 - np.arange(len(made))),
        unit,
        target >= 0,
        lambda rows: read_real(target[rows]),
        None,
        poses,
        records,
        (),
        None,
        says={
            "images": f"{len(made)} in a folder",
            "images_digest": _digest(made),
            "panel": str(panel),
            "real": f"{len(records)} in a folder",
            "real_digest": _digest(records),
            "paired_by_name": int((target >= 0).sum()),
            "of_known_identities": int(known.sum()),
        },
        notes=(*_notes_of_folders(target >= 0, known), *notes),
    )


def of_results(folder: Path, dataset: DataSet, points: Points | None = None, panel: Panel | None = None) -> Compared:
    """A folder of results of a test script, whose names tell source and target among a data set's test images.

    Raises:
        ValueError: a name that tells of no such pair, or of the pair of another one; a pair of two persons or of an
            image with itself; images of several sizes.
    """
    panel = panel or Panel()
    audit.require_disjoint(dataset)
    made = _plain_records(folder, "--images")
    records = test_images(dataset)
    pairs = _named_pairs(made, records, dataset)
    used, local = np.unique(pairs, return_inverse=True)
    chosen = tuple(records[index] for index in used)
    targets = [records[index].name for index in pairs[:, 1]]
    poses, notes = _poses(targets, points)
    size = _common_size(chosen, made, panel)
    nowhere = np.full((18, 2), np.nan, dtype=np.float32)
    held = np.stack([nowhere if points is None else points.get(record.name, nowhere) for record in chosen])
    says = {
        "pairs": f"{len(made)} pairs by the names of the images in {folder.name}",
        "images_digest": _digest(made),
        "panel": str(panel),
    }
    notes = ("by which network these images were made, and trained on which identities, is not known here", *notes)
    return of_chosen(
        Chosen(chosen, held, local.reshape(pairs.shape).astype(np.int64), says, notes),
        _reading_panel(made, size, panel),
        reading(chosen, size),
        size,
        dataset.train,
        annotated=poses is not None,
    )


def _named_pairs(made: Sequence[Record], records: Sequence[Record], dataset: DataSet) -> Int64[np.ndarray, "n 2"]:
    """Source and target of each image, as numbers of records."""
    stems: dict[str, int] = {}
    for index, record in enumerate(records):
        if record.path.stem in stems:
            one, two = records[stems[record.path.stem]].path, record.path
            raise ValueError(f"{one} and {two}: two test images of one name, by which results are paired; rename one")
        stems[record.path.stem] = index
    taken: dict[tuple[int, int], str] = {}
    for image in made:
        found = _pairs_in(image.path.stem, stems)
        if len(found) != 1:
            what = "tells of several pairs" if found else "names no pair"
            raise ValueError(
                f"--images {image.path}: {what} of query or gallery images of {dataset.root}; expected "
                f"SOURCE.jpg___TARGET.jpg{ENDING}.jpg or SOURCE_2_TARGET{ENDING}.jpg: correct the name or take it out"
            )
        (pair,) = found
        source, target = (records[index] for index in pair)
        if pair in taken:
            raise ValueError(f"--images: {taken[pair]} and {image.name} are of one pair; take one of them out")
        if source == target:
            raise ValueError(f"--images {image.path}: is of an image with itself, no pair; take it out")
        if source.pid != target.pid:
            raise ValueError(f"--images {image.path}: is of two persons, so there is no true image; take it out")
        taken[pair] = image.name
    return np.asarray(list(taken), dtype=np.int64).reshape(-1, 2)


def _pairs_in(name: str, stems: dict[str, int]) -> set[tuple[int, int]]:
    """All ways to read a name (without suffix) as two known ones, with or without the suffixes of their own."""
    name = name.removesuffix(ENDING)
    found = set()
    for separator in SEPARATORS:
        for place in re.finditer(f"(?={separator})", name):
            one, two = (_stem(part) for part in (name[: place.start()], name[place.start() + len(separator) :]))
            if one in stems and two in stems:
                found.add((stems[one], stems[two]))
    return found


def _stem(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name


def _poses(names: Sequence[str], points: Points | None) -> tuple[Float32[np.ndarray, "n 18 2"] | None, tuple[str, ...]]:
    """Key points by file name, if they are known of all; and what to say if not."""
    if points is None:
        return None, ()
    known = sum(name in points for name in names)
    if not known:
        raise ValueError(f"--poses: holds key points of none of the {len(names):,} true images ({names[0]}, ...)")
    if known < len(names):
        lacking = next(name for name in names if name not in points)
        return None, (
            f"{len(names) - known:,} of {len(names):,} true images have no key points ({lacking}, ...), so nothing is "
            "compared by them",
        )
    return np.stack([points[name] for name in names]), ()


def _notes_of_folders(paired: Bool[np.ndarray, " n"], known: Bool[np.ndarray, " n"]) -> tuple[str, ...]:
    notes = []
    if not paired.all():
        notes.append(f"{(~paired).sum():,} of {len(paired):,} generated images have no real one of that name")
    if known.any() and not known.all():
        notes.append(
            f"{(~known).sum():,} of {len(known):,} generated images show nobody known: intervals resample each of them "
            "on its own, and the others by identity"
        )
    return tuple(notes)


def _of_one_name(real: Sequence[Record], made: Sequence[Record]) -> Int64[np.ndarray, " n"]:
    """Of each generated image the real one of its name, else the only one of its stem; -1 where there is none.

    Raises:
        ValueError: several real images of that stem, or two generated images of one real one.
    """
    names = {record.name: index for index, record in enumerate(real)}
    stems: dict[str, list[int]] = {}
    for index, record in enumerate(real):
        stems.setdefault(record.path.stem, []).append(index)
    taken: dict[int, str] = {}
    found = []
    for record in made:
        of_stem = stems.get(record.path.stem, [])
        if record.name not in names and len(of_stem) > 1:
            one, two = (real[index].name for index in of_stem[:2])
            raise ValueError(f"DATA: {one} and {two} could both be the true image of {record.name}; remove one of them")
        place = names.get(record.name, of_stem[0] if of_stem else -1)
        if place in taken:
            raise ValueError(
                f"--images: {taken[place]} and {record.name} could both be generated for {real[place].name}; remove "
                "one of them"
            )
        taken |= {place: record.name} if place >= 0 else {}
        found.append(place)
    return np.asarray(found, dtype=np.int64)


def _common_size(real: Sequence[Record], made: Sequence[Record], panel: Panel) -> tuple[int, int]:
    """Of the real images, which that of the panels is too."""
    (height, width), (made_height, made_width) = (_only_size(part) for part in (real, made))
    if made_width % panel.count:
        raise ValueError(
            f"--panel {panel}: {made[0].path} is {made_width} pixels wide, no multiple of {panel.count}; count its "
            "panels again"
        )
    if (made_height, made_width // panel.count) != (height, width):
        several = made_height == height and made_width % width == 0 and panel.count == 1
        hint = f", or say which panel it is with --panel PLACE/{made_width // width}" if several else ""
        shown = "is" if panel.count == 1 else f"has panels of {made_height}x{made_width // panel.count} in"
        raise ValueError(
            f"--images {made[0].path}: {shown} {made_height}x{made_width}, {real[0].path} is {height}x{width} (height "
            f"x width); resize one of them{hint}"
        )
    return height, width


def _only_size(records: Sequence[Record]) -> tuple[int, int]:
    """(height, width) of all of them.

    Raises:
        ValueError: two differ, or one cannot be read.
    """
    size = glance(records[0].path)
    for record in records[1:]:
        other = glance(record.path)
        if other != size:
            raise ValueError(
                f"{records[0].path}: is {size[0]}x{size[1]}, {record.path} is {other[0]}x{other[1]} (height x width); "
                "resize the images of the folder to one size"
            )
    return size


def _reading_panel(made: Sequence[Record], size: tuple[int, int], panel: Panel) -> Read:
    height, width = size
    read = reading(made, (height, width * panel.count))

    def read_panel(rows: Rows) -> Pixels:
        return np.ascontiguousarray(read(rows)[:, :, (panel.place - 1) * width : panel.place * width])

    return read_panel


def _digest(records: Sequence[Record]) -> str:
    """SHA-256 over the sorted names of the files and the SHA-256 of what is in them."""
    lines = sorted(f"{record.name} {files.sha256(record.path)}" for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _plain_records(folder: Path, what: str) -> tuple[Record, ...]:
    paths = image_files(folder) if folder.is_dir() else []
    if not paths:
        raise ValueError(
            f"{what}: {folder} is no folder that holds images itself (.jpg, .png); to compare two folders give the one "
            "of the real images as DATA and that of the generated ones as --images"
        )
    return tuple(Record(path, *(parse_name(path.name) or (JUNK, UNKNOWN_CAMERA))) for path in paths)
