"""Stage: measure each image of a synthetic set; the numbers lie in columns beside it, in X.scores.h5.

identity_similarity   cosine of the image's feature to the prototype of its identity, made without the source image
identity_margin       that minus the largest one to the prototype of any other identity
source_distance       1 - cosine of the features of image and source
source_l1             mean absolute difference of the pixels of image and source, in [0, 1]; a copy has 0
sharpness             variance of the Laplacian
discriminator         what the discriminators of the generator's own training say
pose_agreement        share of the target's joints that a pose estimator finds in their places

Features are those of the judges, re-ID networks that have not seen the identities which they judge
(augment.cross_fitting). A column is published as soon as it is whole, with all that determines it, and is not computed
again while that is the same.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from augment import audit, cross_fitting, files, interruption, pose_estimation, runs, store
from augment.cross_fitting import Bar, CrossFit, silent
from augment.data.read import read_data
from augment.data.records import DataSet
from augment.devices import pick_device
from augment.pose_estimation import KeypointRCNN, PoseEstimator
from augment.score_columns import (
    DISCRIMINATOR,
    IDENTITY,
    PIXELS,
    POSE_AGREEMENT,
    SHARPNESS,
    SOURCE_L1,
    Columns,
    Progress,
    Sources,
    discriminator_column,
    find_sources,
    identity_columns,
    pixel_columns,
    pose_column,
)
from augment.store.scores import StaleScoresError
from generators import checkpoint, criticism
from generators.criticism import Critic
from reid.consistency import doubt
from reid.training import ReidConfig

NAMES = (*IDENTITY, *PIXELS, DISCRIMINATOR, POSE_AGREEMENT)
GROUPS = (PIXELS, (DISCRIMINATOR,), IDENTITY, (POSE_AGREEMENT,))  # what is computed together, in this order
SIMILARITY, MARGIN, DISTANCE = IDENTITY
DEFINITIONS = {
    SIMILARITY: "cosine to the prototype of the identity without the source image",
    MARGIN: "identity_similarity, less the largest cosine to the prototype of another identity of the fold",
    DISTANCE: "1 - cosine to the source image",
    SOURCE_L1: "mean absolute difference of the pixels to the source image, in [0, 1]",
    SHARPNESS: "variance of the Laplacian of the luminance",
    DISCRIMINATOR: "mean over the discriminators of the generator's training, and over the outputs of each",
    POSE_AGREEMENT: f"{pose_estimation.MEASURE}, over the annotated joints of the target",
}
_PAIR = "needs judges (--reid RUN; they are trained there if it is new)"
_TEST_IDENTITIES = "the set was made with --allow-test-identities, and only training identities are judged"
NEEDS = {
    **dict.fromkeys(IDENTITY, ("--reid", _PAIR)),
    DISCRIMINATOR: ("--generator", "needs the training run of the set's generator (--generator RUN)"),
    POSE_AGREEMENT: ("--pose-weights", f"needs a pose estimator (--pose-weights {pose_estimation.WEIGHTS[0]})"),
}
JUDGES = ReidConfig(height=128, width=64, epochs=60, learning_rate=1.5e-3, schedule="cosine", steps=())
Log = Callable[[str], None]


@dataclass(frozen=True)
class ScoreConfig:
    """Which columns, and how the judges are trained where there are none yet."""

    scores: tuple[str, ...] = ()  # () takes all that can be computed
    training: ReidConfig = JUDGES
    batch: int = 64  # images of a forward pass

    def __post_init__(self) -> None:
        for name in self.scores:
            if name not in NAMES:
                raise ValueError(f"--scores {name}: expected some of {', '.join(NAMES)}")
        if self.batch < 1:
            raise ValueError(f"--batch {self.batch}: must be at least 1")


@dataclass(frozen=True)
class Job:
    """A set that can be scored, and by what: everything that is known before the first image is read."""

    config: ScoreConfig
    reader: store.Reader
    held: Mapping[str, store.Score]  # what is there already
    dataset: DataSet
    sources: Sources
    wanted: tuple[str, ...]
    impossible: dict[str, str]  # what is not computed, and why
    device: torch.device
    pair: CrossFit | None
    critic: tuple[Critic, dict[str, Any]] | None  # with its provenance
    estimator: PoseEstimator | None

    def __str__(self) -> str:
        found = f"{len(self.reader):,} images of {len(np.unique(self.reader.pid)):,} identities"
        there = [name for name in NAMES if name in self.held]
        return f"{found}: {', '.join(self.wanted)}" + (f"; there are {', '.join(there)}" if there else "")

    def not_computed(self) -> list[str]:
        """A line for each thing that lacks."""
        reasons = dict.fromkeys(self.impossible.values())
        lacking = {why: ", ".join(name for name in self.impossible if self.impossible[name] == why) for why in reasons}
        return [f"not computed: {names}: {why}" for why, names in lacking.items()]


def prepare(
    config: ScoreConfig,
    synthetic: Path,
    data: Path,
    *,
    reid: Path | None = None,
    generator: Path | None = None,
    pose_weights: Path | None = None,
    device: str = "auto",
    force: bool = False,
) -> Job:
    """Read and audit the set and the data, and load what scores are made with.

    Raises:
        ValueError: a selection or an unfinished set, or one of other data; scores of another set beside it, unless
            `force` is to replace them; a score that was asked for by name and needs more than is given, or that test
            identities do not get; an option that none needs; a run or weights that do not fit.
    """
    compute = pick_device(device)
    given = {"--reid": reid, "--generator": generator, "--pose-weights": pose_weights}
    weights = pose_weights or pose_estimation.find_weights()
    wanted, impossible = _choose(config, given, given | {"--pose-weights": weights})
    dataset = read_data(data)
    audit.require_disjoint(dataset)
    reader = _open_set(synthetic, dataset)
    held = _held(reader, force)
    stamped = bool(reader.attributes.get(audit.TEST_IDENTITIES))
    if stamped:
        wanted, impossible = _without_identity(config, wanted, impossible)
    pair = None if reid is None or stamped else cross_fitting.prepare(reid, dataset, config.training)
    critic = None if generator is None else _load_critic(generator, reader, compute)
    estimator = KeypointRCNN(weights, compute) if weights is not None and POSE_AGREEMENT in wanted else None
    sources = find_sources(reader, dataset, test_too=stamped)
    return Job(config, reader, held, dataset, sources, wanted, impossible, compute, pair, critic, estimator)


def run(
    config: ScoreConfig,
    synthetic: Path,
    data: Path,
    *,
    reid: Path | None = None,
    generator: Path | None = None,
    pose_weights: Path | None = None,
    device: str = "auto",
    force: bool = False,
    bar: Bar = silent,
    log: Log = lambda line: None,
) -> Path:
    """Add the columns that are not there yet, or all of them with `force`; the path of the scores.

    Ends with a warning where the judges tell people hardly apart.

    Raises:
        ValueError: see `prepare`; or an image of the set is damaged.
        Preempted: stopped by SIGTERM; whole columns, and whole epochs of the judges' training, are saved.
    """
    job = prepare(
        config, synthetic, data, reid=reid, generator=generator, pose_weights=pose_weights, device=device, force=force
    )  # fmt: skip
    for line in (*job.dataset.notes, *job.not_computed()):
        log(line)
    path, done, judges = store.scores_path(job.reader.base), True, None
    for group in GROUPS:
        names = [name for name in group if name in job.wanted]
        if names and group == IDENTITY:
            assert job.pair is not None, "scores of identity are wanted with judges only"
            results = cross_fitting.train(job.pair, job.dataset, device=str(job.device), bar=bar, log=log)
            judges = cross_fitting.skills(results)
        provenance = {name: _provenance(job, name, judges) for name in names}
        missing = [name for name in names if force or not _is_there(job.held, name, provenance[name])]
        if not missing:
            continue
        done = False
        with bar(f"scoring {', '.join(missing)}", "img") as progress, interruption.on_sigterm() as sigterm:

            def tick(count: int, total: int, progress=progress, sigterm=sigterm) -> None:
                progress(count, total)
                sigterm.raise_if_requested(f"{path} (whole columns)")

            columns = _compute(job, missing, tick)
        scores = {name: store.Score(columns[name], provenance[name]) for name in missing}
        store.write_scores(job.reader, scores, force=force)
    if done:
        log("already done")
    for line in _remarks(job, judges):
        log(line)
    return path


def table(scores: Mapping[str, store.Score]) -> str:
    """A line a column: mean, percentiles 5, 50 and 95, and how many images have no value."""
    width = max(map(len, (*scores, "score")))
    lines = [f"{'score':<{width}} {'mean':>10} {'5 %':>10} {'median':>10} {'95 %':>10} {'NaN':>8}"]
    for name in sorted(scores, key=lambda name: (NAMES.index(name) if name in NAMES else len(NAMES), name)):
        values = scores[name].values.astype(np.float64)
        found = values[~np.isnan(values)]
        figures = [found.mean(), *np.percentile(found, (5, 50, 95))] if len(found) else [np.nan] * 4
        numbers = " ".join(f"{figure:>10.4g}" for figure in figures)
        lines.append(f"{name:<{width}} {numbers} {len(values) - len(found):>8}")
    return "\n".join(lines)


def _choose(
    config: ScoreConfig, given: Mapping[str, Path | None], available: Mapping[str, Path | None]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The scores to compute, and those that cannot be, with the reasons."""
    asked = config.scores or NAMES
    lacking = {name: NEEDS[name][1] for name in asked if name in NEEDS and available[NEEDS[name][0]] is None}
    if config.scores and lacking:
        name, why = next(iter(lacking.items()))
        raise ValueError(f"--scores {name}: {why}")
    for option, path in given.items():
        if path is not None and not any(NEEDS.get(name, ("",))[0] == option for name in asked):
            raise ValueError(f"{option}: none of the scores asked for needs it; leave it out")
    return tuple(name for name in NAMES if name in asked and name not in lacking), lacking


