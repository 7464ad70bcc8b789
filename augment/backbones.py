"""Published networks whose features compare images: where their weights lie, and how each sees an image.

Inception for FID, KID and the Inception Score as torch-fidelity has it, Inception as GFLA's authors have it, and
AlexNet for LPIPS. Nothing is downloaded: weights are files in torch's usual cache, or given by path.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from augment import files

Images = UInt8[np.ndarray, "n h w 3"]
Features = Float32[np.ndarray, "n 2048"]

# File names under which each network's weights are published, the preferred one first.
WEIGHTS = {
    "inception-2015-12-05": (  # the same bytes, as torch-fidelity and as pytorch-fid name them
        "weights-inception-2015-12-05-6726825d.pth",
        "pt_inception-2015-12-05-6726825d.pth",
    ),
    "inception_v3 (torchvision)": ("inception_v3_google-0cc3c7bd.pth", "inception_v3_google-1a9a5a14.pth"),
    "alexnet": ("alexnet-owt-7be5be79.pth", "alexnet-owt-4df8aa71.pth"),
}
BATCH = 32  # images at once; no result depends on it beyond rounding
SIDE = 299  # pixels of Inception's input
GFLA_BATCH = 64


class MissingWeights(ValueError):
    """A network's weights are in none of the usual places."""


class MissingExtra(ValueError):
    """A library of an optional extra is not installed."""


# ---- weights


def find(name: str) -> Path | None:
    """The weights of one of `WEIGHTS`, where torch keeps what it has downloaded."""
    places = (folder / file for folder in _folders() for file in WEIGHTS[name])
    return next((place for place in places if place.is_file()), None)


def require(name: str) -> Path:
    """As `find`.

    Raises:
        MissingWeights: saying which file to put where.
    """
    found = find(name)
    if found is None:
        raise MissingWeights(f"weights missing, put {WEIGHTS[name][0]} at {_folders()[0]}")
    return found


def stranger(name: str, sha256: str) -> str | None:
    """What is to be said of weights that are not the published ones, whose names end in the first digits of theirs."""
    first = [file.removesuffix(".pth")[-8:] for file in WEIGHTS[name]]
    if sha256.startswith(tuple(first)):
        return None
    return (
        f"the weights of {name} are not the published ones: their SHA-256 begins with {sha256[:8]}, that of "
        f"{WEIGHTS[name][0]} with {first[0]}; numbers are not comparable with papers"
    )


def _folders() -> list[Path]:
    hub = Path(torch.hub.get_dir())
    home = Path(os.environ.get("TORCH_HOME", hub.parent)).expanduser()
    return [hub / "checkpoints", hub, home / "checkpoints", home]


def _read(path: Path, name: str) -> dict[str, Tensor]:
    """The state dict in a file, without running any code that it may hold."""
    remedy = f"give the file {WEIGHTS[name][0]}, or copy it again"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {remedy}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises a dozen kinds on broken or unsafe files
        raise ValueError(f"{path}: cannot be read as weights; {remedy}") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path}: holds no plain weights; {remedy}")
    return dict(state)


