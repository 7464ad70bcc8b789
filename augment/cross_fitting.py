"""The judges: two re-ID networks, each trained on the real images of one half of the training identities.

RUN/fold-0.safetensors, fold-1.safetensors   the training states after the last epochs; each can rebuild its network
RUN/epochs-0.csv, epochs-1.csv               loss, accuracy, learning rate, a row an epoch
RUN/results.json                             how well each tells the real images of the other half apart
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import nn

from augment import audit, files, runs
from augment.data.images import require_readable
from augment.data.records import DataSet, Record
from augment.reid_training import file_source, init_file, require_size, train_in_files
from reid import torchreid_api
from reid.configuration import determining_options
from reid.consistency import FOLDS, folds, left_out_margin
from reid.dataset import MixedDataset
from reid.features import extract_features
from reid.mixing import MixPolicy, mix
from reid.sources import ImageSource, identities
from reid.training import ReidConfig, load_model

STAGE = "score-reid"
Bar = Callable[[str, str], AbstractContextManager[Callable[[int, int], None]]]
Log = Callable[[str], None]
Features = Float32[np.ndarray, "n d"]
JUDGED_TOGETHER = 64  # images of a forward pass


@contextmanager
def silent(description: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """No progress bar."""
    yield lambda done, total: None


@dataclass(frozen=True)
class CrossFit:
    """The judges and the split that they were trained on; fold f is judged by network 1 - f."""

    folder: Path
    training: ReidConfig
    records: tuple[Record, ...]  # the training images, by name

    @cached_property
    def fold(self) -> Int64[np.ndarray, " n"]:
        """Of each training image."""
        return folds(np.array([record.pid for record in self.records], np.int64), self.training.seed)

    def people(self, fold: int) -> list[Record]:
        """The real images of a fold, by name."""
        return [record for record, own in zip(self.records, self.fold, strict=True) if own == fold]

    def weights(self, network: int) -> Path:
        return self.folder / f"fold-{network}.safetensors"

    def load(self, network: int, device: str) -> nn.Module:
        """A trained network."""
        return load_model(self.weights(network).read_bytes(), device)[0]

    def features(self, model: nn.Module, images: ImageSource, device: str, batch: int) -> Features:
        """What a network sees in images, a row each."""
        training = self.training
        return extract_features(
            model, images, height=training.height, width=training.width, batch=batch, device=device,
            workers=training.workers,
        )  # fmt: skip

    @property
    def provenance(self) -> dict[str, Any]:
        """Which networks a score is by."""
        options = {name: getattr(self.training, name) for name in ("model", "height", "width", "seed")}
        return options | {"networks_sha256": [files.sha256(self.weights(network)) for network in range(FOLDS)]}


def prepare(folder: Path, dataset: DataSet, training: ReidConfig) -> CrossFit:
    """Check that the judges in `folder` are, or can become, those asked for.

    Raises:
        ValueError: too few identities; an unknown model, or a size that it cannot take; weights to start from that are
            missing; a run of another kind, of other data or with other options in `folder`.
    """
    records = sorted(dataset.train, key=lambda record: (record.name, record.pid, record.camid))
    pair = CrossFit(folder, training, tuple(records))
    _ = pair.fold
    _require_ours(folder, _determining(dataset, training))
    with torch.device("meta"):
        torchreid_api.build_model(training.model, 2)  # refuses an unknown one before hours of other work
    require_size(training)
    return pair


def train(
    pair: CrossFit, dataset: DataSet, *, device: str, bar: Bar = silent, log: Log = lambda line: None
) -> dict[str, Any]:
    """Train both judges, or go on with them, and test each on the fold that it has not seen; the results.

    Raises:
        ValueError: see `prepare`; an image that cannot be read; a damaged or exchanged network.
        Preempted: stopped by SIGTERM; the epochs done are saved.
    """
    folder = runs.open_run(pair.folder, STAGE, _determining(dataset, pair.training))
    if not folder.finished:
        require_readable(pair.records)
        found = [_train_network(pair, network, device, bar, log) for network in range(FOLDS)]
        seconds = sum(each["seconds"] for each in found)
        provenance = {"data_digest": dataset.digest, "versions": runs.versions()}
        folder.finish({"schema": 1, "networks": found, "seconds": seconds, "provenance": provenance})
    results = folder.results
    for network, expected in enumerate(results["networks"]):
        path = pair.weights(network)
        if not path.is_file() or files.sha256(path) != expected["checkpoint_sha256"]:
            raise ValueError(f"{path}: not the network that was trained here; restore it, or remove {pair.folder}")
        log(f"judge {network + 1}: {_described(expected)}")
    return results


def skills(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each judge how many real images of unseen identities it finds the right one for, and how many chance does."""
    tests = [network["held_out"] for network in results["networks"]]
    return [{"rank1": test["rank1"], "chance": 1 / test["identities"]} for test in tests]


