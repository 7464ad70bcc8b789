"""Stage: train a pose-transfer generator on pairs of images of one person.

RUN/generator.safetensors    the published weights, which know how to rebuild the network (appears at the end)
RUN/best.safetensors         the weights that did best on withheld identities, where some are
RUN/checkpoint.safetensors   the whole training state, replaced as training goes on
RUN/losses.csv               mean losses, a row every few steps
RUN/validation.csv           quality on withheld identities, where some are
RUN/samples-*.png            source, target pose, generated, true image; of withheld or else of training identities
RUN/held-out.png             the same of test identities, at the end
RUN/tensorboard/             all of the above as TensorBoard events
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from augment import audit, files, interruption, launch, runs
from augment.data import feed, images, keypoints
from augment.data.pairs import ListedPairs, Pairs
from augment.data.read import read_data
from augment.data.records import DataSet, Record
from augment.devices import require_precision
from augment.training_log import PENDING, TrainingLog
from augment.validation import SHEET_PAIRS, HeldOut, hold_out, transfer, withhold, write_pairs_sheet
from generators import checkpoint, distributed, vgg
from generators.registry import Recipe, create_generator, create_recipe, fitted
from generators.training import TrainingState, train

STAGE = "train-generator"


@dataclass(frozen=True)
class TrainGeneratorConfig:
    """What to train, on which pairs; the last four fields change no weight: what is kept where, and how often."""

    recipe: Recipe = field(default_factory=lambda: create_recipe("dptn"))
    flip: bool = False  # mirror half of the pairs, left and right joints swapped
    same_camera: bool = False  # pair within a camera only, so that background and light can be known from the source
    pairs: Path | None = (
        None  # PATN's pair list; None takes DeepFashion's own, or else every pair of images of a person
    )
    init: Path | None = None  # generator weights to start from
    foreign_init: bool = False  # they were trained on other data that holds none of these test identities
    vgg: Path | None = None  # VGG19 weights for the perceptual losses; None looks into torch's cache
    validation: int = 0  # training identities that are withheld, to watch the training and keep its best weights
    cache: Path | None = None  # folder for decoded images, shared by processes and runs
    checkpoint_seconds: float = 60.0
    sample_images: int = 20_000
    tensorboard: bool = False


@dataclass(frozen=True)
class Job:
    """A checked training: what is known before the images are decoded."""

    recipe: Recipe
    dataset: DataSet
    points: dict[str, keypoints.Points]
    records: tuple[Record, ...]
    withheld: tuple[Record, ...]
    pairs: Pairs | ListedPairs
    held_out: list[Record]  # test images with key points
    determining: dict[str, Any]
    features: vgg.VGG19Features | None
    init: dict[str, Tensor] | None
    ancestry: dict[str, Any] | None  # where the initial weights come from

    def __str__(self) -> str:
        identities = len({record.pid for record in self.records})
        found = f"{len(self.records)} images of {identities} identities with key points, {len(self.pairs):,} pairs"
        return f"{found}, {len({r.pid for r in self.withheld})} identities withheld" if self.withheld else found


def prepare(config: TrainGeneratorConfig, data: Path, poses: Path | None = None) -> Job:
    """Read and audit everything that training needs.

    Raises:
        ValueError: bad data, leaked identities, missing key points or weights, images that the network cannot take.
    """
    dataset = read_data(data)
    audit.require_disjoint(dataset)
    points = keypoints.dataset_points(dataset, poses)
    usable = keypoints.usable(dataset.train, points)
    records, withheld = withhold(usable, config.validation, config.recipe.training.seed)
    recipe = fitted(config.recipe, images.glance(records[0].path), len(keypoints.JOINTS))
    _require_meant(config, recipe, dataset)
    if withheld and not len(_streamed(withheld, config.same_camera)):
        where = " in one camera" if config.same_camera else ""
        raise ValueError(
            f"the {config.validation} identities withheld have no two images{where} with key points, so there is "
            "nothing to validate on; give --validation a larger number, or 0"
        )
    pairs, pair_list = _pairs(config, dataset, records, withheld)
    features = _features(recipe, config.vgg)
    init, ancestry = None, None
    if config.init is not None:
        init = dict(checkpoint.load_generator(config.init).state_dict())
        found = checkpoint.read_metadata(config.init)
        wanted = {"config": asdict(recipe.network)}
        remedy = "give its --model, --preset and --network options"
        audit.require_same(f"--init {config.init}", found, wanted, remedy, problem="they are of another network")
        ancestry = _ancestry(config, dataset)
    determining = asdict(recipe.training) | {
        "model": recipe.model,
        "preset": recipe.preset,
        "network": asdict(recipe.network),
        "losses": asdict(recipe.weights),
        "flip": config.flip,
        "same_camera": config.same_camera,
        "validation": config.validation,
        "pairs": files.sha256(pair_list) if pair_list else None,
        "init": ancestry and ancestry["weights_sha256"],
        "vgg": features.sha256 if features is not None else None,
        "data_digest": dataset.digest,
        "points_digest": keypoints.digest(usable, points),
    }
    test = (*dataset.query, *dataset.gallery)
    held_out = [r for r in test if r.name in points and keypoints.has_torso(points[r.name])]
    return Job(recipe, dataset, points, records, withheld, pairs, held_out, determining, features, init, ancestry)


def _streamed(records: Sequence[Record], same_camera: bool) -> Pairs:
    return Pairs([record.pid for record in records], [record.camid for record in records] if same_camera else None)


def _require_meant(config: TrainGeneratorConfig, recipe: Recipe, dataset: DataSet) -> None:
    """Refuse options that would have no effect."""
    if config.vgg is not None and (not recipe.vgg_layers or recipe.training.features == "random"):
        raise ValueError("--vgg: no loss of this training reads those weights; leave it out")
    if config.foreign_init and config.init is None:
        raise ValueError("--foreign-init: there are no weights to start from; give --init, or leave it out")
    if config.pairs is not None and config.same_camera and dataset.has_cameras:
        raise ValueError("--same-camera: the list of --pairs says which images pair; leave one of them out")


def _features(recipe: Recipe, path: Path | None) -> vgg.VGG19Features | None:
    if not recipe.vgg_layers:
        return None
    if recipe.training.features == "random":
        return vgg.random_vgg19(recipe.vgg_layers, recipe.training.seed)
    return vgg.load_vgg19(recipe.vgg_layers, path)


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


def _pairs(
    config: TrainGeneratorConfig, dataset: DataSet, records: Sequence[Record], withheld: Sequence[Record]
) -> tuple[Pairs | ListedPairs, Path | None]:
    """The training pairs, and the list they come from."""
    listed = config.pairs or (None if dataset.has_cameras else dataset.pairs)
    if listed is not None:
        pairs = ListedPairs(listed, records, without=withheld)
        if not len(pairs):
            raise ValueError(f"{listed}: lists no pair, so there is nothing to train on")
        return pairs, listed
    streamed = _streamed(records, config.same_camera)
    if not len(streamed):
        where = " in one camera (try --any-camera)" if config.same_camera else ""
        raise ValueError(
            f"{dataset.root}: no identity has two images with key points{where}, so there is no pair to train on"
        )
    return streamed, None


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
    """Train on the training split of `data` until the recipe's images are seen; continue where a run was stopped.

    Processes that torchrun or Slurm started together share every batch; the first one writes.

    Returns the path of the weights.

    Raises:
        ValueError: see `prepare`; or `out` holds another configuration.
        Preempted: stopped by SIGTERM, after saving.
    """
    with launch.processes(device) as compute:
        first = distributed.rank() == 0
        log = log if first else (lambda line: None)
        require_precision(compute, config.recipe.training.precision)
        distributed.share(config.recipe.training.batch)
        job = prepare(config, data, poses)
        for note in job.dataset.notes:
            log(note)
        state = TrainingState(job.recipe, compute, job.features, job.init)
        weights_path = out / checkpoint.WEIGHTS
        folder = _open(job, out, force, first)
        if (out / "results.json").exists():
            log("already done")
            return weights_path
        share = f", one of {distributed.world()} processes" if distributed.world() > 1 else ""
        log(f"{job}, on {compute}{share}")
        unfinished = _resume(state, out / "checkpoint.safetensors", log)
        if config.cache and not first:
            distributed.wait()  # the first process fills the cache
        split = feed.load(job.records, job.points, cache=config.cache)
        if config.cache and first:
            distributed.wait()
        held_out = hold_out(job.withheld, job.points, config.same_camera, split.size) if job.withheld else None
        seconds = _train(state, job, split, held_out, config, out, unfinished, progress if first else None)
        if folder is not None:
            files.write_atomic(weights_path, _weights(state, job))
            results = _evaluate(state, job, config.same_camera, split.size, out, log)
            totals = {
                "images_seen": state.images_seen,
                "seconds_of_last_process": round(seconds, 1),
                "weights_sha256": files.sha256(weights_path),
            }
            folder.finish({"schema": 1, **totals, **results})
        distributed.wait()
    return weights_path


def rehearse(config: TrainGeneratorConfig, data: Path, poses: Path | None = None) -> Job:
    """`prepare`, and the networks built once: all that can be wrong before the first batch.

    Raises:
        ValueError: see `prepare`.
    """
    job = prepare(config, data, poses)
    TrainingState(job.recipe, torch.device("cpu"), job.features, job.init)
    return job


def _open(job: Job, out: Path, force: bool, first: bool) -> runs.Run | None:
    """The run's folder, which the first process alone opens; where it cannot, all processes end."""
    folder, failure = None, None
    if first:
        try:
            if force or not (out / "results.json").exists():
                images.require_readable((*job.records, *job.withheld, *job.held_out))
            folder = runs.open_run(out, STAGE, job.determining, force=force)
        except (ValueError, OSError) as error:
            failure = error
    if distributed.anywhere(failure is not None):
        raise failure or ValueError("the first process could not begin; its message says why")
    return folder


