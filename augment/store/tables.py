"""What the rows of a set say beside their pixels, and the one file that holds all of it."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8, UInt32

from augment import files, plan
from augment.data.keypoints import JOINTS
from augment.store import hdf5

KINDS: dict[str, hdf5.Kind] = {
    name: (kind, (len(JOINTS), 2) if name == "target_pose" else ()) for name, kind in plan.COLUMNS.items()
}
CHECKSUM: hdf5.Kind = ("<u4", ())
FILES, CRC32 = "files", "crc32"
COLUMNS_BYTES, INDEX_BYTES = 256, 768  # at most, of a row's columns and of HDF5's own index of its image
HEADER_BYTES = 2**20
Pixels = UInt8[np.ndarray, "n h w 3"]


class Table(Protocol):
    """The columns of a set; a plan is one."""

    @property
    def files(self) -> Sequence[str]: ...

    @property
    def sha256(self) -> str: ...

    def __len__(self) -> int: ...

    def column(self, name: str, rows: slice) -> np.ndarray: ...


def checksums(images: Pixels) -> UInt32[np.ndarray, " n"]:
    """CRC-32 of each image's bytes."""
    return np.asarray([zlib.crc32(image) for image in np.ascontiguousarray(images)], dtype=CHECKSUM[0])


def write_columns(file: hdf5.Output, table: Table, rows: range) -> None:
    """Some rows of a table, and its whole list of files."""
    places = plan.blocks(len(rows))
    for name, kind in KINDS.items():
        blocks = (
            (place, table.column(name, slice(rows.start + place.start, rows.start + place.stop))) for place in places
        )
        file.column(name, len(rows), kind, blocks)
    file.texts(FILES, table.files)


def set_bytes(rows: int, size: tuple[int, int], names: Sequence[str]) -> int:
    """Bytes that the file of a set takes, at most."""
    return plan_bytes(rows, names) + rows * (size[0] * size[1] * 3 + INDEX_BYTES)


def plan_bytes(rows: int, names: Sequence[str]) -> int:
    """Bytes that the rows of a set take without their images, at most."""
    return rows * COLUMNS_BYTES + len(names) * 256 + HEADER_BYTES


def write_set(out: Path, table: Table, provenance: dict[str, Any], images: Iterable[Pixels]) -> Path:
    """Publish a whole set as one file; `images` are its images in batches, in the order of the rows.

    Raises:
        OSError: no space, before anything is written.
    """
    batches = iter(images)
    first = next(batches)
    height, width = first.shape[1:3]
    stored = np.empty(len(table), CHECKSUM[0])

    def placed() -> Iterator[tuple[slice, Pixels]]:
        start = 0
        for batch in _chained(first, batches):
            place = slice(start, start + len(batch))
            stored[place] = checksums(batch)
            yield place, batch
            start = place.stop
        assert start == len(table), f"{start} images for {len(table)} rows"

    attributes = {**provenance, "rows": len(table), "plan_sha256": table.sha256, "start": 0, "complete": True}
    files.remove_parts(out.parent)
    with (
        files.appearing(out) as part,
        hdf5.written(part, set_bytes(len(table), (height, width), table.files)) as file,
    ):
        file.attributes(attributes)
        write_columns(file, table, range(len(table)))
        file.images((len(table), height, width, 3), placed())
        file.column(CRC32, len(table), CHECKSUM, [(slice(0, len(table)), stored)])
    return out


def _chained(first: Pixels, rest: Iterable[Pixels]) -> Iterator[Pixels]:
    yield first
    yield from rest
