"""The one place that imports torchreid: its models and optimisers, and the files that hold their weights.

PyPI's torchreid 0.2.5 keeps its modules in `torchreid.reid`, upstream in `torchreid`; both offer them as attributes of
the package, which is all that is used here. Nothing is imported before it is asked for, and nothing is downloaded.
"""

import difflib
import functools
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

OPTIMISERS = ("adam", "amsgrad", "sgd", "rmsprop")

# What tells the training identities apart, in torchreid's models (HACNN has two) and in ImageNet files.
CLASSIFIERS = ("classifier", "last_linear.", "fc.weight", "fc.bias")

# The layers between the network's body and its classifier, which weights to start from may lack.
HEAD = "fc."

# torchvision's names of the ImageNet weights that torchreid uses for these models.
TORCHVISION_FILES = {
    "resnet18": "resnet18-5c106cde.pth",
    "resnet34": "resnet34-333f7ec4.pth",
    "resnet50": "resnet50-19c8e357.pth",
    "resnet50_fc512": "resnet50-19c8e357.pth",
    "resnet101": "resnet101-5d3b4d8f.pth",
    "resnet152": "resnet152-b121ed2d.pth",
}


# Models that take one size of input only.
FIXED_SIZES = {"hacnn": (160, 64), "mudeep": (256, 128)}


@functools.cache
def torchreid() -> ModuleType:
    """The package, whichever layout it has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Cython evaluation", category=UserWarning)
        import torchreid as package
    return package


def model_names() -> list[str]:
    """Every model that torchreid can build."""
    return sorted(vars(torchreid().models)["__model_factory"])


def build_model(name: str, num_classes: int, *, features: bool = False) -> nn.Module:
    """A model with random weights, drawn from torch's global generator; in training it gives features too, if asked.

    Raises:
        ValueError: no model of that name; the message holds similar ones.
    """
    if name not in model_names():
        close = difflib.get_close_matches(name, model_names(), n=3, cutoff=0.4) or ["osnet_x0_25", "resnet50"]
        raise ValueError(f"model {name!r} is not one of torchreid's; did you mean {', '.join(close)}?")
    loss = "triplet" if features else "softmax"
    return torchreid().models.build_model(name, num_classes, loss=loss, pretrained=False, use_gpu=False)


def set_last_stride(model: nn.Module, stride: int) -> None:
    """Change the stride of a residual network's last stage; 1 keeps its maps twice as large (Sun et al. 2018).

    Raises:
        ValueError: not such a network.
    """
    stage = getattr(model, "layer4", None)
    if not isinstance(stage, nn.Sequential) or not isinstance(stage[0], nn.Module):
        raise ValueError(f"last_stride {stride}: only residual networks (resnet50, ...) have a last stage to change")
    strided = [layer for layer in stage[0].modules() if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1)]
    if not strided:
        if stride == 1:
            return
        raise ValueError(f"last_stride {stride}: this model's last stage has stride 1; leave it out")
    for layer in strided:
        layer.stride = (stride, stride)


def build_optimiser(
    model: nn.Module,
    name: str,
    learning_rate: float,
    weight_decay: float,
    *,
    base_rate: float = 1.0,
    new_layers: Sequence[str] = (),
    fused: bool = False,
) -> torch.optim.Optimizer:
    """torchreid's optimiser with the betas of its training scripts; its API's default for the second is 0.99.

    With a `base_rate` other than 1 the layers that are not `new_layers` have that multiple of the rate (torchreid's
    staged_lr). The key `scale` of each group is its multiple. With `fused` Adam's update of a tensor is one pass over
    it, which rounds otherwise and keeps the same state; torch's fused SGD fails where layers begin to learn later.

    Raises:
        ValueError: the model lacks one of the new layers.
    """
    if base_rate != 1:
        require_layers(model, new_layers, "base_rate")
    optimiser = torchreid().optim.build_optimizer(
        model, name, lr=learning_rate, weight_decay=weight_decay, adam_beta1=0.9, adam_beta2=0.999,
        staged_lr=base_rate != 1, new_layers=list(new_layers), base_lr_mult=base_rate,
    )  # fmt: skip
    scales = (base_rate, 1.0) if base_rate != 1 else (1.0,)
    for group, scale in zip(optimiser.param_groups, scales, strict=True):
        group["scale"] = scale
        if fused and isinstance(optimiser, torch.optim.Adam):
            group["fused"] = True
    return optimiser


def require_layers(model: nn.Module, names: Sequence[str], option: str) -> None:
    """Refuse names that no layer has.

    Raises:
        ValueError: with the names of all layers.
    """
    known = [name for name, _ in model.named_children()]
    absent = [name for name in names if name not in known]
    if absent:
        raise ValueError(
            f"{option}: the model has no layer {', '.join(absent)}; name some of {', '.join(known)} as new_layers, or "
            f"leave {option} out"
        )


def imagenet_file(name: str) -> Path:
    """The file with a model's ImageNet weights, where torchreid or torch keep it after a download.

    Raises:
        ValueError: it is in none of the usual places; the message says where to put it.
    """
    home = Path(os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch")
    names = [f"{name}_imagenet.pth", *([TORCHVISION_FILES[name]] if name in TORCHVISION_FILES else [])]
    folders = (home.expanduser() / "checkpoints", home.expanduser() / "hub" / "checkpoints")
    places = [folder / filename for filename in names for folder in folders]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ValueError(
            f"init imagenet: no ImageNet weights of {name}; put torchreid's file at {places[0]}, or give its path, or "
            "use init random"
        )
    return found


@dataclass(frozen=True)
class Weights:
    """What a model takes from a file: tensors by the model's names, those of the file that it leaves, its own ones."""

    taken: dict[str, Tensor]
    left: tuple[str, ...]
    own: tuple[str, ...]


