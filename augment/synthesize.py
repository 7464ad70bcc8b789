"""Stage: turn a generator and a training split into a synthetic set, X.h5.

Planned before the first pixel, made in shards that appear whole, merged when the last one is there. A kill at any
moment loses at most the shard in work; the same command goes on. An image depends on weights, source and target
pose only.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from augment import audit, coverage, launch, planning, posefile, producing, runs, sheets, store
from augment.data import feed, keypoints, posemaps
from augment.data.read import read_data
from augment.data.records import DISTRACTOR, DataSet, Record, digest
from augment.devices import require_precision
from augment.plan import Plan
from augment.version import __version__
from generators import checkpoint
from generators.generator import Generator
from generators.tensors import to_uint8

STAGE = "synthesize"
SHEET_ROWS = 24


@dataclass(frozen=True)
class SynthesizeConfig:
    """What determines the set's bytes, beside the data and the generator's weights.

    What is None by default was unknown to earlier versions: it stays out of the provenance, so that their sets go on.
    """

    poses: str = "random"  # a policy, or the path of a file of poses
    per_image: int | None = None
    ratio: float | None = None
    per_identity: int | None = None
    balance: bool | None = None
    batch: int = 64
    precision: str = "fp32"
    seed: int = 0
    foreign_generator: bool = False  # the generator was trained on other data that holds none of these test identities
    sources: str | None = None  # random
    allow_test_identities: bool | None = None  # query and gallery images as well, for studies of image quality


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
    compute = launch.own_device(device)
    require_precision(compute, config.precision)
    dataset = read_data(data)
    test_too = bool(config.allow_test_identities)
    points = keypoints.dataset_points(dataset, annotation)
    records = _records(dataset, points, test_too)
    network = checkpoint.load_generator(generator, compute).for_inference()
    split = feed.load(records, points)
    policy = config.poses
    if policy not in planning.POLICIES:
        policy = posefile.read_poses(Path(policy), dataset, points, split.size, test_too)
    provenance = _provenance(config, dataset, generator, points, records, policy)
    plan = planning.draw_plan(split, policy, budget, config.seed, config.sources or "random")
    return Job(split, plan, network, compute, provenance)


def plan_table(config: SynthesizeConfig, job: Job) -> str:
    """What a plan will make: of whom, in which poses, how large; and how long, measured on this machine now."""
    rows = coverage.describe(job.plan, job.split, config.seed, sources=config.sources or "random", poses=config.poses)
    height, width = job.split.size
    megabytes = len(job.plan) * height * width * 3 / 1e6
    duration = coverage.duration(estimate_seconds(job, config))
    return coverage.table(
        [
            *rows,
            ("size", f"{megabytes:.1f} MB of {height} x {width} pixels, {2 * megabytes:.1f} MB while it is merged"),
            ("time", f"about {duration} ({job.device}, {config.precision}, batch {config.batch}, 1 process)"),
        ]
    )


def estimate_seconds(job: Job, config: SynthesizeConfig) -> float:
    """How long one process will take to make all images: a batch is timed, after one to warm up, and stands for all."""
    first = np.arange(min(config.batch, len(job.plan)))
    second = first + len(first) if 2 * len(first) <= len(job.plan) else first
    generate(job, first, config.precision)
    started = time.perf_counter()
    generate(job, second, config.precision)
    return (time.perf_counter() - started) * len(job.plan) / len(second)


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
    plan: bool = False,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Make `out` (X.h5, or a folder of shards), or go on making it; returns its path. `plan` logs the plan's table first.

    Raises:
        ValueError: see `prepare`; or `out` is another set.
        OSError: the disk is full; nothing half-written is left and the finished shards stay.
        Preempted: stopped by SIGTERM.
    """
    if out.suffix not in (".h5", ""):
        raise ValueError(f"--out {out}: expected a file name that ends in .h5, or a folder's name, for shards")
    rank = launch.rank()
    if force and rank.world > 1:
        raise ValueError(f"--force: {rank.world} processes would remove each other's work; remove {out} first")
    job = prepare(config, data, generator, annotation=annotation, device=device)
    if plan and rank.index == 0:
        log(plan_table(config, job))
    if force:
        store.remove_set(out)
    work = producing.Work(
        job.plan, job.split.size, config.batch, lambda rows: generate(job, rows, config.precision), job.provenance, out
    )
    if out.is_file():
        _refuse_other(out, job)
        store.remove_shards(work.folder)
        log("already done")
    elif work.finished and not work.merges:
        store.begin(work.folder, job.plan, job.provenance)
        log("already done")
    else:
        producing.produce(work, rank, progress, log)
    if sheet is not None and rank.index == 0:
        write_sheet(sheet, store.Reader(out), job.split)
    return out


