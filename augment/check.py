"""Stage: validate a data set and report everything that is wrong with it, rather than the first thing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augment import audit
from augment.data import deepfashion, keypoints, market1501
from augment.data.images import glance, read_image
from augment.data.manifest import read_manifest
from augment.data.pairs import read_pairs
from augment.data.records import DISTRACTOR, JUNK, NO_CAMERA, DataSet, Record

MOST_NAMED = 5


@dataclass
class Report:
    """Counts of a data set; errors make it unusable, warnings do not."""

    root: Path
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"root": str(self.root), "counts": self.counts, "errors": self.errors, "warnings": self.warnings}


def check(data: Path, *, poses: Path | None = None, deep: bool = False) -> Report:
    """Validate a Market-1501 or DeepFashion root or a manifest.

    `deep` decodes every image instead of its header and its end.

    Raises:
        ValueError: there is nothing to check: no such root, or a manifest that does not parse.
    """
    report = Report(data)
    dataset = read_manifest(data) if data.is_file() else _read_tolerantly(data, report)
    splits = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
    for split, records in splits.items():
        report.counts.setdefault(split, {}).update(_count(records))
        if not records and (dataset.has_cameras or split != "query"):
            (report.errors if split == "train" else report.warnings).append(f"{split}: no images")
    sizes = _check_images([record for records in splits.values() for record in records], deep, report)
    if len(sizes) > 1:
        listed = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[:MOST_NAMED])
        several = f"images of {len(sizes)} sizes ({listed}): generators need one size"
        (report.warnings if dataset.has_cameras else report.errors).append(several)
    _check_points(dataset, poses, report)
    shared = audit.identity_overlap(dataset)
    if shared:
        report.errors.append(f"{len(shared)} identities are both in training and in query or gallery: {_some(shared)}")
    if not data.is_file() and deepfashion.is_root(data):
        _check_fashion(dataset, sizes, report)
    return report


def _read_tolerantly(root: Path, report: Report) -> DataSet:
    """A root whose images with wrong names are reported and left out."""
    layout = deepfashion if deepfashion.is_root(root) else market1501
    folders = layout.find_folders(root)
    records: dict[str, tuple[Record, ...]] = {}
    for split, folder in (("train", folders.train), ("query", folders.query), ("gallery", folders.gallery)):
        parsed = [(path, layout.parse_name(path.name)) for path in market1501.image_files(folder)] if folder else []
        wrong = [path for path, name in parsed if name is None]
        if wrong:
            report.errors.append(
                f"{folder}: {len(wrong)} names that tell no identity and camera: {_some(path.name for path in wrong)}"
            )
        named = [Record(path, *name) for path, name in parsed if name is not None]
        report.counts[split] = {"junk": sum(record.pid == JUNK for record in named)}
        records[split] = tuple(record for record in named if record.pid != JUNK)
    annotations = layout.find_annotations(root, folders.root)
    lists = (market1501.find_pairs(name, root, folders.root) for name in layout.PAIRS)
    return DataSet(folders.root, records["train"], records["query"], records["gallery"], annotations, *lists)


def _count(records: tuple[Record, ...]) -> dict[str, int]:
    return {
        "images": len(records),
        "identities": len({record.pid for record in records} - {DISTRACTOR}),
        "cameras": len({record.camid for record in records} - {NO_CAMERA}),
        "distractors": sum(record.pid == DISTRACTOR for record in records),
    }


def _check_images(records: list[Record], deep: bool, report: Report) -> set[tuple[int, int]]:
    """The sizes that occur."""
    broken, sizes = [], set()
    for record in records:
        try:
            sizes.add(read_image(record.path).shape[:2] if deep else glance(record.path))
        except ValueError as error:
            broken.append(str(error))
    if broken:
        report.errors.append(f"{len(broken)} unreadable images: {_some(broken, separator='; ')}")
    return sizes


def _check_points(dataset: DataSet, poses: Path | None, report: Report) -> None:
    try:
        points = keypoints.dataset_points(dataset, poses)
    except ValueError as error:
        (report.warnings if poses is None and not dataset.annotations else report.errors).append(str(error))
        return
    for split, records in (("train", dataset.train), ("query", dataset.query), ("gallery", dataset.gallery)):
        annotated = [record for record in records if record.name in points]
        complete = sum(bool(keypoints.has_torso(points[record.name])) for record in annotated)
        report.counts[split] |= {"annotated": len(annotated), "with_shoulders_and_hips": complete}
        absent = [record.name for record in records if record.name not in points]
        if absent and split == "train":
            report.warnings.append(f"{split}: {len(absent)} images without key points: {_some(absent)}")
        if records and annotated and not complete:
            report.errors.append(f"{split}: no image has all of shoulders and hips; the pose estimator failed on all")
    _check_pairs(dataset, points, report)


def _check_pairs(dataset: DataSet, points: Mapping[str, keypoints.Points], report: Report) -> None:
    test = (*dataset.query, *dataset.gallery)
    for split, path, records in (("train", dataset.pairs, dataset.train), ("gallery", dataset.test_pairs, test)):
        if path is None:
            continue
        posed = [r for r in records if r.name in points and keypoints.has_torso(points[r.name])]
        try:
            report.counts[split]["listed_pairs"] = len(read_pairs(path, posed))
        except ValueError as error:
            report.errors.append(str(error))


def _check_fashion(dataset: DataSet, sizes: set[tuple[int, int]], report: Report) -> None:
    if len(sizes) == 1 and sizes != {deepfashion.SIZE}:
        (height, width), (right_height, right_width) = *sizes, deepfashion.SIZE
        report.warnings.append(
            f"images of {height}x{width} pixels: PATN's key points are for {right_height}x{right_width}; crop the "
            "images as PATN does (40 columns off each side of 256x256), or give key points of your own"
        )
    shared = deepfashion.shared_persons(dataset)
    if shared:
        report.warnings.append(
            f"{shared} persons are both in training and in the gallery, in other clothes (in PATN's published split: "
            "503); test images of them say less about unseen people"
        )


def _some(values: Iterable[object], separator: str = ", ") -> str:
    listed = [str(value) for value in values]
    return separator.join(listed[:MOST_NAMED]) + (
        f"{separator}and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
    )
