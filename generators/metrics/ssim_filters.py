"""Similarities of SSIM by OpenCV's filters."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8


class Windows:
    """The windows of pairs of images of one size, a pair at a time, in buffers that stay in a CPU's cache.

    `taps` are the weights of the window along an axis, which sum to 1.
    """

    def __init__(self, taps: Float[np.ndarray, " side"], height: int, width: int) -> None:
        self.taps = taps
        self.planes = np.empty((4, height, 3 * width))
        self.moments = np.empty_like(self.planes)
        shape = (height, width, 3)
        self.pairs = [(a.reshape(shape), b.reshape(shape)) for a, b in zip(self.planes, self.moments, strict=True)]

    def similarities(
        self, x: UInt8[np.ndarray, "h w 3"], y: UInt8[np.ndarray, "h w 3"], c1: float, c2: float
    ) -> Float[np.ndarray, "rows columns 3"]:
        """Wang's equation 13 in each window inside the images, halves until the end. Overwritten by the next call."""
        first, second, product, squares = self.planes
        np.copyto(first, x.reshape(first.shape))
        np.copyto(second, y.reshape(second.shape))
        np.multiply(first, second, out=product)
        np.multiply(self.planes[:2], self.planes[:2], out=self.moments[:2])
        np.add(self.moments[0], self.moments[1], out=squares)
        self._filter()

        x_mean, y_mean, covariance, variances = self.moments
        np.multiply(x_mean, y_mean, out=product)
        np.multiply(self.moments[:2], self.moments[:2], out=self.planes[:2])
        np.add(first, second, out=squares)
        covariance -= product
        variances -= squares
        for term, constant in ((product, c1 / 2), (covariance, c2 / 2), (squares, c1), (variances, c2)):
            term += constant
        product *= covariance
        squares *= variances
        product /= squares
        product *= 4
        radius = len(self.taps) // 2
        return self.pairs[2][0][radius:-radius, radius:-radius]

    def _filter(self) -> None:
        side = len(self.taps)
        for plane, out in self.pairs:
            if (self.taps == self.taps[0]).all():
                cv2.boxFilter(plane, -1, (side, side), dst=out)
            else:
                cv2.sepFilter2D(plane, -1, self.taps, self.taps, dst=out)
