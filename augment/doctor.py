"""What is installed, which devices compute, which weights are found, and what to do about the rest."""

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch

from augment import backbones, estimators, runs, weights
from augment.backbones import MissingWeights
from generators.vgg import vgg19_path
from reid import torchreid_api

# By the module that is imported.
EXTRAS = {
    "matplotlib": "report",
    "lpips": "metrics",
    "torch_fidelity": "metrics",
    "numba": "metrics",
    "onnxruntime": "pose",
    "pytest": "test",
}
# What torchreid needs and does not declare.
OF_TORCHREID = ("scipy", "opencv-python-headless", "gdown", "tensorboard")
PRETRAINED = ("osnet_x0_25", "osnet_x1_0", "resnet50")
OF_METRICS = {
    "alexnet": "alexnet (lpips)",
    "inception-2015-12-05": "inception 2015-12-05 (fid, kid)",
    "inception_v3 (torchvision)": "inception_v3 (fid_gfla)",
}


def examine() -> dict[str, dict[str, str]]:
    """Findings by section, then by name."""
    return {
        "versions": runs.versions(),
        "devices": _devices(),
        "torchreid needs": _of_torchreid(),
        "extras": _extras(),
        "weights": _weights(),
    }


def _devices() -> dict[str, str]:
    found = {"cpu": f"{torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bf16 = "with bf16" if torch.cuda.is_bf16_supported() else "without bf16"
        found[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {bf16}"
    if not torch.cuda.device_count():
        found["cuda"] = "none visible; market presets need a GPU to train in hours"
    return found


def _of_torchreid() -> dict[str, str]:
    found = {}
    for name in OF_TORCHREID:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = f"absent: pip install {name}"
    return found


def _extras() -> dict[str, str]:
    return {
        name: "installed" if importlib.util.find_spec(name) else f"absent: pip install 'reid-augment[{extra}]'"
        for name, extra in EXTRAS.items()
    }


def _weights() -> dict[str, str]:
    """Weights that some options need; none is ever downloaded."""
    vgg = vgg19_path()
    found = {
        "dptn tiny (shipped)": _found(weights.TINY),
        "vgg19 (perceptual losses)": _found(vgg) if vgg.exists() else f"missing: put torchvision's file at {vgg}",
    }
    for model in PRETRAINED:
        try:
            found[f"{model} (--init imagenet)"] = _found(torchreid_api.imagenet_file(model))
        except ValueError as error:
            found[f"{model} (--init imagenet)"] = f"missing: {error}"
    for name, shown in OF_METRICS.items():
        found[shown] = _found_or_missing(backbones.require, name)
    for name in estimators.ESTIMATORS:
        found[f"{name} (poses)"] = _found_or_missing(estimators.require_weights, name)
    return found


def _found_or_missing(require: Callable[[str], Path], name: str) -> str:
    try:
        return _found(require(name))
    except MissingWeights as error:
        return str(error)


def _found(path: Path) -> str:
    return f"{path}, {path.stat().st_size / 1e6:.1f} MB"
