"""Stage: train a torchreid model on real, or real and synthetic, images, and evaluate it on query and gallery.

RUN/checkpoint.safetensors   the training state after the last epoch; it knows how to rebuild the network
RUN/epochs.csv               loss, accuracy, learning rate, a row an epoch
RUN/results.json             mAP, CMC, mINP and the scores of every query
RUN/tensorboard/             the figures of all of them as TensorBoard events, where asked for
"""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from augment import audit, files, launch, runs
from augment.board import Board
from augment.data import search
from augment.data.crossing import cross
from augment.data.images import require_readable
from augment.data.read import read_data
from augment.data.records import DataSet
from augment.data.subsets import Origin, origin
from augment.reid_training import (
    file_source,
    in_company,
    init_file,
    init_notes,
    listed_source,
    require_size,
    train_in_files,
)
from augment.store import Reader
from augment.store.selection import read_selection
from reid import distributed
from reid.configuration import determining_options
from reid.dataset import MixedDataset
from reid.devices import UNRECORDED, described
from reid.features import extract_features
from reid.metrics import Evaluation, evaluate_features
from reid.mixing import MixPolicy, mix
from reid.networks import require_possible
from reid.reencoding import Jpeg, Reencoded, estimated
from reid.results import results
from reid.sources import identities
from reid.training import ReidConfig, require_trainable

STAGE = "train-reid"
MATCHES = ("epochs", "iterations")

# What earlier versions did where a policy now has these options.
LATER = {"set_weights": (), "replace": False, "control": "none", "portion_seed": None}


@dataclass(frozen=True)
class TrainReidConfig:
    """What to train on what, and how to rank the gallery; `training` and `mixing` hold the options of their parts."""

    training: ReidConfig = field(default_factory=ReidConfig)
    mixing: MixPolicy = field(default_factory=MixPolicy)
    match: str = "epochs"  # iterations: synthetic images do not lengthen an epoch, it has as many draws as real images
    metric: str = "euclidean"
    recipe: str | None = None  # where the options came from; they alone decide the result
    jpeg: int | str | None = None  # quality by which synthetic images are re-encoded; match: that of the real files

    def __post_init__(self) -> None:
        if self.match not in MATCHES:
            raise ValueError(f"match {self.match!r}: must be one of {', '.join(MATCHES)}")
        if isinstance(self.jpeg, str) and self.jpeg != "match":
            raise ValueError(f"jpeg {self.jpeg!r}: must be a quality from 1 to 100, or match")


@dataclass(frozen=True)
class Job:
    """A checked training: what is known before the first image is decoded."""

    dataset: DataSet
    readers: list[Reader]
    images: MixedDataset
    training: ReidConfig
    provenance: dict[str, Any]
    jpeg: Jpeg | None
    copies: bool
    notes: tuple[str, ...]  # on the data and on the weights that the training starts from

    def __str__(self) -> str:
        synthetic = int(np.count_nonzero(self.images.synthetic))
        real = len(self.images.synthetic) - synthetic
        kind = "duplicated" if self.copies else "synthetic"
        encoded = f" ({self.jpeg})" if self.jpeg else ""
        return f"{real} real and {synthetic} {kind} images{encoded} of {self.images.num_classes} identities"


def prepare(config: TrainReidConfig, data: Path, synthetic: Sequence[Path] = (), test: Path | None = None) -> Job:
    """Read and audit data and synthetic sets, and mix them. Query and gallery are those of `test`, or of `data`.

    Raises:
        ValueError: an impossible network or size, bad data or weights, a synthetic set of another split, sets that
            share images, an impossible mix or quota; a batch that the processes that were started together cannot
            share.
    """
    require_possible(config.training)
    require_size(config.training)
    dataset = read_data(data) if test is None else cross(read_data(data), read_data(test))
    audit.require_disjoint(dataset)
    _require_queries(dataset)
    readers = [_open_set(path, dataset) for path in synthetic]
    _require_distinct(readers)
    jpeg = _jpeg(config, dataset) if readers else None
    images, training = _images(config, dataset, readers, jpeg)
    require_trainable(training, images, launch.rank().world)
    notes = (*dataset.notes, *init_notes(training, images.num_classes))
    provenance = _provenance(config, dataset, readers) | {"jpeg": asdict(jpeg) if jpeg else None}
    copies = config.mixing.control == "real-duplicated"
    return Job(dataset, readers, images, training, provenance, jpeg, copies, notes)