def load_weights(model: nn.Module, path: Path, *, to_train: bool = False) -> None:
    """Copy the weights in a .pth or .safetensors file into a model, as far as it takes them; see `read_weights`."""
    model.load_state_dict(read_weights(model, path, to_train=to_train).taken, strict=False)


def read_weights(model: nn.Module, path: Path, *, to_train: bool = False) -> Weights:
    """What a model takes from a .pth or .safetensors file; its classifier may be one of other identities.

    Weights to go on training from (`to_train`) may lack the head below the classifier, or hold more layers: in a
    network that is used as it is, a random head or one left out would change what its features mean.

    Raises:
        ValueError: not readable, not finite, or of another model.
    """
    found = {_plain_name(key): value for key, value in _read_weights(path).items()}
    own = model.state_dict()
    matching = {key: value for key, value in found.items() if key in own and own[key].shape == value.shape}
    free = (*CLASSIFIERS, HEAD) if to_train else CLASSIFIERS
    absent = [key for key in own if key not in matching and not _may_differ(key, free)]
    if absent:
        raise ValueError(
            f"{path}: holds {len(matching)} of the {len(own)} tensors of this model; missing or of another shape are "
            f"{', '.join(absent[:3])} ({len(absent)} in all): use weights of the same model"
        )
    foreign = [key for key in found if key not in own and not _may_differ(key, free)]
    if foreign and not to_train:
        raise ValueError(
            f"{path}: holds tensors that this model lacks, {', '.join(foreign[:3])} ({len(foreign)} in all): name the "
            "model that the weights are of"
        )
    for key, value in matching.items():
        if not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"{path}: {key} holds values that are not finite; give weights of a training that went well"
            )
    return Weights(matching, tuple(sorted(found.keys() - matching.keys())), tuple(sorted(own.keys() - matching.keys())))


def numpy_globals() -> list[Any]:
    """What torchreid's checkpoints hold beside tensors: rank-1 as a NumPy scalar, under old and new module names.

    Since torch 2.6 its own loader needs them too, through `torch.serialization.safe_globals`.
    """
    scalar = np.float32(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((scalar, name) for name in names), np.dtype, np.dtypes.Float32DType, np.dtypes.Float64DType]


def _plain_name(key: str) -> str:
    """Without what DataParallel, our checkpoints and necks put before it."""
    return key.removeprefix("module.").removeprefix("model.").removeprefix("backbone.")


def _may_differ(key: str, free: tuple[str, ...]) -> bool:
    return key.startswith(free) or key.endswith("num_batches_tracked")


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file of weights; give 'random', 'imagenet' or the path of a file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals(numpy_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds on broken or unsafe files
        raise ValueError(f"{path}: cannot be read as weights ({_first_line(error)})") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
