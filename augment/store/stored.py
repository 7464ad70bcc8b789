"""The images and columns of a set as they lie on disk: in one file, or in a folder of shards."""

import hashlib
import os
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from augment.plan import UNKNOWN, blocks
from augment.store import hdf5, shards, tables

REQUIRED = ("config", "generator", "versions", "plan_sha256", "start")


@final
class Stored:
    """A set in one file or in shards, opened anew in each process that reads.

    Raises:
        ValueError: not a synthetic set of ours, an unfinished one, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = os.getpid()
        self._open: dict[int, _Images] = {}
        table = path / shards.PLAN if path.is_dir() else path
        if path.is_dir():
            _require_finished(path)
        with hdf5.File(table) as file:
            self.attributes = file.attributes(REQUIRED)
            if path.is_dir():
                file.require(tables.KINDS)
                count = file.rows("pid")
                self.attributes["complete"] = True
            else:
                count, *_ = file.require_images()
                file.require(tables.KINDS | {tables.CRC32: tables.CHECKSUM}, count)
            _require_provenance(table, self.attributes)
            self._check_indices(file)
        self._count, self._table = count, table
        self._parts: Sequence[Path] = _parts(path, count) if path.is_dir() else (path,)
        self._rows_each = shards.SHARD_ROWS if path.is_dir() else count
        self.size: tuple[int, int] = self._part(0).size

    def __len__(self) -> int:
        return self._count

    @cached_property
    def files(self) -> list[str]:
        """Names of the images that rows refer to."""
        with hdf5.File(self._table) as file:
            return file.texts(tables.FILES)

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Some rows of a column."""
        with hdf5.File(self._table) as file:
            return file.column(name, rows)

    def poses(self, rows: np.ndarray) -> Float32[np.ndarray, "n k 2"]:
        """Target poses of ascending rows, which may be few of many."""
        found = np.empty((len(rows), *tables.KINDS["target_pose"][1]), np.float32)
        with hdf5.File(self._table) as file:
            for block in blocks(self._count):
                place = slice(*np.searchsorted(rows, (block.start, block.stop)).tolist())
                if place.start < place.stop:
                    found[place] = file.column("target_pose", block)[rows[place] - block.start]
        return found

    @cached_property
    def crc32(self) -> np.ndarray:
        """The checksum of each image, as it was when the image was made."""
        return np.concatenate([self._part(part).crc32 for part in range(len(self._parts))])

    @cached_property
    def content_sha256(self) -> str:
        """Identifies plan, weights and images."""
        weights = str(self.attributes["generator"].get("weights_sha256"))
        hasher = hashlib.sha256(f"{self.attributes['plan_sha256']} {weights}".encode())
        hasher.update(self.crc32.tobytes())
        return hasher.hexdigest()

    def image(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """One RGB image, as it was when its checksum was taken.

        Raises:
            ValueError: it cannot be read, or is damaged.
        """
        if not 0 <= row < self._count:
            raise IndexError(f"{self.path}: row {row} of {self._count}")
        part, place = divmod(row, self._rows_each)
        return self._part(part).image(place)

    def _part(self, part: int) -> "_Images":
        if self._process != os.getpid():  # the parent's handle is not shared
            self._process, self._open = os.getpid(), {}
        if part not in self._open:
            start = part * self._rows_each if self._table != self.path else None
            opened = _Images(self._parts[part], self.attributes, start, self._count)
            if part and opened.size != self.size:
                raise ValueError(
                    f"{opened.path}: images of another size; remove it and run the same `augment synthesize` again, "
                    "which makes it alone"
                )
            self._open[part] = opened
        return self._open[part]

    def _check_indices(self, file: hdf5.File) -> None:
        names = file.require_texts(tables.FILES)
        for name, least in (("source_index", 0), ("target_index", UNKNOWN)):
            values = file.column(name)
            if values.size and not (values.min() >= least and values.max() < names):
                raise ValueError(f"{file.path}: {name} points outside of the table of files")


@final
class _Images:
    """The images of one file, with their checksums.

    The file of a whole set stays open. A shard's does not: there may be more shards than a process may have files open,
    and opening one takes HDF5 as long as reading a hundred images, so where its images begin is noted instead.
    """

    def __init__(self, path: Path, held: dict[str, Any], start: int | None, rows: int) -> None:
        """A shard must be of the set `held` says and start at this row; `start` is None for a set that is one file."""
        self.path, self._is_shard = path, start is not None
        self._file = hdf5.File(path)
        count, *size = self._file.require_images()
        self._file.require({tables.CRC32: tables.CHECKSUM}, count)
        if start is not None:
            wanted = min(shards.SHARD_ROWS, rows - start)
            if not shards.is_part(self._file.attributes(REQUIRED), held, start) or count != wanted:
                raise ValueError(
                    f"{path}: a shard of another set; remove it and run the same `augment synthesize` again, which "
                    "makes it alone"
                )
        self.size = (size[0], size[1])
        self.crc32 = self._file.column(tables.CRC32)
        if self._is_shard:
            self._file.close()

    @cached_property
    def _places(self) -> Int64[np.ndarray, " n"]:
        with hdf5.File(self.path) as file:
            return file.image_places()

    def image(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        try:
            image = self._at(int(self._places[row])) if self._is_shard else self._file.image(row)
        except hdf5.DAMAGE as error:
            raise ValueError(f"{self.path}: image {row} cannot be read ({error}); synthesize the set again") from None
        if zlib.crc32(image.data) != self.crc32[row]:
            raise ValueError(f"{self.path}: image {row} is damaged (its checksum differs); synthesize the set again")
        return image

    def _at(self, place: int) -> UInt8[np.ndarray, "h w 3"]:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            data = os.pread(descriptor, self.size[0] * self.size[1] * 3, place)
        finally:
            os.close(descriptor)
        return np.frombuffer(bytearray(data), np.uint8).reshape(*self.size, 3)


def _require_provenance(path: Path, attributes: dict[str, Any]) -> None:
    texts = isinstance(attributes["plan_sha256"], str) and type(attributes["start"]) is int
    if not texts or not all(isinstance(attributes[name], dict) for name in ("config", "generator", "versions")):
        raise ValueError(f"{path}: damaged provenance; synthesize it again")


def _parts(folder: Path, rows: int) -> list[Path]:
    return [shards.shard_path(folder, shard) for shard in range(shards.shard_count(rows))]


def _require_finished(folder: Path) -> None:
    if not shards.is_begun(folder) or not (folder / shards.PLAN).is_file():
        raise ValueError(f"{folder}: holds no shards of a synthetic set; make one with `augment synthesize`")
    with hdf5.File(folder / shards.PLAN) as file:
        file.require({"pid": tables.KINDS["pid"]})
        expected = _parts(folder, file.rows("pid"))
    there = {path.name for path in folder.glob("part-*.h5")}
    missing = [path.name for path in expected if path.name not in there]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"{folder}: unfinished, {len(missing)} of {len(expected)} shards are missing ({shown}); run the same "
            "`augment synthesize` again, which makes those"
        )
