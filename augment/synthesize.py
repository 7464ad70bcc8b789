"""Stage: turn a generator and a training split into a synthetic set, X.h5.

Planned before the first pixel, made in shards that appear whole, merged when the last one is there. A kill at any
moment loses at most the shard in work; the same command goes on. An image depends on weights, source and target
pose only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from augment import audit, files, interruption, planning, runs, sheets, store
from augment.data import feed, keypoints
from augment.data.read import read_data
from augment.data.records import DataSet
from augment.devices import pick_device, require_precision
from augment.plan import Plan
from augment.version import __version__
from generators import checkpoint
from generators.generator import Generator
from generators.tensors import to_uint8

STAGE = "synthesize"
SHEET_ROWS = 24


@dataclass(frozen=True)
class SynthesizeConfig:
    """What determines the set's bytes, beside the data and the generator's weights."""

    poses: str = "random"
    per_image: int | None = None
    ratio: float | None = None
    per_identity: int | None = None
    balance: bool | None = None  # None, not False: what was not asked for stays out of the provenance
    batch: int = 64
    precision: str = "fp32"
    seed: int = 0
    foreign_generator: bool = False  # the generator was trained on other data that holds none of these test identities


@dataclass(frozen=True)
class Job:
    """A set that is planned and can be made: everything that is known before the first pixel."""

    split: feed.Posed
    plan: Plan
    generator: Generator
    device: torch.device
    provenance: dict[str, Any]


def prepare(
    config: SynthesizeConfig, data: Path, generator: Path, *, annotation: Path | None = None, device: str = "auto"
) -> Job:
    """Read the data, load the generator, audit both and draw the plan.

    Raises:
        ValueError: bad data or weights, a generator of another split, an impossible plan.
    """
    budget = planning.Budget(config.per_image, config.ratio, config.per_identity, bool(config.balance))
    compute = pick_device(device)
    require_precision(compute, config.precision)
    dataset = read_data(data)
    audit.require_disjoint(dataset)
    points = keypoints.dataset_points(dataset, annotation)
    records = sorted(keypoints.usable(dataset.train, points), key=lambda record: record.name)
    audit.require_training_only(records, dataset, "sources and target poses")
    network = checkpoint.load_generator(generator, compute).for_inference()
    provenance = _provenance(config, dataset, generator, keypoints.digest(records, points))
    split = feed.load(records, points)
    plan = planning.draw_plan(split, config.poses, budget, config.seed)
    return Job(split, plan, network, compute, provenance)


def run(
    config: SynthesizeConfig,
    data: Path,
    generator: Path,
    out: Path,
    *,
    annotation: Path | None = None,
    device: str = "auto",
    force: bool = False,
    sheet: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Make `out` (X.h5), or go on making it; returns its path.

    Raises:
        ValueError: see `prepare`; or `out` is another set.
        OSError: the disk is full; nothing half-written is left and the finished shards stay.
        Preempted: stopped by SIGTERM.
    """
    if out.suffix != ".h5":
        raise ValueError(f"--out {out}: expected a file name that ends in .h5")
    job = prepare(config, data, generator, annotation=annotation, device=device)
    folder = store.shard_folder(out)
    if force:
        store.remove_set(out)
    if out.exists():
        _refuse_other(out, job)
        store.remove_shards(folder)
        log("already done")
    else:
        _make_shards(job, config, folder, progress, log)
        store.merge(folder, job.plan, out, files.read_json(folder / store.MANIFEST))
    if sheet is not None:
        write_sheet(sheet, store.Reader(out), job.split)
    return out


