"""The losses of pose transfer: reconstruction, VGG19's content and style (as DPTN weighs them), and adversarial ones.

Content and style: Johnson et al., ECCV 2016 (arXiv 1603.08155), with the layers of DPTN (Zhang et al., CVPR 2022).
DPTN feeds VGG19 images in [-1, 1] as they are, without ImageNet's mean and deviation; PATN (Zhu et al., CVPR 2019)
normalises them, and compares one shallow layer.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generators.tensors import Images, Maps

Scalar = Float[Tensor, ""]

CONTENT_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_LAYERS = ("relu2_2", "relu3_4", "relu4_4", "relu5_2")
PERCEPTUAL_LAYER = "relu1_2"

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green, blue in [0, 1]
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


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


def imagenet_normalised(images: Images) -> Images:
    """Images as VGG19 was trained on: ImageNet's mean and deviation taken out, channel by channel."""
    planes = zip(images.unbind(1), IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)  # numbers: a GPU waits for no copy
    return torch.stack([((plane + 1) / 2 - mean) / deviation for plane, mean, deviation in planes], 1)


def perceptual_loss(generated: Mapping[str, Tensor], real: Mapping[str, Tensor], distance: str = "l1") -> Scalar:
    """PATN's: mean absolute (`l1`) or squared (`l2`) difference at PERCEPTUAL_LAYER, of `imagenet_normalised` images.

    Raises:
        ValueError: another distance.
    """
    measures = {"l1": F.l1_loss, "l2": F.mse_loss}
    if distance not in measures:
        raise ValueError(f"perceptual distance {distance!r}: expected one of {', '.join(measures)}")
    return measures[distance](generated[PERCEPTUAL_LAYER], real[PERCEPTUAL_LAYER])


def gan_loss(prediction: Tensor, real: bool, mode: str, *, for_discriminator: bool) -> Scalar:
    """Mean adversarial loss of a map of logits that should say `real`.

    `lsgan`: least squares (arXiv 1611.04076). `vanilla`: cross-entropy. `hinge` (arXiv 1705.02894): the generator
    raises the logits without a margin, and has no use for `real=False`. `bce`: cross-entropy of a map of probabilities,
    which a sigmoid has made already; use float32, in which its logarithm is cut at -87.

    Raises:
        ValueError: the mode is unknown.
    """
    match mode:
        case "lsgan":
            return F.mse_loss(prediction, torch.full_like(prediction, float(real)))
        case "vanilla":
            return F.binary_cross_entropy_with_logits(prediction, torch.full_like(prediction, float(real)))
        case "bce":
            # Not F.binary_cross_entropy, which ends the process where a probability is not finite instead of saying so.
            right = prediction if real else 1 - prediction
            return -right.clamp(min=torch.finfo(right.dtype).tiny).log().mean()
        case "hinge" if for_discriminator:
            return F.relu(1 - prediction if real else 1 + prediction).mean()
        case "hinge":
            assert real, "a generator wants its images to look real"
            return -prediction.mean()
    raise ValueError(f"unknown adversarial loss {mode!r}: expected one of lsgan, vanilla, hinge, bce")
