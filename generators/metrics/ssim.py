"""Structural similarity (Wang et al., IEEE TIP 2004) in the three ways that papers on pose transfer compute it.

All are means over windows that lie wholly inside the image, and over the channels; only the protocol makes two numbers
comparable. The values are those of scikit-image's `structural_similarity`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from generators.tensors import Pixels

Map = Float[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Protocol:
    """What the name of an SSIM fixes."""

    radius: int  # of the window, in pixels
    sigma: float | None = None  # of a Gaussian window, in pixels; None: all pixels of the window weigh the same
    data_range: int | None = None  # grey levels; None: the generated image's largest minus its smallest
    sample_covariance: bool = False  # divide by n - 1 instead of n


PROTOCOLS: dict[str, Protocol] = {
    "patn": Protocol(radius=5, sigma=1.5),  # PATN's code, and ssim_256 in DPTN's
    "standard": Protocol(radius=5, sigma=1.5, data_range=255),
    "pg2": Protocol(radius=3, data_range=255, sample_covariance=True),
}


def ssim(
    generated: Pixels,
    real: Pixels,
    protocol: str = "patn",
    mask: Bool[Tensor, "b h w"] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, " b"]:
    """One similarity an image: 1 for equal images, about 0 for unrelated ones.

    Under `patn` the images are not interchangeable: the contrast of `generated` sets how much noise is forgiven. Its
    data range is taken as at least one grey level, so that a constant image has a similarity too. With `mask` both
    images are black outside of it before anything is computed: the papers' mask-SSIM. In float32 nearly twice as
    fast, within 1e-6 in street scenes, but off by up to 1e-4 where large areas are flat and differ.

    Raises:
        ValueError: the protocol is unknown, or the images are smaller than its window.
    """
    if mask is not None:
        generated, real = generated * mask[..., None], real * mask[..., None]
    rule = _require(protocol, generated.shape[1], generated.shape[2])
    inside = slice(rule.radius, -rule.radius)
    means = [sum(cv2.mean(each[inside, inside])) / 3 for each in _maps(generated, real, rule, dtype)]
    return torch.tensor(means, dtype=dtype, device=real.device)


def mask_ssim(
    generated: Pixels, real: Pixels, mask: Bool[Tensor, "b h w"], protocol: str = "patn"
) -> Float[Tensor, " b"]:
    """`ssim` of both images made black outside of `mask`. What is black in both counts as perfectly similar.

    Raises:
        ValueError: see `ssim`.
    """
    return ssim(generated, real, protocol, mask)


def ssim_in_mask(
    generated: Pixels,
    real: Pixels,
    mask: Bool[Tensor, "b h w"],
    protocol: str = "patn",
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, " b"]:
    """The similarity of the whole images, averaged over the windows whose middle is in `mask`; NaN for an empty mask.

    Windows that reach over the border see the image mirrored there.

    Raises:
        ValueError: see `ssim`.
    """
    rule = _require(protocol, generated.shape[1], generated.shape[2])
    maps = zip(_maps(generated, real, rule, dtype), mask.cpu().numpy(), strict=True)
    means = [values[inside].mean(dtype=np.float64) if inside.any() else np.nan for values, inside in maps]
    return torch.tensor(means, dtype=dtype, device=real.device)


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


def _maps(generated: Pixels, real: Pixels, rule: Protocol, dtype: torch.dtype) -> Iterator[Map]:
    """Similarity of the window around each pixel, an image at a time. What is yielded is overwritten by the next."""
    window = _Window(rule, generated.shape[1], generated.shape[2], np.dtype(str(dtype).removeprefix("torch.")))
    for x, y in zip(generated.cpu().numpy(), real.cpu().numpy(), strict=True):
        yield window.similarity(x, y)


@final
class _Window:
    """Similarity in the windows of pairs of images of one size.

    Instead of x and y their sum s and difference d are filtered: 4 cov = var s - var d, 2 (var x + var y) = var s +
    var d, and so for the means. Of similar images d is small, and s is made so by taking off its mean, which keeps the
    digits that variances lose. One image at a time, in buffers that stay in a CPU's cache.
    """

    def __init__(self, rule: Protocol, height: int, width: int, dtype: np.dtype) -> None:
        self.rule = rule
        self.side = 2 * rule.radius + 1
        offsets = np.arange(-rule.radius, rule.radius + 1)
        taps = np.ones(self.side) if rule.sigma is None else np.exp(-(offsets**2) / (2 * rule.sigma**2))
        self.taps = (taps / taps.sum()).astype(dtype)
        self.planes = np.empty((4, height, 3 * width), dtype)
        self.moments = np.empty_like(self.planes)
        shape = (height, width, 3)
        self.pairs = [(a.reshape(shape), b.reshape(shape)) for a, b in zip(self.planes, self.moments, strict=True)]

    def similarity(self, x: UInt8[np.ndarray, "h w 3"], y: UInt8[np.ndarray, "h w 3"]) -> Map:
        """Wang's equation 13, both of its fractions times 2. Overwritten by the next call."""
        levels = self.rule.data_range or max(1, int(x.max()) - int(x.min()))
        # Instead of dividing the covariances by n - 1, their constant is multiplied by (n - 1) / n.
        shrink = (self.side**2 - 1) / self.side**2 if self.rule.sample_covariance else 1.0
        c1, c2 = 2 * (0.01 * levels) ** 2, 2 * (0.03 * levels) ** 2 * shrink
        centre = np.rint(cv2.mean(x)[:3]) + np.rint(cv2.mean(y)[:3])  # of the sum, for each channel; exact in any dtype
        centre = np.tile(centre.astype(self.planes.dtype), x.shape[1])

        total, difference, first, second = self.planes
        np.copyto(first, x.reshape(first.shape))
        np.copyto(second, y.reshape(second.shape))
        np.add(first, second, out=total)
        np.subtract(first, second, out=difference)
        total -= centre
        np.multiply(self.planes[:2], self.planes[:2], out=self.planes[2:])
        self._filter()

        means, variances, squares = self.moments[:2], self.moments[2:], self.planes[2:]
        variances -= np.multiply(means, means, out=squares)
        means[0] += centre
        np.multiply(means[0], means[0], out=squares[0])
        numerator, other = self.planes[:2]
        for (a, b), constant, out in ((squares, c1, numerator), (variances, c2, other)):
            a += constant
            np.subtract(a, b, out=out)
            a += b
        numerator *= other
        numerator /= np.multiply(squares[0], variances[0], out=other)
        return self.pairs[0][0]

    def _filter(self) -> None:
        """The weighted means over the windows; beyond the ends an axis is mirrored (d c b a | a b c d)."""
        for plane, out in self.pairs:
            if self.rule.sigma is None:
                cv2.boxFilter(plane, -1, (self.side, self.side), dst=out, borderType=cv2.BORDER_REFLECT)
            else:
                cv2.sepFilter2D(plane, -1, self.taps, self.taps, dst=out, borderType=cv2.BORDER_REFLECT)
