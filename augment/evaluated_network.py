"""The network that a gallery is ranked by: one of our own trainings, which knows what it is, or torchreid's weights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from augment import files
from reid import checkpoint, torchreid_api
from reid.configuration import ReidConfig
from reid.metrics import require_metric
from reid.networks import require_possible
from reid.training import load_model

METRIC, SIZE = "euclidean", (256, 128)  # where neither a run nor the user says
CHECKPOINT = "checkpoint.safetensors"
TRAINING = "train-reid"  # the stage whose configuration holds a metric


@dataclass(frozen=True)
class Options:
    """What a command calls the weights, and what their file may not say."""

    checkpoint: str = "--checkpoint"
    model: str = "--model"
    size: str = "--size"


@dataclass(frozen=True)
class EvaluatedNetwork:
    """A network, ready to extract features, and what is known of it; of torchreid's weights that is little.

    `sha256` is that of the file, `epoch` of `epochs` the state of its training. The configuration of its run tells the
    metric by which the run ranks at its end, and the digest of the data set that it was trained on.
    """

    network: nn.Module
    model: str
    height: int
    width: int
    sha256: str
    metric: str | None = None
    epoch: int | None = None
    epochs: int | None = None
    data_digest: str | None = None

    @property
    def unfinished(self) -> bool:
        """Whether its training is known to have had further epochs before it."""
        return self.epoch is not None and self.epochs is not None and self.epoch < self.epochs

    @property
    def facts(self) -> dict[str, Any]:
        """What results say of it; None is what is not known."""
        names = ("model", "height", "width", "epoch", "epochs", "data_digest")
        return {"checkpoint_sha256": self.sha256, **{name: getattr(self, name) for name in names}}


def weights_file(path: Path) -> Path:
    """The file of weights of a run folder, or the file itself."""
    return path / CHECKPOINT if path.is_dir() else path


def load(
    path: Path,
    *,
    model: str | None = None,
    height: int | None = None,
    width: int | None = None,
    options: Options | None = None,
) -> EvaluatedNetwork:
    """The network of a run folder, of a checkpoint of ours, or of torchreid's weights.

    model, height and width are what torchreid's weights do not say.

    Raises:
        ValueError: no such file, one that is no checkpoint, weights of another model or that are not finite, a size
            that the model cannot take, or options that the file knows better.
    """
    options = options or Options()
    path = weights_file(path)
    if not path.is_file():
        raise ValueError(f"{options.checkpoint} {path}: no such file; give a train-reid run or a file of weights")
    if path.suffix != ".safetensors":
        return _foreign(path, model, height, width, options)
    if model or height or width:
        raise ValueError(
            f"{options.checkpoint} {path}: knows its model and size; leave {options.model} and {options.size} out"
        )
    try:
        return _own(path)
    except ValueError as error:
        raise ValueError(f"{options.checkpoint} {error}") from None


def _own(path: Path) -> EvaluatedNetwork:
    data = path.read_bytes()
    try:
        network, trained = load_model(data)
        header = checkpoint.from_bytes(data).header
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    _require_finite(network, path)
    run = _configuration(path)
    return EvaluatedNetwork(
        network, trained.model, trained.height, trained.width, hashlib.sha256(data).hexdigest(),
        epoch=header["epoch"], epochs=trained.epochs, metric=run.get("metric"), data_digest=run.get("data_digest"),
    )  # fmt: skip


def _require_finite(network: nn.Module, path: Path) -> None:
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ValueError(
                f"{path}: the tensor {name} holds values that are not finite; take an earlier checkpoint, "
                "or train again with a lower learning rate"
            )


def _configuration(path: Path) -> dict[str, Any]:
    """The configuration of the run that a checkpoint lies in; empty where it lies in none."""
    saved_path = path.with_name("config.json")
    if path.name != CHECKPOINT or not saved_path.is_file():
        return {}
    saved = files.read_json(saved_path)
    config = saved.get("config") if isinstance(saved, dict) and saved.get("stage") == TRAINING else None
    if not isinstance(config, dict):
        return {}
    try:
        require_metric(config.get("metric", METRIC))
    except ValueError as error:
        raise ValueError(f"{saved_path}: {error}; restore the file") from None
    return config


def _foreign(
    path: Path, model: str | None, height: int | None, width: int | None, options: Options
) -> EvaluatedNetwork:
    if model is None:
        raise ValueError(
            f"{options.checkpoint} {path}: which network is it of? Add {options.model}, such as osnet_x1_0"
        )
    usual = torchreid_api.FIXED_SIZES.get(model, SIZE)
    height, width = height or usual[0], width or usual[1]
    try:
        config = ReidConfig(model=model, height=height, width=width)
    except ValueError as error:
        raise ValueError(f"{options.size} {height}x{width}: {error}; leave {options.size} out") from None
    try:
        require_possible(config)
    except ValueError as error:
        raise ValueError(f"{options.model} {model}: {error}") from None
    network = torchreid_api.build_model(model, num_classes=1)
    sha256 = files.sha256(path)
    try:
        torchreid_api.load_weights(network, path)
    except ValueError as error:
        raise ValueError(f"{options.checkpoint} {_explained(path, error)}") from None
    if files.sha256(path) != sha256:
        raise ValueError(f"{options.checkpoint} {path}: was written to while it was read; evaluate it again")
    return EvaluatedNetwork(network.eval(), model, height, width, sha256)


def _explained(path: Path, error: ValueError) -> str:
    """What a user can do about weights that cannot be loaded, where torch's own words are not about that."""
    if error.__cause__ is None:
        return str(error)
    if "Unsupported global" in str(error.__cause__):
        return f"{path}: holds Python objects beside weights, which are not loaded; save its state_dict alone"
    return f"{path}: cannot be read as weights: empty, cut off, damaged or no file of torch's; copy it again"