def _resume(state: TrainingState, path: Path, log: Callable[[str], None]) -> dict[str, Tensor]:
    """Take over a checkpoint, if there is one; what it holds of the unfinished row of losses."""
    if not path.exists():
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            state.load(tensors, file.metadata())
    except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: no checkpoint of this run ({' '.join(str(error).split())[:120]}); start afresh with --force"
        ) from None
    log(f"continuing after {state.images_seen:,} images")
    return {key: tensor.to(state.device) for key, tensor in tensors.items() if key.startswith(f"{PENDING}.")}


def _train(
    state: TrainingState,
    job: Job,
    split: feed.Posed,
    held_out: HeldOut | None,
    config: TrainGeneratorConfig,
    out: Path,
    unfinished: dict[str, Tensor],
    progress: Callable[[int, int], None] | None,
) -> float:
    """Step until done, saving, drawing and validating on the way; the seconds that this process spent."""
    first = distributed.rank() == 0
    training = job.recipe.training
    batches = feed.Feed(
        split,
        job.pairs,
        training.batch,
        training.seed,
        config.flip,
        state.device,
        state.generator.pose_map,
        state.objective.needs_mask,
    )
    journal = TrainingLog(out, state.images_seen, training, board=config.tensorboard and first)
    journal.restore(unfinished)
    started = saved_at = time.monotonic()

    def save() -> None:
        nonlocal saved_at
        saved_at = time.monotonic()
        if first:
            tensors, metadata = state.tensors()  # raises where the last steps were not finite
            journal.write()  # first: rows past the checkpoint are dropped on resuming, missing ones would stay missing
            saved = checkpoint.to_bytes(tensors | journal.pending(), metadata)
            files.write_atomic(out / "checkpoint.safetensors", saved)

    def look() -> None:
        if first:
            _look(state, job, batches, held_out, journal, out)

    with journal.kept_on_error(), interruption.on_sigterm() as sigterm:
        for step_losses in train(state, batches.batch_at):
            journal.add(state.images_seen, step_losses)
            if progress is not None:
                progress(state.images_seen, training.images)
            if state.images_seen % config.sample_images < training.batch and state.images_seen < training.images:
                look()
            stopped = distributed.anywhere(sigterm.requested)
            if stopped or time.monotonic() - saved_at > config.checkpoint_seconds:
                save()
            if stopped:  # one signal is for all; one that came after the vote waits for the next
                sigterm.requested = True
                sigterm.raise_if_requested(str(out))
    save()
    look()
    if first:
        journal.close()
    return time.monotonic() - started


