"""Decoding images, with an error that names the file."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from augment.data.records import Record


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Decode one RGB image.

    Raises:
        ValueError: missing, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such image; the data set has changed, check it with `augment check`") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path}: not a readable image ({error}); restore it or remove it with its key points"
        ) from None


def read_images(
    records: Sequence[Record],
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> UInt8[np.ndarray, "n h w 3"]:
    """Decode all images of a split into memory (25 kB each at 128x64).

    Raises:
        ValueError: an image cannot be read, or differs from `size` (h, w); None takes the first image's.
    """
    first = read_image(records[0].path)
    height, width = size or first.shape[:2]
    pixels = np.empty((len(records), height, width, 3), dtype=np.uint8)
    for index, record in enumerate(records):
        image = read_image(record.path)
        if image.shape[:2] != (height, width):
            raise ValueError(
                f"{record.path}: is {image.shape[0]}x{image.shape[1]}, the others are {height}x{width}; "
                "resize the data set to one size first (key points with it)"
            )
        pixels[index] = image
        if progress is not None:
            progress(index + 1, len(records))
    return pixels