def _make_shards(
    job: Job,
    config: SynthesizeConfig,
    folder: Path,
    progress: Callable[[int, int], None] | None,
    log: Callable[[str], None],
) -> None:
    attributes = store.begin(folder, job.plan, job.provenance)
    missing = store.missing_shards(folder, job.plan)
    done = len(job.plan) - sum(len(store.shard_rows(job.plan, shard)) for shard in missing)
    if done:
        log(f"continuing: {done} of {len(job.plan)} images are there")
    with interruption.on_sigterm() as sigterm:
        for shard in missing:
            rows = store.shard_rows(job.plan, shard)
            pixels = np.empty((len(rows), *job.split.size, 3), dtype=np.uint8)
            for start in range(0, len(rows), config.batch):
                batch = np.asarray(rows[start : start + config.batch])
                pixels[start : start + len(batch)] = generate(job, batch, config.precision)
                if progress is not None:
                    progress(done + start + len(batch), len(job.plan))
                sigterm.raise_if_requested(f"{folder} (whole shards of {store.SHARD_ROWS} images)")
            store.write_shard(folder, shard, job.plan, pixels, attributes)
            done += len(rows)


def generate(job: Job, rows: np.ndarray, precision: str = "fp32") -> UInt8[np.ndarray, "n h w 3"]:
    """The images of some plan rows. The source side of the network runs once for each source among them."""
    device = job.device
    sources, of_row = np.unique(job.plan.source_index[rows], return_inverse=True)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        kind = job.generator.pose_map
        image, source_map = job.split.images(sources, device), job.split.maps(sources, device, kind)
        target_map = job.split.maps(job.plan.target_index[rows], device, kind)
        made = job.generator.repose(image, source_map, target_map, torch.from_numpy(of_row).to(device))
        return to_uint8(made.float()).cpu().numpy()


def write_sheet(path: Path, reader: store.Reader, split: feed.Posed, rows: int = SHEET_ROWS) -> Path:
    """Source, target pose, generated image, and the true image where the target pose is one of the same person."""
    return sheets.write_sheet(
        path, sheet_rows(reader, split, rows), ("source", "target pose", "generated", "true"), groups=3
    )


def sheet_rows(reader: store.Reader, split: feed.Posed, count: int) -> list[tuple[np.ndarray | None, ...]]:
    """Rows spread over the set, half of them with a true image where there are as many."""
    same = reader.pid == np.asarray([record.pid for record in split.records])[reader.target_index]
    with_truth = _spread(np.flatnonzero(same), count // 2)
    without = _spread(np.flatnonzero(~same), count - len(with_truth))
    rows = []
    for row in [*with_truth, *without]:
        source, target = reader.source_index[row], reader.target_index[row]
        skeleton = sheets.draw_skeleton(split.points[target], split.size)
        rows.append((split.pixels[source], skeleton, reader.image(row), split.pixels[target] if same[row] else None))
    return rows


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    return values[np.linspace(0, len(values) - 1, min(count, len(values))).astype(int)] if len(values) else values


def _provenance(config: SynthesizeConfig, dataset: DataSet, generator: Path, points_digest: str) -> dict[str, Any]:
    metadata = checkpoint.read_metadata(generator)
    if not config.foreign_generator and not checkpoint.untrained(generator):
        audit.require_same(
            str(generator),
            {"training split": metadata.get("trained_on"), "key points": metadata.get("points_digest")},
            {"training split": dataset.digest, "key points": points_digest},
            "train a generator on this split and these key points, or say --foreign-generator if it never saw this "
            "data's test identities",
        )
    return {
        "tool": f"reid-augment {__version__}",
        "config": {name: value for name, value in vars(config).items() if value is not None},
        "generator": {
            "model": metadata["model"],
            "preset": metadata["preset"],
            "weights_sha256": checkpoint.weights_sha256(generator),
            "trained_on": metadata.get("trained_on"),
            "initialised_from": metadata.get("initialised_from"),
        },
        "data_digest": dataset.digest,
        "points_digest": points_digest,
        "pose_estimator": "annotation file",
        "versions": runs.versions(),
    }


def _refuse_other(out: Path, job: Job) -> None:
    found = store.Reader(out).attributes
    expected = {"plan_sha256": job.plan.sha256} | {
        key: job.provenance[key] for key in ("config", "generator", "data_digest", "points_digest")
    }
    audit.require_same(str(out), found, expected, "choose another --out, or --force to replace it")
