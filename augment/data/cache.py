"""Decoded images of a split on disk: written once, then mapped by all processes of this and later runs."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL
from jaxtyping import UInt8

from augment import files
from augment.data import images
from augment.data.records import Record

FORMAT = 1


def decoded(
    records: Sequence[Record],
    size: tuple[int, int] | None = None,
    cache: Path | None = None,
    resize: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> UInt8[np.ndarray, "n h w 3"]:
    """The images of `records`, from the folder `cache`; without one, decoded into memory.

    A file of the cache is named by a digest of what it was made from, so changed images make another one. Processes
    that make the same file at once each write a whole one, and the last stays. The folder can be emptied at any time.

    Raises:
        ValueError: an image cannot be read, or differs from `size` (h, w; None takes the first image's) and is not to
            be resized; or the file in the cache is damaged.
        OSError: the disk is full; nothing half-written is left.
    """
    if cache is None:
        return images.read_images(records, size, resize, progress)
    size = size or images.glance(records[0].path)
    path = cache / f"{size[0]}x{size[1]}-{digest(records, size, resize)}.npy"
    if not path.exists():
        files.remove_parts(cache)
        _write(path, records, size, resize, progress)
    return open_cache(path, (len(records), *size, 3))


def open_cache(path: Path, shape: tuple[int, int, int, int]) -> UInt8[np.ndarray, "n h w 3"]:
    """Map a file of the cache, read-only.

    Raises:
        ValueError: it is damaged.
    """
    try:
        pixels = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); remove it, and it will be made again") from None
    excess = path.stat().st_size - pixels.offset - pixels.nbytes
    if pixels.shape != shape or pixels.dtype != np.uint8 or not pixels.flags.c_contiguous or excess:
        raise ValueError(
            f"{path}: damaged: {pixels.dtype} {pixels.shape} and {excess} bytes more, expected uint8 {shape}; "
            "remove it, and it will be made again"
        )
    return pixels.view(np.ndarray)


def digest(records: Sequence[Record], size: tuple[int, int], resize: bool) -> str:
    """Identifies pixels by what they are made from: names, file sizes and times in order, image size, decoder."""
    stats = [(record.name, record.path.stat()) for record in records]
    lines = [f"{FORMAT} {PIL.__version__} {size} {resize}"]
    lines += [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def _write(
    path: Path,
    records: Sequence[Record],
    size: tuple[int, int],
    resize: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Plain writes rather than a map: a full disk is then an error, not a signal that kills the process."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(records), *size, 3)}
    with files.appearing(path) as part, part.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for index, image in enumerate(images.decode(records, size, resize)):
            file.write(image.tobytes())
            if progress is not None:
                progress(index + 1, len(records))
