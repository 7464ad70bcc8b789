"""What each metric of generated images is: its protocol, what it needs, and which way is better.

The name of a metric fixes everything that its value depends on; what is not said by the name is in the entry.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8
from torch import Tensor

from generators.metrics.masks import patn_body_mask
from generators.metrics.pixels import l1, psnr
from generators.metrics.ssim import PROTOCOLS, mask_ssim, ssim, ssim_in_mask
from generators.tensors import Pixels

# What a metric may need beside the generated images.
TRUE, POSE, SOURCE, SET = "true images", "target poses", "source or true images", "a synthetic set"
# The networks that some need.
ALEXNET, INCEPTION, TORCHVISION = "alexnet", "inception", "inception-torchvision"
ESTIMATOR, REID = "a pose estimator", "a re-ID checkpoint"


@dataclass(frozen=True)
class Metric:
    """`unit` is "" for a plain number; `network` is "" where none is needed."""

    protocol: str
    better: str  # higher or lower
    definition: str
    needs: tuple[str, ...] = ()
    network: str = ""
    unit: str = ""


_SSIM_PATN = "windows Gaussian, sigma 1.5; data range: max - min of the generated image"

METRICS: dict[str, Metric] = {
    "ssim": Metric("patn", "higher", f"structural similarity; {_SSIM_PATN}", (TRUE,)),
    "ssim_standard": Metric(
        "standard", "higher", "structural similarity; windows Gaussian, sigma 1.5; data range 255", (TRUE,)
    ),
    "ssim_pg2": Metric(
        "pg2", "higher", "structural similarity; uniform 7x7 windows, sample covariance; data range 255", (TRUE,)
    ),
    "mask_ssim": Metric(
        "patn", "higher", "ssim of both images made black outside the body mask of the target pose", (TRUE, POSE)
    ),
    "ssim_in_mask": Metric(
        "patn", "higher", "ssim averaged over the windows whose middle is in that mask", (TRUE, POSE)
    ),
    "psnr": Metric(
        "data range 1", "higher", "peak signal-to-noise ratio; images equal to their true one left out", (TRUE,),
        unit="dB",
    ),
    "l1": Metric("grey levels", "lower", "mean absolute difference, 0 to 255", (TRUE,), unit="grey levels"),
    "lpips": Metric(
        "AlexNet, v0.1", "lower", "distance of deep features, input in [-1, 1], native size (Zhang et al., CVPR 2018)",
        (TRUE,), ALEXNET,
    ),
    "fid": Metric(
        "torch-fidelity", "lower",
        "Frechet distance of Inception features to those of the real images; TF weights of 2015-12-05, TF1 resize",
        (), INCEPTION,
    ),
    "fid_gfla": Metric(
        "gfla", "lower",
        "what GFLA, PIDM, DPTN and CFLD print, comparable with theirs only: torchvision's Inception, a normalisation "
        "that is not its own, the last partial batch of 64 dropped", (), TORCHVISION,
    ),
    "kid": Metric(
        "torch-fidelity", "lower",
        "kernel distance of Inception features to those of the real images; polynomial kernel of degree 3", (),
        INCEPTION,
    ),
    "inception_score": Metric(
        "10 unshuffled splits", "higher",
        "exp of the mean divergence of an image's classes from all images' (Salimans et al., NIPS 2016); TF weights of "
        "2015-12-05, logits without bias, contiguous splits", (), INCEPTION,
    ),
    "mask_is": Metric(
        "10 unshuffled splits", "higher",
        "inception_score of images made black outside the body mask of the target pose",
        (POSE,), INCEPTION,
    ),
    "pckh": Metric(
        "patn", "higher",
        "share of the target's visible joints that the estimator finds in the generated image, off by less than half "
        "the head's width and height",
        (POSE,), ESTIMATOR,
    ),
    "detection_score": Metric(
        "best person", "higher",
        "the estimator's confidence in the person it is surest of, 0 where it finds nobody", (), ESTIMATOR,
    ),
    "identity_similarity": Metric(
        "cosine of re-ID features", "higher", "to the true image; where not all have one, to the source", (SOURCE,),
        REID,
    ),
    "pose_diversity": Metric(
        "8 pose clusters", "higher",
        "entropy of the set's target poses over clusters of real poses, as a share of its maximum (Pielou's evenness)",
        (SET,),
    ),
    "pose_coverage": Metric(
        "8 pose clusters", "higher",
        "the same for each identity's real and generated images together, mean over identities", (SET,),
    ),
}  # fmt: skip
PIXEL = ("ssim", "ssim_standard", "ssim_pg2", "mask_ssim", "ssim_in_mask", "psnr", "l1")
MASKED = ("mask_ssim", "ssim_in_mask")
POSES = ("pose_diversity", "pose_coverage")
LPIPS_SIDE = 31  # pixels; of smaller images AlexNet's second pooling leaves nothing


def require_known(names: Sequence[str], option: str) -> None:
    """
    Raises:
        ValueError: one of them is no metric.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"{option} {unknown[0]}: no such metric; expected some of {', '.join(METRICS)}")


def networks_of(names: Collection[str]) -> set[str]:
    """The networks that some metrics need."""
    return {METRICS[name].network for name in names} - {""}


def too_small(name: str, size: tuple[int, int]) -> str | None:
    """Why a metric cannot be computed of images of this size (height, width), if it cannot."""
    shown = f"images of {size[0]}x{size[1]} are smaller than"
    if name == "lpips" and min(size) < LPIPS_SIDE:
        return f"{shown} what AlexNet's layers need, {LPIPS_SIDE}x{LPIPS_SIDE}; give larger images"
    protocol = METRICS[name].protocol
    if name not in PIXEL or protocol not in PROTOCOLS or min(size) >= (side := 2 * PROTOCOLS[protocol].radius + 1):
        return None
    return f"{shown} the window of SSIM protocol {protocol}, {side}x{side}; give larger images"


def body_mask(
    names: Collection[str], poses: Float32[np.ndarray, "b 18 2"] | None, size: tuple[int, int], device: torch.device
) -> Bool[Tensor, "b h w"] | None:
    """The body of each target pose, where there are poses and a metric in MASKED is asked for."""
    if poses is None or not len(poses) or set(MASKED).isdisjoint(names):
        return None
    return patn_body_mask(torch.from_numpy(poses).to(device), size)


def pixel_columns(
    names: Collection[str],
    generated: UInt8[np.ndarray, "b h w 3"],
    true: UInt8[np.ndarray, "b h w 3"],
    mask: Bool[Tensor, "b h w"] | None,
    device: torch.device,
) -> dict[str, Float64[np.ndarray, " b"]]:
    """Those of the metrics in PIXEL that are asked for, a number a pair; those in MASKED need the mask."""
    pair = (_sent(generated, device), _sent(true, device))
    found = {name: _measure(name, *pair, mask) for name in names if name in PIXEL}
    return {name: values.double().cpu().numpy() for name, values in found.items()}


def _measure(name: str, generated: Pixels, true: Pixels, mask: Bool[Tensor, "b h w"] | None) -> Tensor:
    match name:
        case "ssim" | "ssim_standard" | "ssim_pg2":
            return ssim(generated, true, METRICS[name].protocol)
        case "psnr":
            return psnr(generated, true)
        case "l1":
            return l1(generated, true)
    assert mask is not None, f"{name} needs poses"
    return mask_ssim(generated, true, mask) if name == "mask_ssim" else ssim_in_mask(generated, true, mask)


def _sent(pixels: UInt8[np.ndarray, "b h w 3"], device: torch.device) -> Pixels:
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
