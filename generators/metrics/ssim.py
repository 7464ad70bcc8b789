"""Structural similarity (Wang et al., IEEE TIP 2004) in the three ways that papers on pose transfer compute it.

All are means over windows that lie wholly inside the image, and over the channels; only the protocol makes two numbers
comparable. The values are those of scikit-image's `structural_similarity`.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from generators.tensors import Pixels

if find_spec("numba"):
    from generators.metrics.ssim_compiled import Windows
else:  # the same values at half the speed
    from generators.metrics.ssim_filters import Windows

Map = Float[np.ndarray, "h w 3"]

THREADS = 8  # more of them wait for the interpreter


@dataclass(frozen=True)
class Protocol:
    """What the name of an SSIM fixes."""

    radius: int  # of the window, in pixels
    sigma: float | None = None  # of a Gaussian window, in pixels; None: all pixels of the window weigh the same
    data_range: int | None = None  # grey levels; None: the generated image's largest minus its smallest
    sample_covariance: bool = False  # divide by n - 1 instead of n

    def taps(self) -> Float[np.ndarray, " side"]:
        """Weights of the window along an axis; they sum to 1."""
        offsets = np.arange(-self.radius, self.radius + 1)
        taps = np.ones(len(offsets)) if self.sigma is None else np.exp(-(offsets**2) / (2 * self.sigma**2))
        return taps / taps.sum()

    def constants(self, generated: UInt8[np.ndarray, "h w 3"]) -> tuple[float, float]:
        """Wang's c1 and c2. Instead of dividing the covariances by n - 1, c2 is multiplied by (n - 1) / n."""
        levels = self.data_range or max(1, int(generated.max()) - int(generated.min()))
        count = (2 * self.radius + 1) ** 2
        return (0.01 * levels) ** 2, (0.03 * levels) ** 2 * (1 - 1 / count if self.sample_covariance else 1.0)


PROTOCOLS: dict[str, Protocol] = {
    "patn": Protocol(radius=5, sigma=1.5),  # PATN's code, and ssim_256 in DPTN's
    "standard": Protocol(radius=5, sigma=1.5, data_range=255),
    "pg2": Protocol(radius=3, data_range=255, sample_covariance=True),
}


def ssim(
    generated: Pixels, real: Pixels, protocol: str = "patn", mask: Bool[Tensor, "b h w"] | None = None
) -> Float[Tensor, " b"]:
    """One similarity an image, in float64: 1 for equal images, about 0 for unrelated ones.

    Under `patn` the images are not interchangeable: the contrast of `generated` sets how much noise is forgiven. Its
    data range is taken as at least one grey level, so that a constant image has a similarity too. With `mask` both
    images are black outside of it before anything is computed: the papers' mask-SSIM. The images are shared out among
    torch's threads (`torch.set_num_threads`), at most eight.

    Raises:
        ValueError: the protocol is unknown, or the images are smaller than its window.
    """
    if mask is not None:
        generated, real = generated * mask[..., None], real * mask[..., None]
    rule = _require(protocol, generated.shape[1], generated.shape[2])
    return _means(generated, real, rule, lambda _, similarities: sum(cv2.mean(similarities)) / 3)


def mask_ssim(
    generated: Pixels, real: Pixels, mask: Bool[Tensor, "b h w"], protocol: str = "patn"
) -> Float[Tensor, " b"]:
    """`ssim` of both images made black outside of `mask`. What is black in both counts as perfectly similar.

    Raises:
        ValueError: see `ssim`.
    """
    return ssim(generated, real, protocol, mask)


def ssim_in_mask(
    generated: Pixels, real: Pixels, mask: Bool[Tensor, "b h w"], protocol: str = "patn"
) -> Float[Tensor, " b"]:
    """The similarity of the whole images, averaged over the windows whose middle is in `mask`; NaN for an empty mask.

    Windows that reach over the border see the image mirrored there.

    Raises:
        ValueError: see `ssim`.
    """
    rule = _require(protocol, generated.shape[1], generated.shape[2])
    masks = mask.cpu().numpy().view(np.uint8)

    def mean(number: int, similarities: Map) -> float:
        inside = masks[number]
        return sum(cv2.mean(similarities, inside)) / 3 if inside.any() else np.nan

    return _means(_mirrored(generated, rule.radius), _mirrored(real, rule.radius), rule, mean)


def _require(protocol: str, height: int, width: int) -> Protocol:
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown SSIM protocol {protocol!r}: expected one of {', '.join(PROTOCOLS)}")
    rule = PROTOCOLS[protocol]
    side = 2 * rule.radius + 1
    if min(height, width) < side:
        raise ValueError(
            f"images of {height}x{width} pixels are smaller than the window of SSIM protocol {protocol}, "
            f"{side}x{side}; give larger images"
        )
    return rule


def _means(generated: Pixels, real: Pixels, rule: Protocol, mean: Callable[[int, Map], float]) -> Float[Tensor, " b"]:
    """`mean` of each pair's number and its similarities in the windows inside the images."""
    x, y = generated.cpu().numpy(), real.cpu().numpy()
    means = np.empty(len(x))
    threads = max(1, min(THREADS, torch.get_num_threads(), len(x)))

    def share(first: int) -> None:
        windows = Windows(rule.taps(), x.shape[1], x.shape[2])
        for number in range(first, len(x), threads):
            similarities = windows.similarities(x[number], y[number], *rule.constants(x[number]))
            means[number] = mean(number, similarities)

    with ThreadPoolExecutor(threads) as pool:  # the interpreter's lock is free while a pair is computed
        deque(pool.map(share, range(threads)), maxlen=0)
    return torch.from_numpy(means).to(real.device)


def _mirrored(images: Pixels, pixels: int) -> UInt8[Tensor, "b rows columns 3"]:
    """With a border of so many pixels, in which the image is mirrored (d c b a | a b c d)."""
    return torch.from_numpy(
        np.pad(images.cpu().numpy(), ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), "symmetric")
    )
