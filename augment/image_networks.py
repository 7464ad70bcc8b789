"""The networks that metrics of generated images need: found, or why not."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn

from augment import backbones, evaluated_network
from augment.backbones import FidelityInception, GflaInception, Lpips, MissingExtra, MissingWeights
from augment.data.records import DataSet
from augment.devices import pick_device
from augment.estimators import make_estimator
from augment.image_metrics import ALEXNET, ESTIMATOR, INCEPTION, REID, TORCHVISION
from augment.pose_estimation import PersonDetector
from reid.features import extract_features

Network = TypeVar("Network")

# What --weights calls a network, and what it goes by among the published files.
PUBLISHED = {ALEXNET: "alexnet", INCEPTION: "inception-2015-12-05", TORCHVISION: "inception_v3 (torchvision)"}


REID_OPTIONS = evaluated_network.Options("--reid", "--reid-model", "--reid-size")


@dataclass(frozen=True)
class Asked:
    """Where networks come from; what is not given is looked for in the usual caches."""

    weights: Mapping[str, Path] = field(default_factory=dict)  # by the names in PUBLISHED
    estimator: str = "rtmpose"
    pose_weights: Path | None = None
    reid: Path | None = None
    reid_model: str | None = None  # torchreid's name, where `reid` is no training of ours
    reid_size: tuple[int, int] | None = None


@final
class ReidNetwork:
    """A trained re-ID network, and what is known of its training."""

    def __init__(self, model: nn.Module, size: tuple[int, int], device: torch.device, provenance: dict[str, Any]):
        self._model, self._size, self._device = model, size, device
        self.provenance = provenance

    def features(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n d"]:
        height, width = self._size
        return extract_features(
            self._model, _Nobody(images), height=height, width=width, batch=len(images), device=self._device
        )


@dataclass(frozen=True)
class Networks:
    """Those that were found; of the others `missing` says why they were not."""

    lpips: Lpips | None = None
    inception: FidelityInception | None = None
    torchvision: GflaInception | None = None
    estimator: PersonDetector | None = None
    reid: ReidNetwork | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def provenance(self) -> dict[str, dict[str, Any]]:
        """Of each that was found."""
        named = {
            ALEXNET: self.lpips, INCEPTION: self.inception, TORCHVISION: self.torchvision,
            "pose_estimator": self.estimator, "reid": self.reid,
        }  # fmt: skip
        return {name: network.provenance for name, network in named.items() if network is not None}


def open_networks(wanted: Collection[str], asked: Asked, device_name: str, dataset: DataSet | None) -> Networks:
    """Load what is wanted; `dataset` is what a re-ID network's training is compared with.

    Raises:
        ValueError: a file that was given is not what it should be.
    """
    unknown = sorted(asked.weights.keys() - PUBLISHED.keys())
    if unknown:
        raise ValueError(f"--weights {unknown[0]}: no such network; expected some of {', '.join(PUBLISHED)}")
    device = pick_device(device_name)
    missing: dict[str, str] = {}

    def opened(name: str, kind: Callable[[], Network]) -> Network | None:
        if name not in wanted:
            return None
        try:
            return kind()
        except (MissingWeights, MissingExtra) as error:
            missing[name] = str(error)
            return None

    lpips = opened(ALEXNET, lambda: _published(Lpips, ALEXNET, asked, device))
    inception = opened(INCEPTION, lambda: _published(FidelityInception, INCEPTION, asked, device))
    torchvision = opened(TORCHVISION, lambda: _published(GflaInception, TORCHVISION, asked, device))
    estimator = opened(ESTIMATOR, lambda: _estimator(asked, device_name))
    if REID in wanted and asked.reid is None:
        missing[REID] = "needs a re-ID network: give --reid RUN"
    reid = _reid(asked, device, dataset) if REID in wanted and asked.reid is not None else None
    return Networks(lpips, inception, torchvision, estimator, reid, missing)


def _reid(asked: Asked, device: torch.device, dataset: DataSet | None) -> ReidNetwork:
    """The network of a `train-reid` run (or its checkpoint), or of a file of torchreid's."""
    assert asked.reid is not None
    height, width = asked.reid_size or (None, None)
    found = evaluated_network.load(asked.reid, model=asked.reid_model, height=height, width=width, options=REID_OPTIONS)
    facts = dict(found.facts)
    said = {
        "weights_sha256": facts.pop("checkpoint_sha256"),
        "trained_on_split": facts.pop("data_digest") or "unknown",
        **facts,
    }
    if dataset is not None and found.data_digest is not None:
        said["trained_on_this_data"] = found.data_digest == dataset.digest
    return ReidNetwork(found.network.to(device).eval(), (found.height, found.width), device, said)


def _published(kind: Callable[[Path, torch.device], Network], name: str, asked: Asked, device: torch.device) -> Network:
    """A network with the weights that were given, or that lie in the usual caches."""
    given = asked.weights.get(name)
    if given is not None:
        try:
            return kind(given, device)
        except MissingExtra:
            raise
        except ValueError as error:
            raise ValueError(f"--weights {name}={error}") from None
    try:
        path = backbones.require(PUBLISHED[name])
    except MissingWeights as error:
        raise MissingWeights(f"{error}, or give --weights {name}=FILE") from None
    return kind(path, device)


def _estimator(asked: Asked, device: str) -> PersonDetector:
    try:
        return make_estimator(asked.estimator, asked.pose_weights, device)
    except MissingExtra:
        raise
    except MissingWeights as error:
        raise MissingWeights(f"{error}, or give --pose-weights FILE") from None
    except ValueError as error:
        raise ValueError(f"--pose-weights {error}") from None


@final
class _Nobody:
    """Images in memory as a source; who they show is not asked."""

    def __init__(self, images: UInt8[np.ndarray, "n h w 3"]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return self._images[index]

    def identity(self, index: int) -> int:
        return 0

    def camera(self, index: int) -> int:
        return 0
