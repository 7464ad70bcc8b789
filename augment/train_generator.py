"""Stage: train a pose-transfer generator on pairs of images of one person.

RUN/generator.safetensors    the published weights, which know how to rebuild the network (appears at the end)
RUN/checkpoint.safetensors   the whole training state, replaced as training goes on
RUN/losses.csv               mean losses, a row every few steps
RUN/samples-*.png            source, target pose, generated, true image; of training pairs
RUN/held-out.png             the same of test identities, at the end
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from augment import audit, files, interruption, runs, sheets
from augment.data import feed, images, keypoints
from augment.data.pairs import ListedPairs, Pairs
from augment.data.read import read_data
from augment.data.records import DataSet, Record
from augment.devices import pick_device
from augment.journal import Journal
from generators import checkpoint, losses
from generators.registry import PRESETS
from generators.tensors import to_uint8
from generators.training import TrainingConfig, TrainingState, train

STAGE = "train-generator"
SHEET_PAIRS = 16
HELD_OUT_PAIRS = 256
JOURNAL_STEPS = 20


@dataclass(frozen=True)
class TrainGeneratorConfig:
    """What to train; `training` holds the loop's own options. The last two only say how often to save and draw."""

    model: str = "dptn"
    preset: str = "market"
    training: TrainingConfig = field(default_factory=TrainingConfig)
    flip: bool = False  # mirror half of the pairs, left and right joints swapped
    same_camera: bool = False  # pair within a camera only, so that background and light can be known from the source
    pairs: Path | None = None  # PATN's pair list; None takes every pair of images of a person
    init: Path | None = None  # generator weights to start from
    foreign_init: bool = False  # they were trained on other data that holds none of these test identities
    vgg: Path | None = None  # VGG19 weights for the perceptual losses; None looks into torch's cache
    checkpoint_seconds: float = 60.0
    sample_images: int = 20_000


@dataclass(frozen=True)
class Job:
    """A checked training: what is known before the first image is decoded."""

    dataset: DataSet
    points: dict[str, keypoints.Points]
    records: tuple[Record, ...]
    pairs: Pairs | ListedPairs
    held_out: list[Record]  # test images with key points
    determining: dict[str, Any]
    features: losses.VGG19Features | None
    init: dict[str, Tensor] | None
    ancestry: dict[str, Any] | None  # where the initial weights come from

    def __str__(self) -> str:
        identities = len({record.pid for record in self.records})
        return f"{len(self.records)} images of {identities} identities with key points, {len(self.pairs):,} pairs"


def prepare(config: TrainGeneratorConfig, data: Path, poses: Path | None = None) -> Job:
    """Read and audit everything that training needs.

    Raises:
        ValueError: bad data, leaked identities, missing key points or weights.
    """
    dataset = read_data(data)
    audit.require_disjoint(dataset)
    points = keypoints.dataset_points(dataset, poses)
    records = keypoints.usable(dataset.train, points)
    pairs = _pairs(config, data, records)
    features = losses.load_vgg19(config.vgg) if config.training.perceptual else None
    init, ancestry = None, None
    if config.init is not None:
        init = dict(checkpoint.load_generator(config.init).state_dict())
        network = asdict(PRESETS[config.model][config.preset])
        wanted = {"model": config.model, "preset": config.preset, "config": network}
        audit.require_same(
            f"--init {config.init}", checkpoint.read_metadata(config.init), wanted, "give its --model and --preset"
        )
        ancestry = _ancestry(config, dataset)
    determining = asdict(config.training) | {
        "model": config.model,
        "preset": config.preset,
        "flip": config.flip,
        "same_camera": config.same_camera,
        "pairs": files.sha256(config.pairs) if config.pairs else None,
        "init": ancestry and ancestry["weights_sha256"],
        "vgg": features.sha256 if features is not None else None,
        "data_digest": dataset.digest,
        "points_digest": keypoints.digest(records, points),
    }
    test = (*dataset.query, *dataset.gallery)
    held_out = [r for r in test if r.name in points and keypoints.has_torso(points[r.name])]
    return Job(dataset, points, records, pairs, held_out, determining, features, init, ancestry)


