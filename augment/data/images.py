"""Decoding images, with an error that names the file."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from augment.data.records import Record

# What Pillow raises on files that are truncated, no images at all, or absurdly large.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


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
    except UNREADABLE as error:
        raise ValueError(
            f"{path}: not a readable image ({error}); restore it or remove it with its key points"
        ) from None


def glance(path: Path) -> tuple[int, int]:
    """(height, width) from the header; the file must also end as it should, which a truncated download does not.

    Raises:
        ValueError: missing, truncated or no image, as far as its two ends tell.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            kind = image.format or ""
            ends = _tail(path).endswith(ENDS.get(kind, b""))
    except UNREADABLE as error:
        raise ValueError(f"{path}: not a readable image ({error}); restore it or remove it") from None
    if not ends:  # truncated, or whole with something appended: only decoding tells
        read_image(path)
    return height, width


def require_readable(records: Sequence[Record]) -> None:
    """Glance at every image before hours of work; what only decoding finds is left to `augment check --deep`.

    Raises:
        ValueError: the first that cannot be read.
    """
    for record in records:
        glance(record.path)


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


def _tail(path: Path, length: int = 64) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - length))
        return file.read().rstrip(b"\0")