def generate(job: Job, rows: np.ndarray, precision: str = "fp32") -> UInt8[np.ndarray, "n h w 3"]:
    """The images of some plan rows. The source side of the network runs once for each source among them."""
    device = job.device
    sources, of_row = np.unique(job.plan.source_index[rows], return_inverse=True)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        kind = job.generator.pose_map
        image, source_map = job.split.images(sources, device), job.split.maps(sources, device, kind)
        target = torch.from_numpy(job.plan.poses[job.plan.target_index[rows]]).to(device)
        target_map = posemaps.render(target, job.split.size, kind=kind)
        made = job.generator.repose(image, source_map, target_map, torch.from_numpy(of_row).to(device))
        return to_uint8(made.float()).cpu().numpy()


def write_sheet(path: Path, reader: store.Reader, split: feed.Posed, rows: int = SHEET_ROWS) -> Path:
    """Source, target pose, generated image, and the true image where the target pose is one of the same person."""
    return sheets.write_sheet(
        path, sheet_rows(reader, split, rows), ("source", "target pose", "generated", "true"), groups=3
    )


def sheet_rows(reader: store.Reader, split: feed.Posed, count: int) -> list[tuple[np.ndarray | None, ...]]:
    """Rows spread over the set, half of them with a true image where there are as many."""
    people = dict(enumerate(record.pid for record in split.records))  # not of poses of nobody, which come after them
    same = reader.pid == np.asarray([people.get(target, -1) for target in reader.target_index.tolist()])
    with_truth = _spread(np.flatnonzero(same), count // 2)
    without = _spread(np.flatnonzero(~same), count - len(with_truth))
    rows = []
    for row in [*with_truth, *without]:
        source, target = reader.source_index[row], reader.target_index[row]
        skeleton = sheets.draw_skeleton(reader.poses(np.asarray([row]))[0], split.size)
        rows.append((split.pixels[source], skeleton, reader.image(row), split.pixels[target] if same[row] else None))
    return rows


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    return values[np.linspace(0, len(values) - 1, min(count, len(values))).astype(int)] if len(values) else values


def _records(dataset: DataSet, points: Mapping[str, keypoints.Points], test_too: bool) -> list[Record]:
    """The images that may be sources, by name: training's; with `test_too` also all of query and gallery that are of
    somebody."""
    if not test_too:
        audit.require_disjoint(dataset)
        records = keypoints.usable(dataset.train, points)
        audit.require_training_only(records, dataset, "sources and target poses")
    else:
        test = [record for record in (*dataset.query, *dataset.gallery) if record.pid != DISTRACTOR]
        records = keypoints.usable(list(dict.fromkeys((*dataset.train, *test))), points)
    return sorted(records, key=lambda record: record.name)


def _provenance(
    config: SynthesizeConfig,
    dataset: DataSet,
    generator: Path,
    points: Mapping[str, keypoints.Points],
    records: Sequence[Record],
    policy: str | posefile.PoseFile,
) -> dict[str, Any]:
    metadata = checkpoint.read_metadata(generator)
    training = set(dataset.train)
    points_digest = keypoints.digest([record for record in records if record in training], points)
    if not config.foreign_generator and not checkpoint.untrained(generator):
        audit.require_same(
            str(generator),
            {"training split": metadata.get("trained_on"), "key points": metadata.get("points_digest")},
            {"training split": dataset.digest, "key points": points_digest},
            "train a generator on this split and these key points, or say --foreign-generator if it never saw this "
            "data's test identities",
        )
    asked = {name: value for name, value in vars(config).items() if value is not None}
    if isinstance(policy, posefile.PoseFile):
        asked |= {"poses": "file", "poses_sha256": policy.sha256}
    stamp = {}
    if config.allow_test_identities:
        test = [record for record in records if record not in training]
        asked |= {"test_digest": digest(test), "test_points_digest": keypoints.digest(test, points)}
        stamp[audit.TEST_IDENTITIES] = True
    return {
        "tool": f"reid-augment {__version__}",
        "config": asked,
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
        **stamp,
    }


def _refuse_other(out: Path, job: Job) -> None:
    found = store.Reader(out).attributes
    not_asked_for = dict.fromkeys(found.get("config", {}))
    expected = {"config": not_asked_for | job.provenance["config"], "plan_sha256": job.plan.sha256}
    expected |= {key: job.provenance[key] for key in ("generator", "data_digest", "points_digest")}
    audit.require_same(str(out), found, expected, "choose another --out, or --force to replace it")