def _ancestry(config: TrainGeneratorConfig, dataset: DataSet) -> dict[str, Any]:
    """What the initial weights have seen; another split is refused unless the user vouches for it."""
    assert config.init is not None
    metadata = checkpoint.read_metadata(config.init)
    if not config.foreign_init:
        audit.require_same(
            f"--init {config.init}",
            {"training split": metadata.get("trained_on")},
            {"training split": dataset.digest},
            "say --foreign-init if these weights never saw this data's test identities",
        )
    found = {"weights_sha256": checkpoint.weights_sha256(config.init), "trained_on": metadata.get("trained_on")}
    return found | {"initialised_from": metadata.get("initialised_from")}


def _pairs(config: TrainGeneratorConfig, data: Path, records: Sequence[Record]) -> Pairs | ListedPairs:
    if config.pairs is not None:
        listed = ListedPairs(config.pairs, records)
        if not len(listed):
            raise ValueError(f"{config.pairs}: lists no pair, so there is nothing to train on")
        return listed
    cameras = [record.camid for record in records] if config.same_camera else None
    pairs = Pairs([record.pid for record in records], cameras)
    if not len(pairs):
        where = " in one camera (try --any-camera)" if config.same_camera else ""
        raise ValueError(f"{data}: no identity has two images with key points{where}, so there is no pair to train on")
    return pairs


