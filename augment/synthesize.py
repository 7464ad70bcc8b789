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
from jaxtyping import Bool, UInt8

from augment import (
    allocator,
    audit,
    coverage,
    interruption,
    launch,
    planning,
    posefile,
    producing,
    runs,
    sheets,
    standing,
    store,
)
from augment.data import feed, keypoints, posemaps
from augment.data.read import read_data
from augment.data.records import DISTRACTOR, DataSet, Record, digest
from augment.devices import require_precision
from augment.interruption import Flag, Preempted
from augment.plan import Plan
from augment.standing import Standing
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
    notes: tuple[str, ...]  # what must be known of the data


def prepare(
    config: SynthesizeConfig,
    data: Path,
    generator: Path,
    *,
    annotation: Path | None = None,
    device: str = "auto",
    room: int | None = None,
    pause: Callable[[], None] = lambda: None,
) -> Job:
    """Read the data, load the generator, audit both and draw the plan.

    The images may take `room` bytes. `pause` is called now and then: it may stop everything by an exception.

    Raises:
        ValueError: bad data or weights, a generator of another split, an impossible plan, or one without room.
    """
    budget = planning.Budget(config.per_image, config.ratio, config.per_identity, bool(config.balance))
    compute = launch.own_device(device)
    allocator.keep_memory()
    require_precision(compute, config.precision)
    dataset = read_data(data)
    test_too = bool(config.allow_test_identities)
    points = keypoints.dataset_points(dataset, annotation)
    records = _records(dataset, points, test_too)
    pause()
    network = checkpoint.load_generator(generator, compute).for_inference()
    split = feed.load(records, points, progress=lambda done, total: pause())
    policy = config.poses
    if policy not in planning.POLICIES:
        policy = posefile.read_poses(Path(policy), dataset, points, split.size, test_too)
    provenance = _provenance(config, dataset, generator, points, records, policy) | {"device": compute.type}
    pause()
    plan = planning.draw_plan(split, policy, budget, config.seed, config.sources or "random", room)
    pause()
    return Job(split, plan, network, compute, provenance, dataset.notes)


def plan_table(config: SynthesizeConfig, job: Job, out: Path, found: Standing) -> str:
    """What a plan will make: of whom, in which poses, how large; and how long, measured on this machine now.

    `found` is what is at `out` already.
    """
    rows = coverage.describe(job.plan, job.split, config.seed, sources=config.sources or "random", poses=config.poses)
    height, width = job.split.size
    megabytes = len(job.plan) * height * width * 3 / 1e6
    merges = not found.done and store.shard_folder(out) != out
    merging = f", {2 * megabytes:.1f} MB while it is merged" if merges else ""
    rows.append(("size", f"{megabytes:.1f} MB of {height} x {width} pixels{merging}"))
    left = len(job.plan) - found.images
    if found.images:
        rows.append(("still to make", f"{left} of {len(job.plan)} images"))
    if left:
        world = launch.rank().world
        duration = coverage.duration(estimate_seconds(job, config) * left / len(job.plan) / world)
        processes = "1 process" if world == 1 else f"{world} processes"
        how = f"{job.device}, {config.precision}, batch {config.batch}, {processes}"
        rows.append(("time", f"about {duration} ({how})"))
    return coverage.table(rows)


def estimate_seconds(job: Job, config: SynthesizeConfig) -> float:
    """How long one process will take to make all images: a batch is timed, after one to warm up, and stands for all."""
    first = np.arange(min(config.batch, len(job.plan)))
    second = first + len(first) if 2 * len(first) <= len(job.plan) else first
    generate(job, first, config.precision)
    started = time.perf_counter()
    generate(job, second, config.precision)
    return (time.perf_counter() - started) * len(job.plan) / len(second)