def _without_identity(
    config: ScoreConfig, wanted: tuple[str, ...], impossible: dict[str, str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The choice for a set that may show people of query and gallery: judges know none, and are to tell nobody of them.

    Raises:
        ValueError: one of the scores of identity was asked for by name.
    """
    asked = [name for name in IDENTITY if name in config.scores]
    if asked:
        raise ValueError(f"--scores {asked[0]}: {_TEST_IDENTITIES}; ask for others, or synthesize a set without")
    rest = tuple(name for name in wanted if name not in IDENTITY)
    return rest, impossible | ({} if config.scores else dict.fromkeys(IDENTITY, _TEST_IDENTITIES))


def _remarks(job: Job, judges: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """What must be known of the scores of identity."""
    if judges is None:
        return []
    names = [name for name in IDENTITY if name in job.wanted]
    without = max(int(np.isnan(job.reader.scores[name].values).sum()) for name in names)
    lines = []
    if without:
        lines.append(f"{without:,} images without a value: their source is the only real image of its identity")
    if why := doubt(judges):
        remedy = "train new judges for longer (--epochs N) or from --init imagenet"
        lines.append(f"warning: {', '.join(names)}: hardly better than chance: {why}; {remedy}")
    return lines


def _open_set(path: Path, dataset: DataSet) -> store.Reader:
    """A whole synthetic set that was made from this training split, and from nothing else unless it says so."""
    reader = store.Reader(path)
    if reader.rows is not None:
        raise ValueError(f"{path}: a selection; score the set that it is of, {reader.base}, whose scores it shares")
    if not reader.attributes.get("complete"):
        raise ValueError(f"{path}: one part of an unfinished set; run `augment synthesize` to its end first")
    remedy = "give the data that the set was made from"
    audit.require_same(str(path), reader.attributes, {"data_digest": dataset.digest}, remedy)
    if not reader.attributes.get(audit.TEST_IDENTITIES):
        audit.require_no_test_images(reader.used_files(), dataset, str(path))
    return reader


def _held(reader: store.Reader, force: bool) -> Mapping[str, store.Score]:
    """The scores that are there; those of another set, before anything is computed, are refused or given up."""
    try:
        return reader.scores
    except StaleScoresError:
        if not force:
            raise
        return {}


def _load_critic(run: Path, reader: store.Reader, device: torch.device) -> tuple[Critic, dict[str, Any]]:
    """The discriminators of the training that made a set's generator, and what identifies them."""
    saved = files.read_json(run / "config.json") if (run / "config.json").is_file() else {}
    if not isinstance(saved, dict) or saved.get("stage") != "train-generator":
        raise ValueError(
            f"--generator {run}: no run of `augment train-generator`, which alone keeps discriminators; give the "
            "folder in which the set's generator was trained"
        )
    weights = {"weights_sha256": checkpoint.weights_sha256(run)}
    of_set = {"weights_sha256": reader.attributes["generator"].get("weights_sha256")}
    problem, remedy = "its weights did not make this set", "give the run in which the set's generator was trained"
    audit.require_same(f"--generator {run}", weights, of_set, remedy, problem=problem)
    path = run / "checkpoint.safetensors"
    try:
        recipe = criticism.restore_recipe(saved["config"])
        critic = criticism.create_critic(recipe, _discriminators(path), device)
    except (ValueError, SafetensorError, OSError) as error:
        raise ValueError(f"--generator {run}: {' '.join(str(error).split())}; leave it out") from None
    return critic, {
        **weights,
        "checkpoint_sha256": files.sha256(path),
        "model": recipe.model,
        "preset": recipe.preset,
        "discriminators": sorted(critic.judges),
        "value": critic.meaning,
        "judged_together": critic.company,
    }


def _discriminators(path: Path) -> dict[str, torch.Tensor]:
    """Those tensors of a training's state alone: the rest may be many times as much."""
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(f"{criticism.NETWORK}.")]  # noqa: SIM118 (no mapping)
        return {name: file.get_tensor(name) for name in names}


def _provenance(job: Job, name: str, judges: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    """All that determines a column, as JSON values, and how good its judges are."""
    said: dict[str, Any] = {"definition": DEFINITIONS[name]}
    if name in (*IDENTITY, SOURCE_L1):
        said["data_digest"] = job.dataset.digest
    if name == SOURCE_L1 and job.reader.attributes.get(audit.TEST_IDENTITIES):
        said["test_digest"] = job.dataset.test_digest
    if name in IDENTITY and job.pair is not None:
        said |= {"reid": job.pair.provenance, "judges": judges}
    if name == DISCRIMINATOR and job.critic is not None:
        said["generator"] = job.critic[1]
    if name == POSE_AGREEMENT and job.estimator is not None:
        said["pose_estimator"] = job.estimator.provenance
    return json.loads(json.dumps(said | {"versions": runs.versions()}))


def _is_there(held: Mapping[str, store.Score], name: str, provenance: dict[str, Any]) -> bool:
    """Whether this very column was computed before, under any versions of the libraries."""
    found = held.get(name)
    return found is not None and found.provenance | {"versions": provenance["versions"]} == provenance


def _compute(job: Job, names: list[str], progress: Progress) -> Columns:
    """The columns of one group."""
    reader, sources, batch = job.reader, job.sources, job.config.batch
    if names[0] in IDENTITY:
        assert job.pair is not None
        device = str(job.device)
        return identity_columns(reader, sources, job.pair, device=device, batch=batch, progress=progress)
    if names[0] in PIXELS:
        return pixel_columns(reader, sources, names, progress=progress)
    if names[0] == DISCRIMINATOR:
        assert job.critic is not None
        critic, device = job.critic[0], job.device
        column = discriminator_column(reader, sources, critic, device=device, batch=batch, progress=progress)
        return {DISCRIMINATOR: column}
    assert job.estimator is not None
    return {POSE_AGREEMENT: pose_column(reader, job.estimator, batch=batch, progress=progress)}
