"""Stage: images that any other generator made, such as a diffusion model, as a synthetic set.

A table says of which training image each was made (`image_table`), so that the set is audited as our own are.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from augment import audit, files, runs, store
from augment.data import keypoints
from augment.data.images import UNREADABLE, glance
from augment.data.read import read_data
from augment.data.records import DataSet, Record
from augment.image_table import ImageTable, read_table, require_none, unlisted
from augment.plan import UNKNOWN, Plan
from augment.replacing import standing_set
from augment.store.shards import created
from augment.version import __version__

FORMATS, MODES = ("JPEG", "PNG"), ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
OPAQUE = 255
IDENTIFYING = ("config", "generator", "data_digest", "points_digest", audit.TEST_IDENTITIES)
BATCH = 64  # images in memory at a time
Log = Callable[[str], None]


@dataclass(frozen=True)
class ImportConfig:
    """How to read the images. `size` (h, w) resizes them: by area where they shrink, else bicubically."""

    generator_name: str
    size: tuple[int, int] | None = None
    ignore_unlisted: bool = False
    allow_test_identities: bool = False

    def __post_init__(self) -> None:
        if not self.generator_name.strip() or not self.generator_name.isprintable():
            raise ValueError(f"--generator-name {self.generator_name!r}: expected the name of what made the images")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"--size {self.size[0]}x{self.size[1]}: expected at least one pixel each way")


@dataclass(frozen=True)
class Job:
    """A set that can be written: everything that is known before the first pixel."""

    folder: Path
    table: ImageTable
    plan: Plan
    size: tuple[int, int]
    resize: bool
    provenance: dict[str, Any]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        targeted = self.plan.target_index != UNKNOWN
        has_pose = np.asarray(~np.isnan(self.plan.poses).all(axis=(1, 2)))
        posed = np.count_nonzero(targeted & has_pose[self.plan.target_index])
        lines = [
            ("images", f"{len(self.plan):,} of {self.size[0]} x {self.size[1]} pixels"),
            ("identities", f"{len(np.unique(self.plan.pid)):,}"),
            ("sources", f"{len(np.unique(self.plan.source_index)):,}"),
            ("with a known target", f"{np.count_nonzero(targeted):,}, {posed:,} with key points"),
        ]
        return "\n".join(f"{name:>20}  {value}" for name, value in lines)


def prepare(config: ImportConfig, folder: Path, table: Path, data: Path, *, poses: Path | None = None) -> Job:
    """Read table and data, look at every image's header and audit where the images come from.

    Raises:
        ValueError: a table that contradicts folder or data (up to five rows are named), images that are unreadable, of
            several sizes or not in the table, sources or targets of query or gallery.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give the one that holds the images")
    dataset = read_data(data)
    if not config.allow_test_identities:
        audit.require_disjoint(dataset)
    listed = read_table(table, folder, dataset, config.allow_test_identities)
    notes = [f"columns without a meaning here: {', '.join(listed.columns)}"] if listed.columns else []
    if extra := unlisted(listed.rows, folder):
        few = ", ".join(extra[:5]) + (", ..." if len(extra) > 5 else "")
        if not config.ignore_unlisted:
            raise ValueError(
                f"{folder}: {len(extra)} images are not in {table} ({few}); list them, or leave them out with "
                "--ignore-unlisted"
            )
        notes.append(f"{len(extra)} images that are not in the table are left out ({few})")
    size, images_sha256 = _examine(config, folder, listed, table)
    points, points_digest = _points(dataset, listed, poses)
    notes += _missing_poses(listed, points)
    plan = _plan(listed, points, size)
    provenance = {
        "tool": f"reid-augment {__version__}",
        "created": created(),
        "config": {
            "command": "import",
            "size": config.size and list(config.size),
            "table_sha256": files.sha256(table),
            "images_sha256": images_sha256,
        },
        "generator": {"model": config.generator_name, "preset": "imported", "weights_sha256": None},
        "data_digest": dataset.digest,
        "versions": runs.versions(),
        **({"points_digest": points_digest, "pose_estimator": "annotation file"} if points_digest else {}),
        **({audit.TEST_IDENTITIES: True} if config.allow_test_identities else {}),
    }
    return Job(folder, listed, plan, size, config.size is not None, provenance, tuple(notes))


def run(
    config: ImportConfig,
    folder: Path,
    table: Path,
    data: Path,
    out: Path,
    *,
    poses: Path | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    log: Log = lambda line: None,
) -> Path:
    """Write the images of `folder` as the synthetic set `out`, or find it done; returns `out`.

    Raises:
        ValueError: see `prepare`; an image that cannot be decoded; or `out` is something else, or another set.
        OSError: the disk is full; nothing half-written is left.
    """
    standing = standing_set(out, force)
    job = prepare(config, folder, table, data, poses=poses)
    for note in job.notes:
        log(note)
    if standing is not None:
        remedy = "choose another --out, or --force to replace it"
        expected = {"plan_sha256": job.plan.sha256, **{key: job.provenance.get(key) for key in IDENTIFYING}}
        audit.require_same(str(out), standing.attributes, expected, remedy, problem="holds another set")
        log("already done")
        return out
    return store.write_set(out, job.plan, job.provenance, _pixels(job, progress))