def _fill(network: torch.nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(_foreign(path, name, error)) from None


def _foreign(path: Path, name: str, error: Exception) -> str:
    found = " ".join(str(error).split())[:160]
    return f"{path}: not the weights of {name} ({found}); give the file {WEIGHTS[name][0]}"


# ---- networks


@final
class FidelityInception:
    """The Inception of 2015 with TensorFlow's weights, as torch-fidelity computes FID, KID and the Inception Score."""

    NAME = "inception-2015-12-05"

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        """Build the network with the weights in a file.

        Raises:
            MissingExtra: torch-fidelity is not installed.
            ValueError: the file is missing, not readable, or not this network's.
        """
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError:
            raise MissingExtra(_needs("torch-fidelity")) from None
        # The library would unpickle the file, which could run code; it gets the weights that were read safely.
        copy = BytesIO()
        torch.save(_read(weights, self.NAME), copy)
        copy.seek(0)
        try:
            network = FeatureExtractorInceptionV3(self.NAME, ["2048"], feature_extractor_weights_path=copy)
        except RuntimeError as error:
            raise ValueError(_foreign(weights, self.NAME, error)) from None
        self._network = network.to(device)
        self._device = torch.device(device)
        self.provenance: dict[str, Any] = {
            "network": "FeatureExtractorInceptionV3",
            "library": "torch-fidelity",
            "version": metadata.version("torch-fidelity"),
            "weights_sha256": files.sha256(weights),
            "input": f"TensorFlow 1's bilinear resize to {SIDE}x{SIDE}, then (x - 128) / 128",
        }

    def features(self, images: Images) -> Features:
        """Of the last pooling."""
        return _in_batches(lambda planes: self._network(planes)[0], images, self._device)

    def logits(self, images: Images) -> Float32[np.ndarray, "n 1008"]:
        """Of the classes, without the bias: what the Inception Score is published with."""
        return self.logits_of(self.features(images))

    def logits_of(self, features: Features) -> Float32[np.ndarray, "n 1008"]:
        """Those of images whose features are known."""
        return features @ self._network.fc.weight.cpu().numpy().T


@final
class GflaInception:
    """torchvision's ImageNet Inception, fed as the code of GFLA (Ren et al., CVPR 2020, arXiv 2003.00696) does.

    That code, like the first versions of pytorch-fid, gives images in [0, 1] to a layer that expects them normalised.
    Features only compare with those made in the same way.
    """

    NAME = "inception_v3 (torchvision)"

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        """Build the network with the weights in a file.

        Raises:
            ValueError: the file is missing, not readable, or not this network's.
        """
        from torchvision.models import Inception3  # here, because most runs need no Inception

        with torch.device("meta"):
            network = Inception3(transform_input=True, init_weights=False)
        _fill(network, _read(weights, self.NAME), weights, self.NAME)
        network.fc = torch.nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
        self._network = network.to(device).eval().requires_grad_(False)
        self._device = torch.device(device)
        self.provenance: dict[str, Any] = {
            "network": "inception_v3",
            "library": "torchvision",
            "version": metadata.version("torchvision"),
            "weights_sha256": files.sha256(weights),
            "input": f"[0, 1], bilinear resize to {SIDE}x{SIDE}, then torchvision's transform_input",
        }

    def features(self, images: Images) -> Features:
        """Of the last pooling; see `gfla_rows` for which images the published number leaves out."""
        return _in_batches(self._forward, images, self._device)

    def _forward(self, planes: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n 2048"]:
        return self._network(F.interpolate(planes / 255, (SIDE, SIDE), mode="bilinear", align_corners=False))


def gfla_rows(count: int) -> int:
    """How many of the first images count in `fid_gfla`: the code drops the last batch of 64 unless it is full.

    Fewer than 64 images are one batch.
    """
    return count - count % min(GFLA_BATCH, max(1, count))


@final
class Lpips:
    """LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924), version 0.1 on AlexNet, images at their own size."""

    NAME = "alexnet"

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        """Build the network with torchvision's AlexNet in a file; the heads come with the library.

        Raises:
            MissingExtra: lpips is not installed.
            ValueError: the file is missing, not readable, or not this network's.
        """
        try:
            import lpips
        except ImportError:
            raise MissingExtra(_needs("lpips")) from None
        state = _read(weights, self.NAME)
        heads = Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")  # of an old way to call it
            network = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, model_path=str(heads), verbose=False)
        expected = {key: f"features.{key.split('.', 1)[1]}" for key in network.net.state_dict()}
        _fill(network.net, {key: state[name] for key, name in expected.items() if name in state}, weights, self.NAME)
        self._network = network.to(device).eval().requires_grad_(False)
        self._device = torch.device(device)
        self.provenance: dict[str, Any] = {
            "network": "alexnet, v0.1",
            "library": "lpips",
            "version": metadata.version("lpips"),
            "weights_sha256": files.sha256(weights),
            "heads_sha256": files.sha256(heads),
            "input": "[-1, 1], not resized",
        }

    def __call__(self, generated: Images, real: Images) -> Float32[np.ndarray, " n"]:
        """A distance for each pair: 0 for equal images, the same in either order."""
        pairs = np.concatenate([generated, real], axis=3)
        return _in_batches(self._forward, pairs, self._device, width=1)[:, 0]

    def _forward(self, pairs: UInt8[Tensor, "n 6 h w"]) -> Float[Tensor, "n 1"]:
        first, second = (pairs / 127.5 - 1).split(3, dim=1)
        return self._network(first, second).flatten(1)


def _needs(library: str) -> str:
    return f"needs {library}: pip install 'reid-augment[metrics]'"


@torch.inference_mode()
def _in_batches(
    forward: Callable[[Tensor], Tensor], images: UInt8[np.ndarray, "n h w c"], device: torch.device, width: int = 2048
) -> Float32[np.ndarray, "n d"]:
    """One row an image. In full single precision on a GPU too, where TF32 would keep three digits."""
    rows = np.empty((len(images), width), dtype=np.float32)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        for part in _slices(len(images)):
            planes = torch.from_numpy(images[part]).to(device).permute(0, 3, 1, 2).contiguous()
            rows[part] = forward(planes).cpu().numpy()
    return rows


def _slices(count: int) -> Iterator[slice]:
    return (slice(start, start + BATCH) for start in range(0, count, BATCH))