def _train_network(pair: CrossFit, network: int, device: str, bar: Bar, log: Log) -> dict[str, Any]:
    """Train on one fold and judge the other."""
    own, other = file_source(pair.people(network)), file_source(pair.people(1 - network))
    training, path = pair.training, pair.weights(network)
    images = MixedDataset([own], mix(own, [], MixPolicy(ratio=0.0)), training.view)
    with bar(f"training judge {network + 1} of {FOLDS}", "img") as progress:
        model, header = train_in_files(
            training, images, path, pair.folder / f"epochs-{network}.csv",
            device=device, progress=progress, log=log, remedy=f"remove {pair.folder}",
        )  # fmt: skip
    margins = left_out_margin(pair.features(model, other, device, JUDGED_TOGETHER), identities(other))
    judged = margins[~np.isnan(margins)]
    return {
        "trained_on": {"images": len(own), "identities": images.num_classes},
        "held_out": {
            "images": len(judged),
            "identities": len(np.unique(identities(other))),
            "rank1": float(np.mean(judged > 0)) if len(judged) else None,
            "margin": float(np.mean(judged)) if len(judged) else None,
        },
        "iterations": header["iterations"],
        "seconds": header["seconds"],
        "checkpoint_sha256": files.sha256(path),
    }


def _described(network: dict[str, Any]) -> str:
    """What its test on unseen identities says of a network."""
    trained_on, test = network["trained_on"], network["held_out"]
    if test["rank1"] is None:
        return f"trained on {trained_on['identities']} identities; the others have one image each, so it is untested"
    return (
        f"trained on {trained_on['identities']} identities; of {test['images']} real images of {test['identities']} "
        f"others, {test['rank1']:.1%} are nearest to the right one (by chance {1 / test['identities']:.1%})"
    )


def _determining(dataset: DataSet, training: ReidConfig) -> dict[str, Any]:
    """What determines the networks, as the run folder keeps it."""
    weights = init_file(training)
    options = {key: value for key, value in determining_options(training).items() if key != "init"}
    inputs = {"data_digest": dataset.digest, "init_sha256": files.sha256(weights) if weights else None}
    return json.loads(json.dumps(options | inputs))


def _require_ours(folder: Path, expected: dict[str, Any]) -> None:
    """Refuse a folder with anything else than these judges in it; before the first epoch, options may still change."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--reid {folder}: is a file; give a folder, new or with judges")
    saved_path = folder / "config.json"
    saved = files.read_json(saved_path) if saved_path.exists() else {}
    stage = saved.get("stage") if isinstance(saved, dict) else None
    if stage == STAGE:
        if any(folder.glob("epochs-*.csv")):
            remedy, problem = "give its options, or a new folder", "was trained on other data or with other options"
            audit.require_same(f"--reid {folder}", saved["config"], expected, remedy, problem=problem)
    elif folder.exists() and any(folder.iterdir()):
        kind = f"is a {stage} run" if stage else "holds other files"
        why = ", whose network has seen the identities that it would judge" if stage == "train-reid" else ""
        raise ValueError(f"--reid {folder}: {kind}{why}; give a new folder, where judges are trained")