def read_image(path: Path, size: tuple[int, int], resize: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    """An image as RGB of this size.

    Raises:
        ValueError: it cannot be decoded, is partly transparent, or is of another size and not to be resized.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] != OPAQUE:
                raise ValueError("partly transparent; paste it onto a background")
            pixels = image.convert("RGB")
    except UNREADABLE as error:
        raise ValueError(f"{path}: not a readable image ({error}); make it again") from None
    height, width = size
    if pixels.size == (width, height):
        return np.asarray(pixels)
    if not resize:
        raise ValueError(f"{path}: has become {pixels.height}x{pixels.width} meanwhile; import again")
    shrinks = height <= pixels.height and width <= pixels.width
    return np.asarray(pixels.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC))


def _examine(config: ImportConfig, folder: Path, listed: ImageTable, table: Path) -> tuple[tuple[int, int], str]:
    """The size of the set, and a digest of all files; images are judged by their headers and ends."""
    size, problems, hasher = config.size, [], hashlib.sha256()
    for row in listed.rows:
        path = folder / row.name
        try:
            found = glance(path)
            _require_plain(path)
            hasher.update(files.sha256(path).encode())
        except (OSError, ValueError) as error:
            problems.append(f"line {row.line}: {error}")
            continue
        size = size or found
        if config.size is None and found != size:
            problems.append(
                f"line {row.line}: {row.name} is {found[0]}x{found[1]}, the first is {size[0]}x{size[1]} (--size HxW "
                "makes all equal)"
            )
    require_none(problems, table)
    assert size is not None
    return size, hasher.hexdigest()


def _require_plain(path: Path) -> None:
    try:
        with Image.open(path, formats=FORMATS) as image:
            mode = image.mode
    except UNREADABLE:
        raise ValueError(f"{path}: neither JPEG nor PNG; convert it") from None
    if mode not in MODES:
        raise ValueError(f"{path}: has pixels of type {mode}; convert it to RGB with 8 bits a channel")


def _points(dataset: DataSet, listed: ImageTable, poses: Path | None) -> tuple[dict[str, keypoints.Points], str | None]:
    """Key points by name and their digest, where a target is known and there are any."""
    targeted = any(row.target is not None for row in listed.rows)
    if poses is not None and not targeted:
        raise ValueError(f"--poses {poses}: no image has a known target, so none is needed; leave it out")
    if not targeted or not (poses or dataset.annotations):
        return {}, None
    points = keypoints.dataset_points(dataset, poses)
    return points, keypoints.digest(keypoints.usable(dataset.train, points), points)


def _missing_poses(listed: ImageTable, points: Mapping[str, keypoints.Points]) -> list[str]:
    """What is not known of the target poses."""
    notes = []
    if listed.nameless:
        notes.append(f"{listed.nameless} images have a target that DATA does not have: their poses stay unknown")
    if without := sum(row.target is not None and row.target.name not in points for row in listed.rows):
        notes.append(f"{without} images have a target without key points: their poses stay unknown")
    return notes


def _plan(listed: ImageTable, points: Mapping[str, keypoints.Points], size: tuple[int, int]) -> Plan:
    """The rows of the table, with the key points of their targets moved to images of this size."""
    rows = listed.rows
    used = {row.source.name: row.source for row in rows}
    targets = {row.target.name: row.target for row in rows if row.target is not None}
    names = sorted(used | targets)
    place = {name: index for index, name in enumerate(names)}
    return Plan(
        files=tuple(names),
        poses=np.stack([_pose(targets.get(name), points, size) for name in names]),
        pid=np.asarray([row.source.pid for row in rows]),
        camid=np.asarray([row.source.camid for row in rows]),
        source_index=np.asarray([place[row.source.name] for row in rows]),
        target_index=np.asarray([UNKNOWN if row.target is None else place[row.target.name] for row in rows]),
        seed=np.asarray([row.seed for row in rows], np.uint64),
    )


def _pose(
    target: Record | None, points: Mapping[str, keypoints.Points], size: tuple[int, int]
) -> Float[np.ndarray, "18 2"]:
    if target is None or target.name not in points:
        return np.full((len(keypoints.JOINTS), 2), np.nan, np.float32)
    height, width = glance(target.path)
    return points[target.name] * np.asarray([size[0] / height, size[1] / width], np.float32)


def _pixels(job: Job, progress: Callable[[int, int], None] | None) -> Iterator[UInt8[np.ndarray, "k h w 3"]]:
    rows = job.table.rows
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        yield np.stack([read_image(job.folder / row.name, job.size, job.resize) for row in batch])
        if progress is not None:
            progress(start + len(batch), len(rows))
