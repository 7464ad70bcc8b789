"""Key points of persons: 18 OpenPose joints in PATN's annotation files.

A file starts with `name:keypoints_y:keypoints_x`; each further line holds an image name and two JSON lists of 18
numbers, rows before columns, -1 for a missing joint. In memory a person is float32 (18, 2): (row, column), NaN where
missing.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from augment import files
from augment.data.records import DataSet, Record

JOINTS = (
    "nose", "neck",
    "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
LIMBS = (
    (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
MIRROR = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)  # the joint that a left-right flip turns into
TORSO = (2, 5, 8, 11)  # shoulders and hips: PATN's condition for a usable image
HEADER = "name:keypoints_y:keypoints_x"

Points = Float[np.ndarray, "18 2"]


def read_annotation(path: Path) -> dict[str, Points]:
    """Key points by image name.

    Raises:
        ValueError: another header, a line that does not parse, a list of another length, a name given twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a UTF-8 text file ({error.reason}); give a PATN annotation CSV") from None
    if not lines or lines[0].strip().replace(" ", "") != HEADER:
        raise ValueError(
            f"{path}: first line is {lines[0][:60] if lines else ''!r}; a PATN annotation starts with {HEADER!r}"
        )
    points: dict[str, Points] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        name, _, rest = line.partition(":")
        name = name.strip()
        if name in points:
            raise ValueError(f"{path}, line {number}: {name} is annotated twice; keep one of the lines")
        points[name] = _parse(rest, f"{path}, line {number}: {name}")
    return points


def write_annotation(path: Path, points: Mapping[str, Points]) -> Path:
    """Publish key points in PATN's format; coordinates are rounded to whole pixels."""
    lines = [HEADER, *(annotation_line(name, points[name]) for name in points)]
    return files.write_atomic(path, ("\n".join(lines) + "\n").encode())


def annotation_line(name: str, points: Points) -> str:
    """One line of PATN's format."""
    whole = np.where(np.isnan(points).any(axis=1, keepdims=True), -1, np.rint(points)).astype(int)
    return f"{name}: {json.dumps(whole[:, 0].tolist())}: {json.dumps(whole[:, 1].tolist())}"


def dataset_points(dataset: DataSet, poses: Path | None = None) -> dict[str, Points]:
    """Key points of a data set: from `poses`, or from the annotation files that lie in its root.

    Raises:
        ValueError: there are none, or a file is broken.
    """
    paths = (poses,) if poses is not None else dataset.annotations
    if not paths:
        raise ValueError(
            f"{dataset.root}: no key points: neither market-annotation-train.csv nor "
            "fasion-resize-annotation-train.csv is there; put PATN's annotation files into the folder or name one "
            "(--poses FILE; --annotation FILE for synthesize)"
        )
    points: dict[str, Points] = {}
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give PATN's annotation CSV as --poses FILE")
        points |= read_annotation(path)
    return points


def usable(records: Sequence[Record], points: Mapping[str, Points]) -> tuple[Record, ...]:
    """The images whose shoulders and hips are all annotated: those that pairs are made of (PATN).

    Raises:
        ValueError: no image is; or two images have one name, by which key points are given.
    """
    counts = Counter(record.name for record in records)
    if len(counts) < len(records):
        name, count = counts.most_common(1)[0]
        raise ValueError(f"{count} images are named {name}; key points are given by name: rename the images apart")
    kept = tuple(record for record in records if record.name in points and bool(has_torso(points[record.name])))
    if not kept:
        example = records[0].name if records else "none"
        raise ValueError(
            f"none of {len(records)} images has annotated shoulders and hips (first image: {example}); the key-point "
            "file belongs to another data set, or its estimator failed: check it with `augment check`"
        )
    return kept


def has_torso(points: Float[np.ndarray, "... 18 2"]) -> Bool[np.ndarray, "..."]:
    """Whether both shoulders and both hips are there."""
    return np.asarray(~np.isnan(points[..., TORSO, :]).any(axis=(-1, -2)))


def stack(records: Iterable[Record], points: Mapping[str, Points]) -> Float[np.ndarray, "n 18 2"]:
    """Key points of `records`, in their order."""
    return np.stack([points[record.name] for record in records])


def digest(records: Iterable[Record], points: Mapping[str, Points]) -> str:
    """SHA-256 of the key points of `records`, in any order: identifies an annotation."""
    lines = sorted(annotation_line(record.name, points[record.name]) for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def flip(points: Float[np.ndarray, "... 18 2"], width: int) -> Float[np.ndarray, "... 18 2"]:
    """Key points of the mirrored image: columns reflected, left and right joints swapped."""
    mirrored = points[..., MIRROR, :].copy()
    mirrored[..., 1] = width - 1 - mirrored[..., 1]
    return mirrored


def _parse(lists: str, where: str) -> Points:
    try:
        rows, columns = (json.loads(part) for part in lists.split(":"))
        values = [np.asarray(part, dtype=np.float32) for part in (rows, columns)]
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ValueError(
            f"{where}: expected two JSON lists of numbers after the name, got {lists.strip()[:60]!r}"
        ) from None
    for axis, part in zip(("keypoints_y", "keypoints_x"), values, strict=True):
        if part.shape != (len(JOINTS),):
            raise ValueError(f"{where}: {axis} has {part.size} values, expected {len(JOINTS)} (OpenPose-18 joints)")
    points = np.stack(values, axis=1)
    points[(points == -1).any(axis=1) | ~np.isfinite(points).all(axis=1)] = np.nan
    return points
