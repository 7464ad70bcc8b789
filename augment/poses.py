"""Stage: key points of any images, in PATN's format, by a pose estimator or from COCO's annotations.

OUT.csv            appears when it is whole
OUT.csv.json       by which estimator, with which weights, of which images
OUT.csv.partial    what a run that was stopped has found so far; the same command goes on from there

A joint whose nearest pixel lies outside of its image is missing: PATN's format has no place for it.
"""

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from augment import files, interruption, runs, sheets
from augment.backbones import MissingWeights
from augment.coco import RULE, read_coco
from augment.data import deepfashion, keypoints, market1501, msmt17
from augment.data.images import glance, read_image
from augment.data.keypoints import Points, annotation_line
from augment.data.read import survey
from augment.data.survey import Survey
from augment.estimators import ESTIMATORS, make_estimator, unused_gpu
from augment.pose_estimation import PersonDetector, inside, provenance_path
from augment.sheet_path import require_sheet
from augment.unfinished_poses import Unfinished, differing

SPLITS = ("all", "train", "test")  # test: query and gallery
SAVE_SECONDS = 20.0  # between two saves of what was found
SHEET_IMAGES, SHEET_GROUPS, SHEET_SCALE = 24, 4, 3
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PosesConfig:
    """Which estimator, and of which split; images that lie in a plain folder have no splits."""

    estimator: str = ESTIMATORS[0]
    split: str = SPLITS[0]
    batch: int = 32  # images handed to the estimator at a time
    recursive: bool = False  # in a plain folder: also those of the folders in it

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ValueError(f"--estimator {self.estimator}: expected one of {', '.join(ESTIMATORS)}")
        if self.split not in SPLITS:
            raise ValueError(f"--split {self.split}: expected one of {', '.join(SPLITS)}")
        if self.batch < 1:
            raise ValueError(f"--batch {self.batch}: must be at least 1")


@dataclass(frozen=True)
class Job:
    """Images that can be annotated, and by what; `given` are key points that need no estimator."""

    images: tuple[Path, ...]
    out: Path
    determining: dict[str, Any]
    estimator: PersonDetector | None
    given: dict[str, Points] | None
    finished: bool
    unfinished: Unfinished

    def __str__(self) -> str:
        by = self.determining["pose_estimator"]["estimator"]
        done = len(self.images) if self.finished else len(self.unfinished.known())
        return f"{len(self.images):,} images by {by}, {done:,} of them done, into {self.out}"


def prepare(
    config: PosesConfig,
    data: Path,
    out: Path,
    *,
    weights: Path | None = None,
    coco: Path | None = None,
    coco_images: Path | None = None,
    sheet: Path | None = None,
    device: str = "auto",
    force: bool = False,
) -> Job:
    """Find the images, glance at each, and load what annotates them.

    Raises:
        MissingWeights, MissingExtra: the estimator is not there.
        ValueError: bad data, weights or annotations; `out` is something else, or was begun or made by something else;
            `sheet` would be one of the images, or is no PNG.
    """
    if out.suffix.lower() != ".csv":
        raise ValueError(f"--out {out}: expected the name of a .csv file")
    images = find_images(data, config.split, recursive=config.recursive)
    if sheet is not None:
        read = {data, *(image.parent for image in images)} if data.is_dir() else set()
        require_sheet(sheet, sorted(read), below=config.recursive)
    sizes = {image.name: glance(image) for image in images}
    if coco is None:
        estimator, given = _open_estimator(config.estimator, weights, device), None
        by = estimator.provenance
    else:
        estimator, given = None, read_coco(coco, images, coco_images)
        given = {name: inside(points[None], sizes[name])[0] for name, points in given.items()}
        by = {"estimator": "COCO annotations", "file_sha256": files.sha256(coco), "rule": RULE}
        by |= {} if coco_images is None else {"images_sha256": files.sha256(coco_images)}
    checksums = {image.name: zlib.crc32(image.read_bytes()) for image in images}
    determining = {"pose_estimator": by, "images": len(images), "images_digest": _digest(checksums)}
    finished = out.exists() and not force
    if finished:
        _require_same(out, determining)
    return Job(images, out, determining, estimator, given, finished, Unfinished(out, by, checksums, force=force))


