"""Stage: validate a data set and report everything that is wrong with it, rather than the first thing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from augment import audit
from augment.data import deepfashion, keypoints, search
from augment.data.images import glance, read_image
from augment.data.pairs import read_pairs
from augment.data.read import PUBLISHED, survey
from augment.data.records import DISTRACTOR, UNKNOWN_CAMERA, DataSet, Record
from augment.data.subsets import origin
from augment.data.survey import MOST_NAMED, some
from augment.plan import COLUMNS

OFFICIAL = {  # folders in the published archives
    "Market-1501-v15.09.15": "Market-1501",
    "DukeMTMC-reID": "DukeMTMC-reID",
    "MSMT17_V1": "MSMT17",
    "MSMT17_V2": "MSMT17",
}


@dataclass
class Report:
    """Counts of a data set; errors make it unusable, warnings do not, notes say what results of it mean."""

    root: Path
    title: str = ""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    published: dict[str, dict[str, int]] = field(default_factory=dict)  # of the data set that this seems to be
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"root": str(self.root)}


def check(data: Path, *, poses: Path | None = None, deep: bool = False) -> Report:
    """Validate the root of a data set or a manifest.

    `deep` decodes every image instead of its header and its end.

    Raises:
        ValueError: there is nothing to check: no such root, or one without its folders, lists or columns.
    """
    surveyed = survey(data)
    dataset = surveyed.dataset
    report = Report(data, dataset.title, errors=list(surveyed.errors), notes=list(dataset.notes))
    fashion = dataset.title == deepfashion.TITLE
    splits = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
    for split, records in splits.items():
        counts = {"junk": surveyed.junk[split]} if split in surveyed.junk else {}
        report.counts[split] = counts | _count(records, dataset.has_cameras)
        if not records and split != "train" and not (fashion and split == "query"):
            report.warnings.append(f"{split}: no images")
    _compare_published(dataset, report)
    sizes = _check_images([record for records in splits.values() for record in records], deep, report)
    if len(sizes) > 1:
        listed = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[:MOST_NAMED])
        several = f"images of {len(sizes)} sizes ({listed}): generators need one size"
        (report.errors if fashion else report.warnings).append(several)
    _check_points(dataset, poses, report)
    shared = audit.identity_overlap(dataset)
    if shared:
        report.errors.append(f"{len(shared)} identities are both in training and in query or gallery: {some(shared)}")
    _check_search(dataset, report)
    _check_numbers(dataset.train, report)
    _check_subset(dataset, report)
    if fashion:
        _check_fashion(dataset, sizes, report)
    return report


def _count(records: tuple[Record, ...], has_cameras: bool) -> dict[str, int]:
    return {
        "images": len(records),
        "identities": len({record.pid for record in records} - {DISTRACTOR}),
        "cameras": len({record.camid for record in records} - {UNKNOWN_CAMERA}) if has_cameras else 0,
        "distractors": sum(record.pid == DISTRACTOR for record in records),
    }


def _compare_published(dataset: DataSet, report: Report) -> None:
    """Beside the published figures, if the folder's name or a split's size says that it is that data set."""
    published = PUBLISHED.get(dataset.title, {})
    same = [split for split, counts in published.items() if counts == {k: report.counts[split][k] for k in counts}]
    if not published or not (same or OFFICIAL.get(dataset.root.resolve().name) == dataset.title):
        return
    report.published = published
    for split in (split for split in published if split not in same):
        wanted, found = published[split], report.counts[split]
        report.warnings.append(
            f"{split}: {found['images']:,} images of {found['identities']:,} identities, published {dataset.title} has "
            f"{wanted['images']:,} of {wanted['identities']:,}: an incomplete copy, or another split"
        )


def _check_search(dataset: DataSet, report: Report) -> None:
    """Queries that nothing can be found for."""
    lost = search.unmatched(dataset)
    if not lost:
        return
    across = " from another camera" if dataset.has_cameras else ""
    report.warnings.append(
        f"query: {len(lost)} of {len(dataset.query)} have no image of the same identity{across} in the gallery, so "
        f"{'there is nothing to evaluate' if len(lost) == len(dataset.query) else 'they are not scored'}: "
        f"{some(record.name for record in lost)}"
    )


def _check_numbers(train: tuple[Record, ...], report: Report) -> None:
    """Identities and cameras that the columns of a synthetic set cannot hold."""
    for column, what in (("pid", "identities"), ("camid", "cameras")):
        most = int(np.iinfo(COLUMNS[column]).max)
        large = sorted({number for record in train if (number := getattr(record, column)) > most})
        if large:
            report.warnings.append(
                f"train: {len(large)} {what} above {most} ({some(large)}), which no synthetic set can hold: number "
                "them lower before `augment synthesize`"
            )


def _check_subset(dataset: DataSet, report: Report) -> None:
    """Of what these are a share: results of a part say little about the whole."""
    try:
        whole = origin(dataset)
    except ValueError as error:
        report.errors.append(str(error))
        return
    if whole is not None:
        report.notes.append(
            f"made by `augment subset` of a {whole.title} root (training split {whole.data_digest[:12]}...): {whole}, "
            f"of {whole.identities:,} identities"
        )


def _check_images(records: list[Record], deep: bool, report: Report) -> set[tuple[int, int]]:
    """The sizes that occur."""
    broken, sizes = [], set()
    for record in records:
        try:
            sizes.add(read_image(record.path).shape[:2] if deep else glance(record.path))
        except ValueError as error:
            broken.append(str(error))
    if broken:
        report.errors.append(f"{len(broken)} unreadable images: {some(broken, separator='; ')}")
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
            report.warnings.append(f"{split}: {len(absent)} images without key points: {some(absent)}")
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
