"""What must hold of a synthetic set beside the data that it was made of: sources, target poses, no test identity."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from augment import plan, store
from augment.data import keypoints
from augment.data.images import glance
from augment.data.read import read_data
from augment.data.records import DISTRACTOR, DataSet, Record
from augment.integrity import NotCheckedError, Subject, configs, is_stamped, some
from augment.plan import UNKNOWN

TOLERANCE = 0.5  # of a pixel: files of key points hold whole ones


@dataclass(frozen=True)
class Data:
    """A data set with its key points, None where it has none."""

    dataset: DataSet
    points: dict[str, keypoints.Points] | None

    @property
    def test(self) -> dict[str, Record]:
        """Images of query and gallery by name."""
        return {record.name: record for record in (*self.dataset.query, *self.dataset.gallery)}


def open_data(path: Path, annotation: Path | None = None) -> Data:
    """Read DATA, and the key points that are given or lie in it.

    Raises:
        ValueError: bad data or key points.
    """
    dataset = read_data(path)
    there = annotation is not None or dataset.annotations
    return Data(dataset, keypoints.dataset_points(dataset, annotation) if there else None)


def same_data(subject: Subject, data: Data) -> str:
    """The set was made of this training split and these key points."""
    said = subject.attributes
    if said["data_digest"] != data.dataset.digest:
        raise ValueError(f"made of another training split ({_digests(said['data_digest'], data.dataset.digest)})")
    if "points_digest" not in said:
        return "the same training split; the set names no key points"
    if data.points is None:
        return "the same training split; key points not compared, DATA holds none (--annotation FILE)"
    found = keypoints.digest(keypoints.usable(data.dataset.train, data.points), data.points)
    if said["points_digest"] != found:
        raise ValueError(f"made with other key points ({_digests(said['points_digest'], found)})")
    return "the same training split and key points"


def sources(subject: Subject, data: Data) -> str:
    """Every row is of an image of the data, with that image's identity and camera."""
    known = _admitted(subject, data)
    index, used = subject.column("source_index"), _used(subject, "source_index")
    strange = [subject.names[i] for i in used if subject.names[i] not in known]
    if strange:
        raise ValueError(
            f"{len(strange):,} of {len(used):,} sources are no training images: {some(map(ascii, strange))}"
        )
    for name, value in (("pid", lambda record: record.pid), ("camid", lambda record: record.camid)):
        of_file = np.zeros(len(subject.names), np.int64)
        of_file[used] = [value(known[subject.names[i]]) for i in used]
        wrong = np.flatnonzero(subject.column(name) != of_file[index]).tolist()
        if wrong:
            raise ValueError(
                f"{len(wrong):,} of {len(index):,} rows have another {name} than their source: {some(wrong, 'row')}"
            )
    return f"{len(used):,} images, {len(np.unique(subject.column('pid'))):,} identities"


def no_leak(subject: Subject, data: Data) -> str:
    """No image of query or gallery is a source or a target, and no identity of theirs is shown."""
    used = {subject.names[i] for name in ("source_index", "target_index") for i in _used(subject, name)}
    images = sorted(used & data.test.keys())
    people = sorted(set(subject.column("pid").tolist()) & {record.pid for record in data.test.values()} - {DISTRACTOR})
    if not images and not people:
        return "none"
    found = f"images of query and gallery: {len(images):,}, identities of theirs: {len(people):,}"
    if is_stamped(subject):
        return f"{found}, as the set admits; train-reid refuses it"
    raise ValueError(f"{found} ({some([*people, *map(ascii, images)])})")


def poses(subject: Subject, data: Data) -> str:
    """Stored target poses are those of their targets, moved to the size of the images; of no target, there are none."""
    if data.points is None:
        raise NotCheckedError("DATA holds no key points; give them with --annotation FILE")
    known = _admitted(subject, data)
    used = _used(subject, "target_index")
    elsewhere = {int(i) for i in used if subject.names[i] not in known}
    if elsewhere and not any("poses_sha256" in config for config in configs(subject.attributes)):
        strange = sorted(subject.names[i] for i in elsewhere)
        raise ValueError(
            f"{len(strange):,} of {len(used):,} targets are no training images: {some(map(ascii, strange))}"
        )
    size = store.Reader(next(iter(subject.parts))).size
    expected = np.full((len(subject.names) + 1, len(keypoints.JOINTS), 2), np.nan, np.float32)  # the last: of no target
    tolerance = np.zeros((len(expected), 1, 1), np.float32)
    for i in set(used.tolist()) - elsewhere:
        record = known[subject.names[i]]
        subject.alive()
        if record.name in data.points:
            scale = np.asarray(size, np.float32) / glance(record.path)
            expected[i], tolerance[i] = data.points[record.name] * scale, TOLERANCE * scale.max()
    wrong: list[int] = []
    counts = {"compared": 0, "unknown": 0, "of no image of DATA": 0}
    for place in plan.blocks(subject.rows):
        subject.alive()
        target, stored = subject.column("target_index", place), subject.column("target_pose", place)
        foreign = np.isin(target, list(elsewhere))
        unknown = ~foreign & _may_be_unknown(subject, expected[target]) & np.isnan(stored).all(axis=(1, 2))
        compared = ~foreign & ~unknown
        differs = compared & _differ(stored, expected[target], tolerance[target])
        wrong += (place.start + np.flatnonzero(differs)).tolist()
        for name, rows in zip(counts, (compared, unknown, foreign), strict=True):
            counts[name] += int(rows.sum())
    if wrong:
        raise ValueError(
            f"{len(wrong):,} of {subject.rows:,} target poses are not those of their targets: {some(wrong, 'row')}"
        )
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def _may_be_unknown(subject: Subject, expected: Float[np.ndarray, "n k 2"]) -> Bool[np.ndarray, " n"]:
    """Whether each pose is known to nobody, or the set says that it was made without key points."""
    if "points_digest" not in subject.attributes:
        return np.ones(len(expected), np.bool_)
    return np.asarray(np.isnan(expected).all(axis=(1, 2)))


def _differ(
    stored: Float[np.ndarray, "n k 2"], expected: Float[np.ndarray, "n k 2"], tolerance: Float[np.ndarray, "n 1 1"]
) -> Bool[np.ndarray, " n"]:
    missing = np.isnan(stored)
    apart = ~missing & ~(np.abs(stored - expected) <= tolerance)  # infinite ones as well
    return np.asarray(((missing != np.isnan(expected)) | apart).any(axis=(1, 2)))


def _admitted(subject: Subject, data: Data) -> dict[str, Record]:
    """Images that may be sources and targets, by name."""
    train = {record.name: record for record in data.dataset.train}
    return data.test | train if is_stamped(subject) else train


def _used(subject: Subject, name: str) -> np.ndarray:
    """The files that a column refers to."""
    index = np.unique(subject.column(name))
    return index[index != UNKNOWN]


def _digests(said: Any, found: str) -> str:
    return f"{str(said)[:12]}..., this has {found[:12]}..."