def run(
    config: PosesConfig,
    data: Path,
    out: Path,
    *,
    weights: Path | None = None,
    coco: Path | None = None,
    coco_images: Path | None = None,
    sheet: Path | None = None,
    device: str = "auto",
    force: bool = False,
    progress: Progress = lambda done, total: None,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Annotate the images of `data` into `out`; a kill loses what was found in the last half minute.

    Raises:
        ValueError: see `prepare`; or an image cannot be decoded.
        Preempted: stopped by SIGTERM; what was found is saved, as it is on SIGINT.
    """
    job = prepare(
        config, data, out, weights=weights, coco=coco, coco_images=coco_images, sheet=sheet, device=device, force=force
    )  # fmt: skip
    if job.finished:
        log("already done")
    else:
        if device == "auto" and job.estimator is not None and (line := unused_gpu(job.estimator)):
            log(line)
        files.remove_parts(out.parent)
        lines = _given_lines(job, log) if job.given is not None else _estimate(job, config.batch, progress)
        _publish(job, config.split, lines)
        job.unfinished.path.unlink(missing_ok=True)
    points = keypoints.read_annotation(out)
    log(_summary(points))
    if sheet is not None:
        draw(job.images, points, sheet)
    return out


def find_images(data: Path, split: str = SPLITS[0], *, recursive: bool = False) -> tuple[Path, ...]:
    """The images of a split of a data set, junk left out, or those in a plain folder, directly or (`recursive`) below.

    Raises:
        ValueError: bad data, no images, a split of a plain folder, names that no annotation file can hold.
    """
    if recursive or _is_plain(data):
        if split != "all":
            raise ValueError(f"--split {split}: {data} is a plain folder of images, without splits; leave --split out")
        images = _images_below(data) if recursive else tuple(market1501.image_files(data))
    else:
        dataset = _survey(data).usable()
        parts = {"train": dataset.train, "test": (*dataset.query, *dataset.gallery)}
        records = parts[split] if split != "all" else (*parts["train"], *parts["test"])
        images = tuple(record.path for record in records)
    if not images:
        raise ValueError(f"--split {split}: {data} has no such images; take another split")
    name, count = Counter(image.name for image in images).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{count} images are named {name}; key points go by file name: rename the images apart")
    for image in images:
        if ":" in image.name or image.name != image.name.strip() or len(image.name.splitlines()) > 1:
            raise ValueError(f"{image}: a colon, or blanks at the ends, cannot be in a key-point file; rename it")
    return images


def draw(images: Sequence[Path], points: dict[str, Points], sheet: Path) -> Path:
    """A sheet of some images, evenly spread over all, with and without their skeletons."""
    annotated = [image for image in images if image.name in points]
    chosen = np.linspace(0, len(annotated) - 1, min(SHEET_IMAGES, len(annotated))).round().astype(int)
    rows, labels = [], []
    for image in (annotated[index] for index in chosen):
        pixels = read_image(image)
        found = 18 - int(np.isnan(points[image.name]).any(axis=1).sum())
        rows.append((pixels, _overlay(pixels, points[image.name])))
        labels.append(f"{image.name}: {found} of 18")
    return sheets.write_sheet(sheet, rows, ["image", "joints"], SHEET_SCALE, SHEET_GROUPS, labels=labels)


def _estimate(job: Job, batch: int, progress: Progress) -> list[str]:
    """A line for each image; saved from time to time, and when the process is asked to stop or interrupted."""
    assert job.estimator is not None
    unfinished = job.unfinished
    known = unfinished.known()
    missing = [image for image in job.images if image.name not in known]
    with interruption.on_sigterm() as sigterm:
        try:
            for start in range(0, len(missing), batch):
                block = missing[start : start + batch]
                for image, points in zip(block, _find(job.estimator, block), strict=True):
                    line = annotation_line(image.name, points)
                    unfinished.add(image.name, line)
                    known[image.name] = line
                unfinished.save(after=0.0 if sigterm.requested else SAVE_SECONDS)
                progress(len(known), len(job.images))
                sigterm.raise_if_requested(str(unfinished.path))
        except KeyboardInterrupt:
            if known:
                unfinished.save()
            raise
    return [known[image.name] for image in job.images]


def _find(estimator: PersonDetector, images: Sequence[Path]) -> list[Points]:
    """Key points in the order of the images, which may be of several sizes."""
    pixels = [read_image(image) for image in images]
    found: dict[int, Points] = {}
    for size in dict.fromkeys(each.shape[:2] for each in pixels):
        places = [place for place, each in enumerate(pixels) if each.shape[:2] == size]
        people = inside(estimator(np.stack([pixels[place] for place in places])), size)
        found |= dict(zip(places, people, strict=True))
    return [found[place] for place in range(len(images))]


def _given_lines(job: Job, log: Callable[[str], None]) -> list[str]:
    assert job.given is not None
    if lacking := len(job.images) - len(job.given):
        log(f"{lacking:,} images are not in the annotations, and get no line")
    return [annotation_line(name, points) for name, points in job.given.items()]


def _publish(job: Job, split: str, lines: Sequence[str]) -> None:
    """The annotation comes last: where it lies, what made it is said beside it."""
    data = ("\n".join([keypoints.HEADER, *lines]) + "\n").encode()
    versions = runs.versions(runs.OF_METRICS)
    said = {"annotation_sha256": hashlib.sha256(data).hexdigest(), "split": split, "versions": versions}
    files.write_json(provenance_path(job.out), {"schema": 1, **job.determining, **said})
    files.write_atomic(job.out, data)


def _summary(points: dict[str, Points]) -> str:
    stacked = np.stack(list(points.values()))
    nobody = int(np.isnan(stacked).all(axis=(1, 2)).sum())
    usable = int(keypoints.has_torso(stacked).sum())
    return f"{len(points):,} images: {nobody:,} without a person, {usable:,} with both shoulders and both hips"


def _overlay(pixels: UInt8[np.ndarray, "h w 3"], points: Points) -> UInt8[np.ndarray, "kh kw 3"]:
    """The skeleton over the enlarged image."""
    height, width = pixels.shape[:2]
    bones = sheets.draw_skeleton(points, (height, width), SHEET_SCALE)
    ground = sheets.draw_skeleton(np.full_like(points, np.nan), (height, width), SHEET_SCALE)
    enlarged = pixels.repeat(SHEET_SCALE, axis=0).repeat(SHEET_SCALE, axis=1)
    return np.where((bones != ground).any(axis=2, keepdims=True), bones, enlarged)


def _images_below(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        raise ValueError(f"--recursive: {folder} is no folder; leave it out")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in market1501.IMAGE_SUFFIXES and path.is_file())
    return tuple(sorted(found))


def _is_plain(data: Path) -> bool:
    """A folder with images in it that is no data set's root."""
    if not data.is_dir() or not market1501.image_files(data):
        return False
    return market1501.find_folders(data) is None and not msmt17.is_root(data) and not deepfashion.is_root(data)


def _survey(data: Path) -> Survey:
    try:
        return survey(data)
    except ValueError as error:
        if not data.is_dir():
            raise
        kinds = ", ".join(sorted(market1501.IMAGE_SUFFIXES))
        raise ValueError(f"{error}; or give a folder that has images directly in it ({kinds})") from None


def _open_estimator(name: str, weights: Path | None, device: str) -> PersonDetector:
    try:
        return make_estimator(name, weights, device)
    except MissingWeights as error:
        raise MissingWeights(f"{error}, or give --weights FILE") from None


def _digest(checksums: Mapping[str, int]) -> str:
    """SHA-256 over the sorted names of the files and the CRC-32 of what is in them."""
    lines = sorted(f"{name} {checksum:08x}" for name, checksum in checksums.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _require_same(out: Path, determining: dict[str, Any]) -> None:
    """A finished annotation is left alone only if it is the one that was asked for."""
    remedy = "choose another --out, or --force to make it again"
    path = provenance_path(out)
    if not path.is_file():
        raise ValueError(f"{out}: is there, and nothing says by what it was made; {remedy}")
    said = files.read_json(path)
    if not isinstance(said, dict) or said.get("annotation_sha256") != files.sha256(out):
        raise ValueError(f"{out}: is not the file that {path.name} tells of; {remedy}")
    there = {key: said.get(key) for key in determining}
    if there["pose_estimator"] != determining["pose_estimator"]:
        changes = differing(there["pose_estimator"], determining["pose_estimator"])
        raise ValueError(f"{out}: was made by another estimator ({changes}); {remedy}")
    if there["images"] != determining["images"]:
        raise ValueError(f"{out}: was made of other images ({there['images']}, now {determining['images']}); {remedy}")
    if there != determining:
        raise ValueError(f"{out}: was made of other images, or of these before a file was changed; {remedy}")
