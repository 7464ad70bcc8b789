"""VGG19's features (Simonyan and Zisserman, arXiv 1409.1556), which perceptual losses compare."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from generators.tensors import Images

VGG19_FILE = "vgg19-dcbb9e9d.pth"  # torchvision's ImageNet weights
VGG19_WIDTHS = (64, 128, 256, 512, 512)
VGG19_DEPTHS = (2, 2, 4, 4, 4)  # convolutions of each stage
_REMEDY = f"take {VGG19_FILE} from torchvision's model zoo, or copy it again"


class VGG19Features(nn.Module):
    """VGG19's convolutions (Simonyan and Zisserman, arXiv 1409.1556) up to the last of the layers asked for.

    Layers are named as in `relu3_1`: third stage, first convolution. Frozen: gradients reach the input only. Indices in
    `features` are torchvision's, so its state dict fits. `sha256` is that of the file the weights came from.
    """

    def __init__(
        self,
        layers: Sequence[str],
        widths: Sequence[int] = VGG19_WIDTHS,
        sha256: str | None = None,
    ) -> None:
        super().__init__()
        names = [name for stage, depth in enumerate(VGG19_DEPTHS, 1) for name in _stage_names(stage, depth)]
        offered = [name for name in names if name.startswith("relu")]
        if unknown := sorted(set(layers).difference(offered)):
            raise ValueError(f"unknown VGG19 layers {', '.join(unknown)}: expected some of {', '.join(offered)}")
        self.sha256 = sha256
        self.wanted = frozenset(layers)
        self.names = names[: max(map(names.index, layers)) + 1]
        self.features = nn.Sequential()
        channels = 3
        for name in self.names:
            if name.startswith("conv"):
                width = widths[int(name[4]) - 1]
                self.features.append(nn.Conv2d(channels, width, 3, padding=1))
                channels = width
            else:
                self.features.append(nn.ReLU(inplace=True) if name.startswith("relu") else nn.MaxPool2d(2))
        self.requires_grad_(False).eval()

    def forward(self, images: Images) -> dict[str, Tensor]:
        found = {}
        maps = images
        for name, layer in zip(self.names, self.features, strict=True):
            maps = layer(maps)
            if name in self.wanted:
                found[name] = maps
        return found


def _stage_names(stage: int, depth: int) -> list[str]:
    pairs = [f"{kind}{stage}_{i}" for i in range(1, depth + 1) for kind in ("conv", "relu")]
    return [*pairs, f"pool{stage}"]


def vgg19_path() -> Path:
    """Where torch keeps torchvision's VGG19 weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / VGG19_FILE


def random_vgg19(layers: Sequence[str], seed: int) -> VGG19Features:
    """VGG19 at an eighth of its widths with He-normal weights from `seed`: what the architecture alone can tell.

    Random features hold texture (Ustyuzhaninov et al., ICLR 2017); they cost a fiftieth of the trained network's.
    """
    network = VGG19Features(layers, [width // 8 for width in VGG19_WIDTHS], sha256=f"random, seed {seed}")
    rng = torch.Generator().manual_seed(seed)
    for layer in network.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=rng)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def load_vgg19(
    layers: Sequence[str],
    path: Path | None = None,
    widths: Sequence[int] = VGG19_WIDTHS,
) -> VGG19Features:
    """Load torchvision's VGG19 weights from `path`, or from torch's usual cache. Nothing is downloaded.

    Raises:
        ValueError: the file is missing, or does not hold VGG19's weights.
    """
    file = path or vgg19_path()
    if not file.is_file():
        raise ValueError(
            f"{file}: no VGG19 weights here. Put {VGG19_FILE} from torchvision's model zoo there or give its path "
            "(--vgg FILE), or train without perceptual losses (--no-perceptual, or --preset tiny)"
        )
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler raises a dozen kinds on broken or foreign bytes
        raise ValueError(f"{file}: not a complete weights file ({type(error).__name__}); {_REMEDY}") from error
    network = VGG19Features(layers, widths, digest)
    expected = network.state_dict()
    bad = [key for key, t in expected.items() if not isinstance(state, dict) or _shape(state.get(key)) != t.shape]
    if bad:
        raise ValueError(
            f"{file}: not VGG19's weights: {len(bad)} tensors missing, wrongly shaped or not of floats, "
            f"first {bad[0]}; {_REMEDY}"
        )
    network.load_state_dict({key: state[key] for key in expected})
    return network


def _shape(value: object) -> torch.Size | None:
    """Of a dense tensor of floats; None for anything else."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return None
    return value.shape if value.layout == torch.strided and value.device.type == "cpu" else None
