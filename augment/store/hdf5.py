"""HDF5 files as the synthetic set uses them: attributes and plain columns, read with suspicion, written in one piece.

The one place that imports h5py. A file may come from anywhere: what HDF5 offers beyond columns (links and storage
outside of the file, virtual sets, filters, object types, shapes larger than the file) is refused before it is read.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np
from jaxtyping import Int64, UInt8

from augment import files

SCHEMA = 1
JSON_ATTRIBUTES = ("config", "generator", "versions", "parts", "selection", "provenance", "checksums")  # as JSON text
ATTRIBUTES_SHA256 = "attributes_sha256"  # of all others
IMAGES = "images"
TEXT_BYTES = 2**15  # longer texts do not fit into HDF5's object header, so that they must be of variable length
SCALARS = (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)  # kinds of an attribute
DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError)
Kind = tuple[str, tuple[int, ...]]  # type of a column and shape of one row


@dataclass(frozen=True)
class Content:
    """What a file is to hold and which command makes it, for complaints."""

    what: str
    command: str
    remedy: str


SET = Content("synthetic set", "augment synthesize", "synthesize it again")


@final
class File:
    """An HDF5 file open for reading; every complaint names it.

    Raises:
        ValueError: not there, no HDF5 file, or of another schema.
    """

    def __init__(self, path: Path, content: Content = SET) -> None:
        with naming(path, content.remedy):
            if not path.is_file():
                raise ValueError(f"{path}: no such file; make a {content.what} with `{content.command}`")
        self.path, self._content = path, content
        try:
            self._file = h5py.File(path, "r")
        except DAMAGE as error:
            raise ValueError(f"{path}: not an HDF5 file, or a truncated one ({str(error)[:80]})") from None
        self._bytes = path.stat().st_size
        self._images: h5py.Dataset | None = None

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def attributes(self, required: Iterable[str]) -> dict[str, Any]:
        """The root attributes, JSON decoded.

        Raises:
            ValueError: not a file of ours (a required one is missing), another schema, or damaged.
        """
        with naming(self.path, self._content.remedy):
            found = self._file.attrs
            if any(key not in found for key in ("schema", *required)):
                raise ValueError(
                    f"{self.path}: an HDF5 file, but no {self._content.what} of augment; make one with "
                    f"`{self._content.command}`"
                )
            schema = self._attribute("schema")
            if schema != SCHEMA:
                raise ValueError(
                    f"{self.path}: {self._content.what} of schema {schema!r}, this version reads schema {SCHEMA}; "
                    f"{self._content.remedy}"
                )
            values: dict[str, Any] = {str(key): self._attribute(key) for key in found}
        expected = values.pop(ATTRIBUTES_SHA256, None)  # older files have none
        if expected not in (None, _digest(values)):
            raise ValueError(f"{self.path}: damaged provenance (its checksum differs); {self._content.remedy}")
        try:
            return values | {key: json.loads(values[key]) for key in JSON_ATTRIBUTES if key in values}
        except (ValueError, RecursionError, TypeError) as error:
            raise ValueError(f"{self.path}: damaged provenance ({error}); {self._content.remedy}") from None

    def has_attribute(self, name: str) -> bool:
        with naming(self.path, self._content.remedy):
            return name in self._file.attrs

    def unknown(self, known: Collection[str]) -> list[str]:
        """What the file holds beside known columns and groups, and those of them that are links to something else."""
        with naming(self.path, self._content.remedy):
            found = map(str, self._file)
            return sorted(name for name in found if name not in known or self._own(name) is None)

    def names(self, group: str) -> list[str]:
        """What a group holds; none where there is no such group."""
        with naming(self.path, self._content.remedy):
            if group not in self._file:
                return []
            found = self._own(group)
            if not isinstance(found, h5py.Group):
                raise ValueError(f"{self.path}: {group} is no group")
            return sorted(str(name) for name in found)

    def require(self, columns: Mapping[str, Kind], rows: int | None = None) -> None:
        """Check columns without reading them: `rows` rows each, or as many as the first one has.

        Raises:
            ValueError: one is missing, outside of the file, of another type or shape, or larger than the file.
        """
        with naming(self.path, self._content.remedy):
            for name, (kind, row) in columns.items():
                dataset = self._plain(name)
                rows = dataset.shape[0] if rows is None and dataset.shape else rows
                if dataset.dtype != np.dtype(kind) or dataset.shape != (rows, *row):
                    raise ValueError(
                        f"{self.path}: {name} is {dataset.dtype} {dataset.shape}, expected {kind} {(rows, *row)}"
                    )
                self._require_stored(name, dataset)

    def require_images(self) -> tuple[int, int, int]:
        """Number, height and width of the images, checked as columns are.

        Raises:
            ValueError: as for columns; or there is no image.
        """
        with naming(self.path, self._content.remedy):
            images = self._plain(IMAGES)
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
                raise ValueError(f"{self.path}: images are {images.dtype} {images.shape}, expected uint8 (n, h, w, 3)")
            if not math.prod(images.shape):
                raise ValueError(f"{self.path}: holds no image; synthesize it again")
            self._require_stored(IMAGES, images)
            return images.shape[0], images.shape[1], images.shape[2]

    def require_matrix(self, name: str, kind: str, rows: int) -> int:
        """How many columns a matrix of `rows` rows has.

        Raises:
            ValueError: as for columns; or it is no such matrix.
        """
        with naming(self.path, self._content.remedy):
            shape = self._plain(name).shape
            if len(shape) != 2 or not shape[1]:
                raise ValueError(f"{self.path}: {name} has the shape {shape}, expected a matrix of {rows} rows")
        self.require({name: (kind, shape[1:])}, rows)
        return shape[1]

    def require_texts(self, name: str) -> int:
        """How many texts a column of fixed-length ones has.

        Raises:
            ValueError: as for columns.
        """
        with naming(self.path, self._content.remedy):
            texts = self._plain(name)
            if texts.dtype.kind != "S" or texts.ndim != 1:
                raise ValueError(f"{self.path}: {name} are {texts.dtype} {texts.shape}, expected a column of names")
            self._require_stored(name, texts)
            return texts.shape[0]

    def rows(self, name: str) -> int:
        """How many rows a column that has been checked has."""
        with naming(self.path, self._content.remedy):
            return self._plain(name).shape[0]

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Some rows of a column that has been checked."""
        with naming(self.path, self._content.remedy):
            return self._plain(name)[rows]

    def texts(self, name: str) -> list[str]:
        """A column of texts that has been checked."""
        with naming(self.path, self._content.remedy):
            return [text.decode("utf-8") for text in self._plain(name)[()].tolist()]

    def image(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """One image; the images have been checked."""
        if self._images is None:
            self._images = self._plain(IMAGES)
        return self._images[row]

    def images(self, rows: slice = slice(None)) -> UInt8[np.ndarray, "n h w 3"]:
        """Consecutive images that have been checked."""
        return self.column(IMAGES, rows)

    def image_places(self) -> Int64[np.ndarray, " n"]:
        """Where in the file each image begins; the images have been checked.

        Raises:
            ValueError: images that are not stored one by one, or not all of them.
        """
        with naming(self.path, self._content.remedy):
            images = self._plain(IMAGES)
            places: dict[int, int] = {}

            def note(chunk: h5py.h5d.StoreInfo) -> None:
                places[chunk.chunk_offset[0]] = chunk.byte_offset

            if images.chunks == (1, *images.shape[1:]):
                images.id.chunk_iter(note)
            if len(places) != len(images):
                raise ValueError(f"{self.path}: images that are missing, or not stored one by one; synthesize it again")
            return np.asarray([places[row] for row in range(len(images))], dtype=np.int64)

    def _plain(self, name: str) -> h5py.Dataset:
        """A dataset whose every byte lies in this file, unfiltered, and fits into it."""
        dataset = self._own(name)
        if not isinstance(dataset, h5py.Dataset):
            raise ValueError(
                f"{self.path}: no dataset {name!r}, so it is no whole {self._content.what}; {self._content.remedy}"
            )
        if dataset.is_virtual or dataset.external:
            raise ValueError(f"{self.path}: {name} is stored outside of the file, which is refused")
        if dataset.dtype.hasobject:
            raise ValueError(f"{self.path}: {name} holds objects, which are refused")
        if dataset.id.get_create_plist().get_nfilters():
            raise ValueError(f"{self.path}: {name} is compressed or filtered, which is refused")
        for shape in (dataset.shape, dataset.chunks or ()):
            declared = math.prod(shape) * dataset.dtype.itemsize
            if declared > self._bytes:
                raise ValueError(f"{self.path}: {name} declares {declared:,} bytes of {self._bytes:,}; truncated?")
        return dataset

    def _require_stored(self, name: str, dataset: h5py.Dataset) -> None:
        """Refuse what would be read as zeros; of chunked columns that would take long to know."""
        if dataset.chunks is None and dataset.id.get_storage_size() < dataset.nbytes:
            raise ValueError(f"{self.path}: {name} is declared, but not stored; {self._content.remedy}")

    def _attribute(self, name: str) -> Any:
        """The text or number of an attribute."""
        attribute = h5py.h5a.open(self._file.id, name.encode())
        scalar = attribute.get_space().get_simple_extent_type() == h5py.h5s.SCALAR
        if not scalar or attribute.get_type().get_class() not in SCALARS:
            raise ValueError(f"{self.path}: damaged: attributes that are neither text nor numbers ({name!r})")
        value = self._file.attrs[name]
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, str):
            plain.encode("utf-8")  # h5py hands out what is no text as well
        return plain.decode("utf-8") if isinstance(plain, bytes) else plain

    def _own(self, name: str) -> Any:
        """What lies under a name, which no link leads out of its place to; None where nothing does."""
        found: Any = self._file
        for step in name.split("/"):
            if not isinstance(found, h5py.Group) or not isinstance(found.get(step, getlink=True), h5py.HardLink):
                return None
            found = found[step]
        return found