def run(
    config: TrainGeneratorConfig,
    data: Path,
    out: Path,
    *,
    poses: Path | None = None,
    device: str = "auto",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train on the training split of `data` until `config.training.images` are seen; continue where a run was stopped.

    Returns the path of the weights.

    Raises:
        ValueError: see `prepare`; or `out` holds another configuration.
        Preempted: stopped by SIGTERM, after saving.
    """
    compute = pick_device(device)
    job = prepare(config, data, poses)
    if force or not (out / "results.json").exists():
        images.require_readable((*job.records, *job.held_out))
    folder = runs.open_run(out, STAGE, job.determining, force=force)
    weights_path = out / "generator.safetensors"
    if folder.finished:
        log("already done")
        return weights_path

    log(f"{job}, on {compute}")
    state = TrainingState(config.model, config.preset, config.training, compute, job.init)
    _resume(state, out / "checkpoint.safetensors", log)
    split = feed.load(job.records, job.points)
    batches = feed.Feed(split, job.pairs, config.training.batch, config.training.seed, config.flip, compute)
    features = job.features.to(compute) if job.features is not None else None
    seconds = _train(state, batches, features, config, out, progress)

    trained = {
        "trained_on": job.dataset.digest,
        "points_digest": job.determining["points_digest"],
        "images_seen": state.images_seen,
        "initialised_from": job.ancestry,
    }
    weights = checkpoint.generator_to_bytes(config.model, config.preset, state.published, extra=trained)
    files.write_atomic(weights_path, weights)
    results = _evaluate(state.published, job, config.same_camera, split.size, out)
    totals = {
        "images_seen": state.images_seen,
        "seconds_of_last_process": round(seconds, 1),
        "weights_sha256": files.sha256(weights_path),
    }
    folder.finish({"schema": 1, **totals, **results})
    return weights_path


def _train(
    state: TrainingState,
    batches: feed.Feed,
    features: losses.VGG19Features | None,
    config: TrainGeneratorConfig,
    out: Path,
    progress: Callable[[int, int], None] | None,
) -> float:
    """Step until done, saving and drawing on the way; the seconds that this process spent."""
    shown = batches.pairs.draw(config.training.seed, 2**31, SHEET_PAIRS)
    journal = _LossJournal(out / "losses.csv", state.images_seen, config.training)
    started = saved_at = time.monotonic()

    def save() -> None:
        journal.write()  # first: rows past the checkpoint are dropped on resuming, missing ones would stay missing
        files.write_atomic(out / "checkpoint.safetensors", checkpoint.to_bytes(*state.tensors()))

    with interruption.on_sigterm() as sigterm:
        for step_losses in train(state, batches.batch_at, features):
            journal.add(state.images_seen, step_losses)
            if progress is not None:
                progress(state.images_seen, config.training.images)
            if state.images_seen % config.sample_images < config.training.batch:
                _draw_samples(state, batches.split, shown, out)
            if sigterm.requested or time.monotonic() - saved_at > config.checkpoint_seconds:
                save()
                saved_at = time.monotonic()
                sigterm.raise_if_requested(str(out))
    save()
    _draw_samples(state, batches.split, shown, out)
    return time.monotonic() - started


def transfer(
    generator: torch.nn.Module, split: feed.Posed, pairs: Int[np.ndarray, "n 2"], batch: int = 16
) -> UInt8[np.ndarray, "n h w 3"]:
    """Each pair's source image in its target's pose."""
    device = next(generator.parameters()).device
    made = []
    with torch.inference_mode():
        for start in range(0, len(pairs), batch):
            source, target = pairs[start : start + batch].T
            maps = split.maps(source, device), split.maps(target, device)
            made.append(to_uint8(generator.eval()(split.images(source, device), *maps)).cpu().numpy())
    return np.concatenate(made)


def write_pairs_sheet(path: Path, split: feed.Posed, pairs: Int[np.ndarray, "n 2"], generated: np.ndarray) -> Path:
    """Source, target pose, generated and true image of each pair."""
    rows = [
        (split.pixels[source], sheets.draw_skeleton(split.points[target], split.size), image, split.pixels[target])
        for (source, target), image in zip(pairs, generated, strict=True)
    ]
    return sheets.write_sheet(path, rows, ("source", "target pose", "generated", "true"), groups=4)


def _draw_samples(state: TrainingState, split: feed.Posed, shown: Int[np.ndarray, "n 2"], out: Path) -> None:
    generated = transfer(state.published, split, shown)
    state.generator.train()
    write_pairs_sheet(out / f"samples-{state.images_seen:08d}.png", split, shown, generated)


def _evaluate(
    generator: torch.nn.Module, job: Job, same_camera: bool, size: tuple[int, int], out: Path
) -> dict[str, Any]:
    """Mean absolute error in grey levels on pairs of held-out (test) identities, beside that of copying the source."""
    held_out = job.held_out
    pairs = Pairs([record.pid for record in held_out], [record.camid for record in held_out] if same_camera else None)
    if not len(pairs):
        return {"held_out": None}
    drawn = pairs.draw(0, 0, HELD_OUT_PAIRS)
    used, local = np.unique(drawn, return_inverse=True)
    local = local.reshape(drawn.shape)
    split = feed.load([held_out[index] for index in used], job.points, size)
    target = split.pixels[local[:, 1]].astype(np.float32)
    made = {"generated": transfer(generator, split, local), "copy": split.pixels[local[:, 0]]}
    write_pairs_sheet(out / "held-out.png", split, local[:SHEET_PAIRS], made["generated"][:SHEET_PAIRS])
    errors = {f"l1_{name}": float(np.abs(image.astype(np.float32) - target).mean()) for name, image in made.items()}
    return {"held_out": {"pairs": len(drawn), **errors}}


def _resume(state: TrainingState, path: Path, log: Callable[[str], None]) -> None:
    if not path.exists():
        return
    try:
        with safe_open(path, framework="pt") as file:
            state.load({key: file.get_tensor(key) for key in file.keys()}, file.metadata())  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: no checkpoint of this run ({' '.join(str(error).split())[:120]}); start afresh with --force"
        ) from None
    log(f"continuing after {state.images_seen:,} images")


class _LossJournal:
    """losses.csv: means over every few steps, at the same steps whether or not the run was resumed in between."""

    def __init__(self, path: Path, images_seen: int, config: TrainingConfig) -> None:
        self._journal = Journal(path, "images", images_seen)
        self._config = config
        self._pending: list[dict[str, Tensor]] = []

    def add(self, images_seen: int, step_losses: dict[str, Tensor]) -> None:
        self._pending.append(step_losses)
        at_end = images_seen >= self._config.images
        if at_end or images_seen // self._config.batch % JOURNAL_STEPS == 0:
            means = {name: float(torch.stack([step[name] for step in self._pending]).mean()) for name in step_losses}
            self._journal.add({"images": images_seen} | {name: f"{value:.6g}" for name, value in means.items()})
            self._pending.clear()

    def write(self) -> None:
        self._journal.write()
