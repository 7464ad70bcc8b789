"""Synthetic images through the JPEG compression of the real ones, so that its traces do not tell the kinds apart.

Real images are JPEG files; generated ones are stored without loss. A network can learn that difference instead of the
person. Quality and chroma subsampling are estimated from the real files' headers.
"""

import functools
import io
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, JpegImagePlugin

from reid.sources import UNREADABLE, ImageSource

# How many files, spread evenly over all, are looked at.
LOOKED_AT = 500

SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}


@dataclass(frozen=True)
class Jpeg:
    """Quality in the scale of the Independent JPEG Group, and Pillow's number of the chroma subsampling."""

    quality: int
    subsampling: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"jpeg {self.quality}: must be a quality from 1 to 100")

    def __str__(self) -> str:
        return f"JPEG quality {self.quality}, chroma {SUBSAMPLINGS[self.subsampling]}"

    def applied(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The image as it comes back from such a file."""
        return _decoded(self._encoded(image))

    def _encoded(self, image: UInt8[np.ndarray, "h w 3"]) -> io.BytesIO:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=self.quality, subsampling=self.subsampling)
        return file


@final
class Reencoded:
    """A source whose images have gone through JPEG; decoded in the worker that needs them."""

    def __init__(self, source: ImageSource, jpeg: Jpeg) -> None:
        self._source, self._jpeg = source, jpeg

    def __len__(self) -> int:
        return len(self._source)

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return self._jpeg.applied(self._source.image(index))

    def identity(self, index: int) -> int:
        return self._source.identity(index)

    def camera(self, index: int) -> int:
        return self._source.camera(index)


def estimated(paths: Sequence[Path]) -> Jpeg:
    """The median quality and the commonest chroma subsampling of the files; only their headers are read.

    A file's quality is that whose luminance table is nearest to its own, which is exact for files of libjpeg.

    Raises:
        ValueError: no JPEG file among those looked at, or one that cannot be read.
    """
    chosen = [paths[index] for index in np.linspace(0, len(paths) - 1, min(LOOKED_AT, len(paths))).astype(int)]
    found = [jpeg for path in chosen if (jpeg := _of_file(path)) is not None]
    if not found:
        raise ValueError(
            f"jpeg match: none of {len(chosen)} real images is a JPEG file, so there is no quality to match; leave "
            "it out, or give a quality"
        )
    ((subsampling, _),) = Counter(jpeg.subsampling for jpeg in found).most_common(1)
    return Jpeg(statistics.median_low(jpeg.quality for jpeg in found), subsampling)


def _of_file(path: Path) -> Jpeg | None:
    try:
        with Image.open(path) as image:
            if not isinstance(image, JpegImagePlugin.JpegImageFile):
                return None
            subsampling = JpegImagePlugin.get_sampling(image)
            return Jpeg(_nearest_quality(image.quantization), max(0, subsampling))  # -1: grey, without chroma
    except UNREADABLE as error:
        raise ValueError(f"{path}: cannot be read as an image ({error}); restore the file or remove it") from error


def _nearest_quality(tables: Mapping[int, Sequence[int]]) -> int:
    luminance = np.asarray(tables[min(tables)], np.int64)
    return int(np.abs(_luminance_tables() - luminance).sum(axis=1).argmin()) + 1


@functools.cache
def _luminance_tables() -> Int64[np.ndarray, "100 64"]:
    """The table of each quality from 1 to 100, as Pillow writes it."""
    grey = Image.new("L", (8, 8))
    rows = []
    for quality in range(1, 101):
        file = io.BytesIO()
        grey.save(file, "JPEG", quality=quality)
        with Image.open(file) as image:
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            rows.append(image.quantization[0])
    return np.asarray(rows, np.int64)


def _decoded(file: io.BytesIO) -> UInt8[np.ndarray, "h w 3"]:
    with Image.open(file) as image:
        return np.array(image)
