"""Training images of one data set, query and gallery of another.

Numbers mean people within a data set only: person 2 of Market-1501 is not person 2 of DukeMTMC-reID. So the identities
of the test set are shifted beyond those of the training set, which keep theirs, as a synthetic set knows them by. Two
roots of one data set (copies, other splits, other sizes, masked faces) are told by pictures that have the same names
and look the same: there a number means one person in both, nothing is shifted, and `augment.audit.require_disjoint`
sees who is on both sides. Somebody who was photographed for two data sets under different names cannot be told.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from PIL import Image

from augment import files
from augment.data.images import read_image
from augment.data.records import DISTRACTOR, DataSet, Record
from augment.data.survey import some

COMPARED = 64  # pictures of one name that are looked at
THUMBNAIL = (8, 16)  # width, height
ALIKE = 0.9  # correlation of two thumbnails: of procedural people's at most 0.89, re-encoded or scaled 0.98 and more


def cross(train: DataSet, test: DataSet) -> DataSet:
    """The training images of `train`, query and gallery of `test`; key points are those of `test`.

    Raises:
        ValueError: a training image is in query or gallery too, or has the name of another one there; or pictures that
            are in both sets show different people by their numbers.
    """
    _require_no_copies(train, test)
    shared = _shared(train, test)
    renumbered = [(ours, theirs) for ours, theirs in shared if ours.pid != theirs.pid]
    if renumbered:
        ours, theirs = renumbered[0]
        raise ValueError(
            f"{train.root} and {test.root}: {len(renumbered)} pictures are in both with other identities ({ours.name}: "
            f"{ours.pid} and {theirs.pid}), so nobody can tell who is trained on and tested: number people alike"
        )
    if shared:
        shift, why = 0, f"{len(shared)} pictures are in both, so a number means the same person in both"
    else:
        _require_own_names(train, test)
        shift = 10 ** len(str(max(record.pid for record in train.train)))
        why = f"identities of query and gallery are shifted by {shift}"
    query, gallery = (
        tuple(r if r.pid == DISTRACTOR else replace(r, pid=r.pid + shift) for r in split)
        for split in (test.query, test.gallery)
    )
    return DataSet(
        train.root,
        train.train,
        query,
        gallery,
        test.annotations,
        title=f"{train.title} -> {test.title}",
        has_cameras=test.has_cameras,
        train_notes=train.train_notes,
        test_notes=(*test.test_notes, f"trained on {train.root}, tested on {test.root}: {why}"),
        test_root=test.root,
        test_shift=shift,
    )


def _require_no_copies(train: DataSet, test: DataSet) -> None:
    """Refuse training images that are also searched, byte for byte, whatever they are called."""
    sizes = [(record.path.stat().st_size, record) for record in train.train]
    theirs = [(record.path.stat().st_size, record) for record in (*test.query, *test.gallery)]
    common = {size for size, _ in sizes} & {size for size, _ in theirs}
    known = {files.sha256(record.path): record for size, record in sizes if size in common}
    copies = [
        f"{known[found].name} is {record.name}"
        for size, record in theirs
        if size in common and (found := files.sha256(record.path)) in known
    ]
    if copies:
        raise ValueError(
            f"{train.root}: {len(copies)} of its training images are in query or gallery of {test.root} ({some(copies)}"
            "); results would be leaked: remove them from one of the sets"
        )


def _shared(train: DataSet, test: DataSet) -> list[tuple[Record, Record]]:
    """Pictures of people with one name in both sets, if they do look the same."""
    named = {record.name: record for record in _people(train)}
    pairs = [(named[record.name], record) for record in _people(test) if record.name in named]
    looked_at = pairs[:: -(-len(pairs) // COMPARED) or 1]
    alike = sum(_correlation(_thumbnail(ours.path), _thumbnail(theirs.path)) >= ALIKE for ours, theirs in looked_at)
    return pairs if 2 * alike > len(looked_at) else []


def _people(dataset: DataSet) -> Sequence[Record]:
    return [r for r in (*dataset.train, *dataset.query, *dataset.gallery) if r.pid != DISTRACTOR]


def _thumbnail(path: Path) -> Float64[np.ndarray, "h w"]:
    grey = Image.fromarray(read_image(path)).convert("L")
    return np.asarray(grey.resize(THUMBNAIL, Image.Resampling.BOX), np.float64)


def _correlation(first: Float64[np.ndarray, "h w"], second: Float64[np.ndarray, "h w"]) -> float:
    """1 where both are uniform, and so tell nothing apart."""
    a, b = first - first.mean(), second - second.mean()
    length = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / length if length else 1.0


def _require_own_names(train: DataSet, test: DataSet) -> None:
    """Refuse names that stand for two images: key points and the sources of synthetic sets go by name."""
    names = {record.name for record in train.train}
    common = sorted(record.name for record in (*test.query, *test.gallery) if record.name in names)
    if common:
        raise ValueError(
            f"{train.root}: {len(common)} of its training images are named as other images in query or gallery of "
            f"{test.root} ({some(common)}); images are known by name here: rename those of one set"
        )