def _look(
    state: TrainingState, job: Job, batches: feed.Feed, held_out: HeldOut | None, journal: TrainingLog, out: Path
) -> None:
    """Draw samples; validate, and keep the weights if they are the best so far.

    Raises:
        ValueError: the last steps were not finite.
    """
    state.objective.guard.check()
    path = out / f"samples-{state.images_seen:08d}.png"
    if held_out is None:
        shown = batches.pairs.draw(job.recipe.training.seed, 2**31, SHEET_PAIRS)
        made = transfer(state.published, batches.split, shown, state.device)
        journal.drawn(state.images_seen, write_pairs_sheet(path, batches.split, shown, made))
        return
    measured, made = held_out.measure(state.published, state.device)
    journal.drawn(state.images_seen, held_out.write_sheet(path, made))
    if journal.validated(state.images_seen, measured):
        files.write_atomic(out / "best.safetensors", _weights(state, job))


def _weights(state: TrainingState, job: Job) -> bytes:
    trained = {
        "trained_on": job.dataset.digest,
        "points_digest": job.determining["points_digest"],
        "images_seen": state.images_seen,
        "initialised_from": job.ancestry,
    }
    return checkpoint.generator_to_bytes(job.recipe.model, job.recipe.preset, state.published, extra=trained)


def _evaluate(
    state: TrainingState, job: Job, same_camera: bool, size: tuple[int, int], out: Path, log: Callable[[str], None]
) -> dict[str, Any]:
    """Quality on pairs of held-out (test) identities, beside what needs no training."""
    held_out = hold_out(job.held_out, job.points, same_camera, size)
    if held_out is None:
        log("no test identity has two images with key points to measure on, so results.json holds no held-out quality")
        return {"held_out": None}
    measured, made = held_out.measure(state.published, state.device)
    held_out.write_sheet(out / "held-out.png", made)
    found: dict[str, Any] = {f"{name}_generated": value for name, value in measured.items()}
    for baseline in ("copy", "warp"):
        values, _ = held_out.measure(create_generator(baseline).to(state.device), state.device)
        found |= {f"{name}_{baseline}": value for name, value in values.items()}
    return {"held_out": {"pairs": len(held_out.pairs), **found}}
