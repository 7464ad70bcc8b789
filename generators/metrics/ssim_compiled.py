"""Similarities of SSIM by functions that numba compiles: twice as fast as OpenCV's filters, equal to rounding."""

from collections.abc import Callable
from functools import cache
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, UInt8
from numba import njit

# Products and sums may be fused, so that they vectorise; NaN and infinity do not occur.
_compiled: Any = njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})


class Windows:
    """As `generators.metrics.ssim_filters.Windows`; the first of a side costs a second of compiling."""

    def __init__(self, taps: Float[np.ndarray, " side"], height: int, width: int) -> None:
        self.taps = taps
        self.compute = _similarities(len(taps))
        rows, columns = height - len(taps) + 1, width - len(taps) + 1
        self.buffers = np.empty((4, height, 3 * width)), np.empty(3 * width), np.empty((4, 3 * columns))
        self.found = np.empty((rows, columns, 3))

    def similarities(
        self, x: UInt8[np.ndarray, "h w 3"], y: UInt8[np.ndarray, "h w 3"], c1: float, c2: float
    ) -> Float[np.ndarray, "rows columns 3"]:
        """Wang's equation 13 in each window inside the images. Overwritten by the next call."""
        rows = len(x), -1
        out = self.found.reshape(len(self.found), -1)
        self.compute(x.reshape(rows), y.reshape(rows), self.taps, c1, c2, *self.buffers, out)
        return self.found


@cache
@no_type_check  # numba compiles functions as they are written, without checks around them
def _similarities(side: int) -> Callable[..., None]:
    """For windows of that many pixels.

    The number is a constant while compiling: only so are the loops over taps unrolled and those over pixels vectorised.
    """
    radius = side // 2

    @_compiled
    def down(plane, row, taps, out):
        for i in range(out.size):
            total = taps[radius] * plane[row + radius, i]
            for j in range(radius):
                total += taps[j] * (plane[row + j, i] + plane[row + side - 1 - j, i])
            out[i] = total

    @_compiled
    def across(line, taps, out):
        for i in range(out.size):
            total = taps[radius] * line[i + 3 * radius]
            for j in range(radius):
                total += taps[j] * (line[i + 3 * j] + line[i + 3 * (side - 1 - j)])
            out[i] = total

    @_compiled
    def compute(x, y, taps, c1, c2, planes, line, moments, out):
        for row in range(x.shape[0]):
            for i in range(x.shape[1]):
                a, b = float(x[row, i]), float(y[row, i])
                planes[0, row, i] = a
                planes[1, row, i] = b
                planes[2, row, i] = 2 * a * b
                planes[3, row, i] = a * a + b * b
        for row in range(out.shape[0]):
            for k in range(4):
                down(planes[k], row, taps, line)
                across(line, taps, moments[k])
            for i in range(out.shape[1]):
                a, b = moments[0, i], moments[1, i]
                product, squares = 2 * a * b, a * a + b * b
                covariance, variances = moments[2, i] - product, moments[3, i] - squares
                out[row, i] = (product + c1) * (covariance + c2) / ((squares + c1) * (variances + c2))

    return compute