def rehearse(
    config: SynthesizeConfig,
    data: Path,
    generator: Path,
    out: Path,
    *,
    annotation: Path | None = None,
    device: str = "auto",
    force: bool = False,
    log: Callable[[str], None] = lambda line: None,
) -> str:
    """Check all that `run` checks, without writing anything; returns the plan's table.

    Raises:
        ValueError: see `run`.
    """
    job, found = _checked(config, data, generator, out, annotation, device, force, lambda: None)
    for note in job.notes:
        log(note)
    if found.done:
        log("already done")
    elif found.images:
        log(f"{found.images} of {len(job.plan)} images are there")
    return plan_table(config, job, out, found)


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
    """Make `out` (X.h5, or a folder of shards), or go on making it; returns its path. `plan` logs the plan first.

    Raises:
        ValueError: see `prepare`; or `out` is another set.
        OSError: the disk is full; nothing half-written is left and the finished shards stay.
        Preempted: stopped by SIGTERM.
    """
    rank = launch.rank()
    with interruption.on_sigterm() as sigterm:

        def pause() -> None:
            _stop_if_asked_to(sigterm)

        job, found = _checked(config, data, generator, out, annotation, device, force, pause)
        if rank.index == 0:
            for note in job.notes:
                log(note)
        if plan and rank.index == 0:
            log(plan_table(config, job, out, found))
            pause()
        if force:
            store.remove_set(out)
        work = producing.Work(
            job.plan, job.split.size, config.batch, lambda rows: generate(job, rows, config.precision), job.provenance,
            out,
        )  # fmt: skip
        if not found.done or _damaged(work):
            producing.produce(work, rank, progress, log)
        else:
            log("already done")
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
    """Source, target pose, generated image, and the true image where the target pose is one of the same person.

    Above each row are its number in the set, identity and camera.
    """
    chosen = _chosen(reader, split, rows)
    asked, model = reader.attributes["config"], reader.attributes["generator"]["model"]
    return sheets.write_sheet(
        path,
        _cells(reader, split, chosen),
        ("source", "target pose", "generated", "true"),
        groups=3,
        labels=[f"row {row}   person {reader.identity(row)}   camera {reader.camera(row)}" for row in chosen],
        head=f"{reader.path.name}: {len(chosen)} of {len(reader)} images, poses: {asked['poses']}, generator: {model}",
    )


def sheet_rows(reader: store.Reader, split: feed.Posed, count: int) -> list[tuple[np.ndarray | None, ...]]:
    """Rows spread over the set, half of them with a true image where there are as many, and half without."""
    return _cells(reader, split, _chosen(reader, split, count))


def _chosen(reader: store.Reader, split: feed.Posed, count: int) -> list[int]:
    """Rows of the set, those with a true image first; where one kind is scarce, more of the other."""
    same = _has_truth(reader, split)
    without = max(count - count // 2, count - int(same.sum()))
    others = _spread(np.flatnonzero(~same), without)
    return [*_spread(np.flatnonzero(same), count - len(others)).tolist(), *others.tolist()]


def _has_truth(reader: store.Reader, split: feed.Posed) -> Bool[np.ndarray, " n"]:
    people = dict(enumerate(record.pid for record in split.records))  # not of poses of nobody, which come after them
    return reader.pid == np.asarray([people.get(target, -1) for target in reader.target_index.tolist()])


def _cells(reader: store.Reader, split: feed.Posed, chosen: Sequence[int]) -> list[tuple[np.ndarray | None, ...]]:
    same = _has_truth(reader, split)
    rows = []
    for row in chosen:
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


def _checked(
    config: SynthesizeConfig,
    data: Path,
    generator: Path,
    out: Path,
    annotation: Path | None,
    device: str,
    force: bool,
    pause: Callable[[], None],
) -> tuple[Job, Standing]:
    """The job, and what is at `out` of it; with `force` nothing is, once it has been removed."""
    standing.require_name(out)
    if force and launch.rank().world > 1:
        raise ValueError(f"--force: {launch.rank().world} processes would remove each other's work; remove {out} first")
    room = standing.room(out)
    job = prepare(config, data, generator, annotation=annotation, device=device, room=room, pause=pause)
    if force:
        standing.require_replaceable(out)
        return job, Standing()
    return job, standing.look(out, job.plan, job.provenance)


def _damaged(work: producing.Work) -> bool:
    """Whether a set that is there needs a shard anew. Shards that lie beside a merged file are removed."""
    if work.merges:
        store.remove_shards(work.folder)
        return False
    attributes = store.begin(work.folder, work.plan, work.provenance)
    try:
        for shard in range(store.shard_count(len(work.plan))):
            store.check_shard(work.folder, shard, work.plan, attributes)
    except store.DamagedShard:
        return True
    return False


def _stop_if_asked_to(sigterm: Flag) -> None:
    if sigterm.requested:
        raise Preempted("stopped by SIGTERM; nothing is lost, the same command begins again")
