"""The losses of pose transfer: reconstruction, VGG19's content and style (as DPTN weighs them), and adversarial ones.

Content and style: Johnson et al., ECCV 2016 (arXiv 1603.08155), with the layers of DPTN (Zhang et al., CVPR 2022).
DPTN feeds VGG19 images in [-1, 1] as they are, without ImageNet's mean and deviation.
"""

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from generators.tensors import Images, Maps

Scalar = Float[Tensor, ""]

CONTENT_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_LAYERS = ("relu2_2", "relu3_4", "relu4_4", "relu5_2")

VGG19_FILE = "vgg19-dcbb9e9d.pth"  # torchvision's ImageNet weights
VGG19_WIDTHS = (64, 128, 256, 512, 512)
VGG19_DEPTHS = (2, 2, 4, 4, 4)  # convolutions of each stage


def reconstruction(generated: Images, real: Images) -> Scalar:
    """Mean absolute difference."""
    return F.l1_loss(generated, real)


def gram(maps: Maps) -> Float[Tensor, "b c c"]:
    """Correlations of the channels, divided by channels * height * width."""
    rows = maps.flatten(2)
    return rows @ rows.transpose(1, 2) / rows[0].numel()


def content_loss(generated: Mapping[str, Tensor], real: Mapping[str, Tensor]) -> Scalar:
    """Sum over CONTENT_LAYERS of the mean absolute difference of the features."""
    return torch.stack([F.l1_loss(generated[layer], real[layer]) for layer in CONTENT_LAYERS]).sum()


def style_loss(generated: Mapping[str, Tensor], real: Mapping[str, Tensor]) -> Scalar:
    """Sum over STYLE_LAYERS of the mean absolute difference of the Gram matrices."""
    return torch.stack([F.l1_loss(gram(generated[layer]), gram(real[layer])) for layer in STYLE_LAYERS]).sum()


def gan_loss(prediction: Tensor, real: bool, mode: str, *, for_discriminator: bool) -> Scalar:
    """Mean adversarial loss of a map of logits that should say `real`.

    `lsgan`: least squares (arXiv 1611.04076). `vanilla`: cross-entropy. `hinge` (arXiv 1705.02894): the generator
    raises the logits without a margin, and has no use for `real=False`.

    Raises:
        ValueError: the mode is unknown.
    """
    match mode:
        case "lsgan":
            return F.mse_loss(prediction, torch.full_like(prediction, float(real)))
        case "vanilla":
            return F.binary_cross_entropy_with_logits(prediction, torch.full_like(prediction, float(real)))
        case "hinge" if for_discriminator:
            return F.relu(1 - prediction if real else 1 + prediction).mean()
        case "hinge":
            assert real, "a generator wants its images to look real"
            return -prediction.mean()
    raise ValueError(f"unknown adversarial loss {mode!r}: expected one of lsgan, vanilla, hinge")


class VGG19Features(nn.Module):
    """VGG19's convolutions (Simonyan and Zisserman, arXiv 1409.1556) up to the last of the layers asked for.

    Layers are named as in `relu3_1`: third stage, first convolution. Frozen: gradients reach the input only. Indices in
    `features` are torchvision's, so its state dict fits. `sha256` is that of the file the weights came from.
    """

    def __init__(
        self,
        layers: Sequence[str] = CONTENT_LAYERS + STYLE_LAYERS,
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


def load_vgg19(
    path: Path | None = None,
    layers: Sequence[str] = CONTENT_LAYERS + STYLE_LAYERS,
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
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{file}: not a complete weights file ({type(error).__name__}); copy it again") from error
    network = VGG19Features(layers, widths, digest)
    expected = network.state_dict()
    bad = [key for key, t in expected.items() if not isinstance(state, dict) or _shape(state.get(key)) != t.shape]
    if bad:
        raise ValueError(f"{file}: not VGG19's weights: {len(bad)} tensors missing or wrongly shaped, first {bad[0]}")
    network.load_state_dict({key: state[key] for key in expected})
    return network


def _shape(value: object) -> torch.Size | None:
    return value.shape if isinstance(value, Tensor) else None