def run(
    config: TrainReidConfig,
    data: Path,
    out: Path,
    synthetic: Sequence[Path] = (),
    *,
    test: Path | None = None,
    device: str = "auto",
    force: bool = False,
    tensorboard: bool = False,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train on the training split of `data` and the synthetic sets, or go on; returns the path of results.json.

    `test` is another data set, whose query and gallery are evaluated instead of those of `data`. Of processes
    that torchrun or Slurm started together, which share every batch, the first one writes, and evaluates at the end,
    when the others have left.

    Raises:
        ValueError: bad data or weights, a synthetic set of another split, another configuration in `out`.
        Preempted: stopped by SIGTERM, or by the end of another process; the epochs done are saved.
    """
    weights, journal = out / "checkpoint.safetensors", out / "epochs.csv"
    board = out / "tensorboard" if tensorboard else None
    with in_company(weights, config.training.epochs), launch.processes(device) as compute:
        if distributed.rank() > 0:
            progress, log = None, lambda line: None
        job = distributed.in_all(lambda: prepare(config, data, synthetic, test))
        for note in job.notes:
            log(note)
        determining = _determining(config, job.provenance)
        folder = distributed.in_first(lambda: _open(job, out, determining, force))
        if distributed.anywhere(folder is not None and folder.finished):
            log("already done")
            return out / "results.json"
        share = f", one of {distributed.world()} processes" if distributed.world() > 1 else ""
        log(f"{job}, {job.training.model} on {compute}{share}")
        model, header = train_in_files(
            job.training, job.images, weights, journal, device=str(compute), progress=progress, log=log, board=board
        )
    if folder is None:
        return out / "results.json"

    evaluation = _evaluate(config, model, job.dataset, str(compute))
    log(f"mAP {evaluation.mAP:.1%}, rank-1 {evaluation.cmc[0]:.1%}")
    found = results(
        evaluation,
        query_pids=np.asarray([record.pid for record in job.dataset.query]) - job.dataset.test_shift,
        query_camids=np.asarray([record.camid for record in job.dataset.query]),
        num_gallery=len(job.dataset.gallery),
        config=_plain(config),
        provenance=job.provenance
        | {
            "checkpoint_sha256": files.sha256(weights),
            "processes": header.get("processes", [1]),
            "devices": sorted({*header.get("devices", [UNRECORDED]), described(compute)}),
        },
        images_seen=header["images_seen"],
        iterations=header["iterations"],
        seconds=header["seconds"],
    )
    path = folder.finish(found)
    with Board(board, header["images_seen"]) as events:  # last, so that no run shows them twice
        events.scalars("results", {"mAP": evaluation.mAP, "rank-1": float(evaluation.cmc[0])}, header["images_seen"])
    return path


def _open(job: Job, out: Path, determining: dict[str, Any], force: bool) -> runs.Run:
    if force or not (out / "results.json").exists():
        require_readable((*job.dataset.train, *job.dataset.query, *job.dataset.gallery))
    return runs.open_run(out, STAGE, determining, force=force)


def _jpeg(config: TrainReidConfig, dataset: DataSet) -> Jpeg | None:
    """How synthetic images are re-encoded."""
    if isinstance(config.jpeg, str):
        return estimated([record.path for record in sorted(dataset.train, key=lambda record: record.name)])
    return None if config.jpeg is None else Jpeg(config.jpeg)


def _images(
    config: TrainReidConfig, dataset: DataSet, readers: Sequence[Reader], jpeg: Jpeg | None
) -> tuple[MixedDataset, ReidConfig]:
    """The training list, and the options of the training with the length of an epoch filled in."""
    real = file_source(dataset.train)
    items = mix(real, readers, config.mixing)
    training = config.training
    if config.match == "iterations":
        if training.epoch_images is not None:
            raise ValueError("match iterations sets the length of an epoch, and so does epoch_images: give one of them")
        training = replace(training, epoch_images=sum(not item.synthetic for item in items))
    synthetic = [Reencoded(reader, jpeg) for reader in readers] if jpeg else readers
    return MixedDataset([real, *synthetic], items, training.view), training


def _evaluate(config: TrainReidConfig, model: nn.Module, dataset: DataSet, device: str) -> Evaluation:
    training = config.training
    query, gallery = listed_source(dataset.query), listed_source(dataset.gallery)
    query_features, gallery_features = (
        extract_features(
            model, source, height=training.height, width=training.width, device=device, workers=training.workers
        )
        for source in (query, gallery)
    )
    labels = (identities(query), identities(gallery), *search.cameras(dataset.query, dataset.gallery))
    return evaluate_features(query_features, gallery_features, *labels, config.metric)


def _require_queries(dataset: DataSet) -> None:
    """Say before the training, not after it, that nothing can be evaluated."""
    root = dataset.test_root or dataset.root
    if not dataset.query:
        raise ValueError(f"{root}: has no queries, so it trains generators only; give another set, or one as --test")
    if len(search.unmatched(dataset)) == len(dataset.query):
        raise ValueError(
            f"{root}: none of its {len(dataset.query)} queries has an image of the same identity from another "
            f"camera among its {len(dataset.gallery)} gallery images, so there is nothing to evaluate; check query/ "
            "and bounding_box_test/"
        )


def _open_set(path: Path, dataset: DataSet) -> Reader:
    """A synthetic set that was made from this training split and from nothing else.

    Raises:
        ValueError: unfinished, of another split, or with test images among its sources or target poses.
    """
    reader = Reader(path)
    if not reader.attributes.get("complete"):
        raise ValueError(
            f"{path}: one part of an unfinished set; run `augment synthesize` to its end and give its X.h5"
        )
    audit.require_no_test_identities(str(path), reader.attributes)
    remedy = "synthesize from this training split"
    audit.require_same(str(path), reader.attributes, {"data_digest": dataset.digest}, remedy)
    used = reader.used_files()
    named = {record.name: record for record in (*dataset.query, *dataset.gallery)}
    audit.require_training_only([named[name] for name in sorted(used & named.keys())], dataset, str(path))
    return reader


def _require_distinct(readers: Sequence[Reader]) -> None:
    """Refuse sets that share images, such as a set and a selection of it, which would count twice.

    Raises:
        ValueError: naming both.
    """
    for one, other in itertools.combinations(readers, 2):
        if _content(one) != _content(other):
            continue
        shared = len(np.intersect1d(_rows(one), _rows(other), assume_unique=True))
        if shared:
            raise ValueError(
                f"--synthetic {one.path} and --synthetic {other.path}: {shared:,} images are in both, which would "
                "count twice; give one of them"
            )


def _content(reader: Reader) -> str:
    """What identifies the images of the set that the pixels lie in."""
    return reader.content_sha256 if reader.rows is None else read_selection(reader.path).content


def _rows(reader: Reader) -> np.ndarray:
    """Of that set."""
    return np.arange(len(reader)) if reader.rows is None else reader.rows


def _provenance(config: TrainReidConfig, dataset: DataSet, readers: Sequence[Reader]) -> dict[str, Any]:
    """What the result rests on."""
    weights, subset = init_file(config.training), origin(dataset)
    return {
        "data_digest": dataset.digest,
        "test_digest": dataset.test_digest,
        "init_sha256": files.sha256(weights) if weights else None,
        "synthetic": [
            {
                "name": reader.path.name,
                "content_sha256": reader.content_sha256,
                "images": len(reader),
                "plan_sha256": reader.attributes["plan_sha256"],
                "generator": reader.attributes["generator"],
                "selection": reader.attributes.get("selection"),
            }
            for reader in readers
        ],
        "regime": _regime(config.mixing.portion, subset) if readers else None,
        "subset": asdict(subset) if subset else None,
        "versions": runs.versions(),
    }


def _regime(portion: float, subset: Origin | None) -> str | None:
    """Whether the generator has seen withheld images, which a set of all training images shows; None: there are none.

    Of a subset the withheld ones are nowhere, for any stage.
    """
    if portion < 1:
        return "G-full"
    return "G-subset" if subset is not None and subset.portion < 1 else None


def _determining(config: TrainReidConfig, provenance: dict[str, Any]) -> dict[str, Any]:
    """The part of configuration and inputs that determines the result, flat, as the run folder keeps it.

    Options that earlier versions did not have are left out at their defaults, so that their folders stay valid.
    """
    training = {key: value for key, value in determining_options(config.training).items() if key != "init"}
    policy = {key: value for key, value in asdict(config.mixing).items() if key not in LATER or value != LATER[key]}
    mixing = {f"mixing_{key}": value for key, value in policy.items()}
    inputs = {key: provenance[key] for key in ("data_digest", "test_digest", "init_sha256")}
    encoded = {"jpeg": provenance["jpeg"]} if provenance["jpeg"] else {}
    sets = [entry["content_sha256"] for entry in provenance["synthetic"]]
    found = training | mixing | {"match": config.match, "metric": config.metric} | inputs | encoded
    return json.loads(json.dumps(found | {"synthetic_sha256": sets}))


def _plain(config: TrainReidConfig) -> dict[str, Any]:
    """The configuration as JSON values."""
    return json.loads(json.dumps(asdict(config)))