def _digest(attributes: Mapping[str, str | int | float | bool]) -> str:
    return hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def naming(path: Path, remedy: str) -> Iterator[None]:
    """Every complaint of HDF5 about a damaged file becomes one that names it."""
    try:
        yield
    except DAMAGE as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: damaged ({str(error)[:120]}); {remedy}") from None


@final
class Output:
    """A file that is being written."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def attributes(self, values: Mapping[str, Any]) -> None:
        """Texts are of fixed length where they can be: a damaged one of variable length hangs or crashes HDF5."""
        plains = {
            key: json.dumps(value, sort_keys=True) if key in JSON_ATTRIBUTES else value
            for key, value in {"schema": SCHEMA, **values}.items()
        }
        for key, plain in {**plains, ATTRIBUTES_SHA256: _digest(plains)}.items():
            encoded = plain.encode("utf-8") if isinstance(plain, str) else b""
            if 0 < len(encoded) <= TEXT_BYTES:
                self._file.attrs.create(key, encoded, dtype=h5py.string_dtype("utf-8", len(encoded)))
            else:
                self._file.attrs[key] = plain

    def column(self, name: str, rows: int, kind: Kind, blocks: Iterable[tuple[slice, np.ndarray]]) -> None:
        """A column that is filled block by block."""
        dataset = self._file.create_dataset(name, (rows, *kind[1]), kind[0])
        for place, values in blocks:
            dataset[place] = values

    def texts(self, name: str, texts: Iterable[str]) -> None:
        """A column of texts, as long as the longest."""
        encoded = [text.encode("utf-8") for text in texts]
        kind = h5py.string_dtype("utf-8", max(map(len, encoded), default=1) or 1)
        self._file.create_dataset(name, data=np.asarray(encoded, dtype=kind))

    def images(self, shape: tuple[int, int, int, int], blocks: Iterable[tuple[slice, np.ndarray]]) -> None:
        """The images, one a chunk, filled block by block."""
        dataset = self._file.create_dataset(IMAGES, shape, "u1", chunks=(1, *shape[1:]))
        for place, values in blocks:
            dataset[place] = values


@contextlib.contextmanager
def written(path: Path, reserve: int = 0) -> Iterator[Output]:
    """Write a file that takes `reserve` bytes at most. It has them from the beginning: HDF5 crashes on a full disk.

    Raises:
        OSError: no space for them.
    """
    with h5py.File(path, "w") as file:
        if reserve:
            files.reserve(path, reserve)
        yield Output(file)
    with h5py.File(path, "r+"):
        pass  # HDF5 cuts off what lies behind the end that it knows


@contextlib.contextmanager
def built(into: list[bytes]) -> Iterator[Output]:
    """Build a file in memory; its bytes are appended to `into` on a clean exit."""
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        yield Output(file)
        file.flush()
        into.append(file.id.get_file_image())
