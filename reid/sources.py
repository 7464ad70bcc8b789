"""Where images come from: the protocol that every source of labelled images meets, and image files on disk."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

# What Pillow raises on files that are missing, cut off, no images at all, or absurdly large.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)


@runtime_checkable
class ImageSource(Protocol):
    """Labelled images by index. Identities and cameras are the raw numbers of the data set, never relabelled."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """RGB pixels."""
        ...

    def identity(self, index: int) -> int: ...

    def camera(self, index: int) -> int: ...


@final
class FileSource:
    """Real images: files with the identity and the camera of each."""

    def __init__(self, paths: Sequence[Path], pids: Sequence[int], camids: Sequence[int]) -> None:
        if not len(paths) == len(pids) == len(camids):
            raise ValueError(
                f"{len(paths)} paths, {len(pids)} identities, {len(camids)} cameras: give one of each per image"
            )
        self._paths = tuple(paths)
        self._pids = tuple(int(pid) for pid in pids)
        self._camids = tuple(int(camid) for camid in camids)

    def __len__(self) -> int:
        return len(self._paths)

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return read_image(self._paths[index])

    def identity(self, index: int) -> int:
        return self._pids[index]

    def camera(self, index: int) -> int:
        return self._camids[index]


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels of an image file, in an array of their own.

    Raises:
        ValueError: missing, cut off or no image; torchreid's own reader would try a cut-off file for ever.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except UNREADABLE as error:
        raise ValueError(f"{path}: cannot be read as an image ({error}); restore the file or remove it") from error


def identities(source: ImageSource) -> Int64[np.ndarray, " n"]:
    """The identity of every image of a source."""
    return np.fromiter((source.identity(index) for index in range(len(source))), np.int64, len(source))


def cameras(source: ImageSource) -> Int64[np.ndarray, " n"]:
    """The camera of every image of a source."""
    return np.fromiter((source.camera(index) for index in range(len(source))), np.int64, len(source))
