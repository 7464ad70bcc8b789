"""The synthetic set in HDF5: the plan, atomic shards of it, one merged file, and a reader over either.

    X.shards/manifest.json     what is being made; another configuration is refused
    X.shards/plan.h5           row i is (source, target pose, seed), stored before any pixel exists
    X.shards/part-00000.h5     plan rows [0, 1024), published whole
    X.h5                       all rows, made by copying the shards when the last one is there

The schema and what was measured to survive a kill are described in docs/hdf5-format.md.
"""

import contextlib
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np
from jaxtyping import UInt8

from augment import audit, files
from augment.plan import COLUMNS, Plan

SCHEMA = 1
SHARD_ROWS = 1024
MANIFEST, PLAN = "manifest.json", "plan.h5"
JSON_ATTRIBUTES = ("config", "generator", "versions")  # stored as JSON text
Pixels = UInt8[np.ndarray, "n h w 3"]


def shard_count(plan: Plan) -> int:
    return -(-len(plan) // SHARD_ROWS)


def shard_rows(plan: Plan, shard: int) -> range:
    """The plan rows of a shard."""
    return range(shard * SHARD_ROWS, min(len(plan), (shard + 1) * SHARD_ROWS))


def shard_folder(out: Path) -> Path:
    """Where the shards of `out` (X.h5) lie while it is being made."""
    return out.with_suffix(".shards") if out.suffix == ".h5" else out


def begin(folder: Path, plan: Plan, provenance: dict[str, Any]) -> dict[str, Any]:
    """Store plan and provenance, or check that the folder holds these very ones; what every file of the set carries.

    Raises:
        ValueError: the folder was begun with another plan or configuration (naming the keys), or is something else.
    """
    manifest = {"rows": len(plan), "plan_sha256": plan.sha256, **provenance}
    path = folder / MANIFEST
    if path.exists() and not _is_unfinished_set(folder):
        raise ValueError(f"{path}: is no manifest of a synthetic set; choose another --out")
    if path.exists():
        saved, asked = audit.flat(files.read_json(path)), audit.flat(manifest)
        differing = [
            key
            for key in sorted(saved.keys() | asked)
            if key != "created" and not key.startswith("versions.") and saved.get(key) != asked.get(key)
        ]
        if differing:
            raise ValueError(
                f"{folder}: was begun with another configuration ({', '.join(differing)} differ); "
                "give the same options again, another --out, or --force"
            )
    elif folder.exists() and {entry.name for entry in folder.glob("[!.]*")} - {PLAN}:
        raise ValueError(f"{folder}: holds files that are no unfinished synthetic set; choose another --out")
    files.remove_parts(folder)
    begun = path.exists()
    manifest = files.read_json(path) if begun else manifest | {"created": _now()}
    if not (folder / PLAN).exists():
        files.write_atomic(folder / PLAN, _plan_bytes(plan, manifest))
    if not begun:
        files.write_json(path, manifest)
    return manifest


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def missing_shards(folder: Path, plan: Plan) -> list[int]:
    """Shards that are not there yet."""
    return [shard for shard in range(shard_count(plan)) if not shard_path(folder, shard).exists()]


def shard_path(folder: Path, shard: int) -> Path:
    return folder / f"part-{shard:05d}.h5"


def write_shard(folder: Path, shard: int, plan: Plan, images: Pixels, attributes: dict[str, Any]) -> Path:
    """Publish one shard.

    The file is built in memory (25 MB) and written by one plain write: on a full disk that fails cleanly, where a
    growing HDF5 file would take the process with it.
    """
    rows = shard_rows(plan, shard)
    if len(images) != len(rows):
        raise AssertionError(f"shard {shard} has {len(rows)} rows, got {len(images)} images")
    return files.write_atomic(
        shard_path(folder, shard), _in_memory(lambda file: _fill(file, plan, rows, images, attributes))
    )


def merge(folder: Path, plan: Plan, out: Path, attributes: dict[str, Any]) -> Path:
    """Copy all shards into one file, checking every image, and remove them once it is published.

    Raises:
        ValueError: a shard is missing or damaged, named.
        OSError: no space, before anything is written.
    """
    pixels, _ = _read_shard(shard_path(folder, 0), plan, shard_rows(plan, 0))
    height, width = pixels.shape[1:3]
    files.remove_parts(out.parent)
    with files.appearing(out) as part:
        _require_space(part, len(plan) * (height * width * 3 + 1024) + 2**20)
        with h5py.File(part, "w") as file:
            _write_attributes(file, attributes, start=0, complete=True)
            _write_columns(file, plan, range(len(plan)))
            images = _create_images(file, (len(plan), height, width, 3))
            checksums = file.create_dataset("crc32", (len(plan),), "<u4")
            for shard in range(shard_count(plan)):
                rows = shard_rows(plan, shard)
                pixels, stored = _read_shard(shard_path(folder, shard), plan, rows)
                images[rows.start : rows.stop] = pixels
                checksums[rows.start : rows.stop] = stored
    remove_shards(folder)
    return out


def _read_shard(path: Path, plan: Plan, rows: range) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and checksums of a shard of this very plan."""
    remedy = "remove it and run the same command again"
    try:
        shard = Reader(path)
        if shard.attributes["plan_sha256"] != plan.sha256 or shard.attributes["start"] != rows.start:
            raise ValueError(f"{path}: a shard of another plan")
        with h5py.File(path, "r") as file:
            pixels, stored = _read(file, "images"), _read(file, "crc32")
    except (OSError, ValueError) as error:
        raise ValueError(f"{error}; {remedy}") from None
    if len(pixels) != len(rows) or not np.array_equal(_checksums(pixels), stored):
        raise ValueError(f"{path}: damaged (checksum differs); {remedy}")
    return pixels, stored


def remove_set(out: Path) -> None:
    """Remove a synthetic set and its shards, to begin it afresh.

    Raises:
        ValueError: `out` is something else, which is left alone.
    """
    if out.exists():
        try:
            with _opened(out) as file:
                ours = "plan_sha256" in file.attrs
        except ValueError:
            ours = False
        if not ours:
            raise ValueError(
                f"{out}: not recognised as a synthetic set, so --force leaves it; remove it or choose another --out"
            )
        out.unlink()
    remove_shards(shard_folder(out))


def _is_unfinished_set(folder: Path) -> bool:
    try:
        return "plan_sha256" in files.read_json(folder / MANIFEST)
    except (OSError, ValueError, TypeError):
        return False


def remove_shards(folder: Path) -> None:
    """Remove what a finished set no longer needs; the manifest goes last, so that a kill in between is recognised."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if not _is_unfinished_set(folder):
        return
    for path in [*sorted(folder.glob("part-*.h5")), folder / PLAN, folder / MANIFEST]:
        path.unlink(missing_ok=True)
    files.remove_parts(folder)
    if not any(folder.iterdir()):
        folder.rmdir()


@final
class Reader:
    """A synthetic set (one file, or a shard) as a source of images; opened anew in each process that reads.

    Raises:
        ValueError: not a synthetic set of ours, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: tuple[int, h5py.File] | None = None
        with _opened(path) as file, _naming(path):
            self.attributes = _attributes(path, file)
            _validate(path, file)
            shape = _dataset(file, "images").shape
            self.size: tuple[int, int] = (int(shape[1]), int(shape[2]))
            columns = {name: _read(file, name) for name in COLUMNS}
            self.files = [name.decode("utf-8") for name in _read(file, "files").tolist()]
        self.pid, self.camid = columns["pid"].astype(np.int64), columns["camid"].astype(np.int64)
        self.source_index, self.target_index = columns["source_index"], columns["target_index"]
        self.target_pose, self.seed = columns["target_pose"], columns["seed"]

    def __len__(self) -> int:
        return len(self.pid)

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """One RGB image."""
        try:
            return _dataset(self._file(), "images")[index]
        except OSError as error:
            raise ValueError(f"{self.path}: image {index} cannot be read ({error}); synthesize the set again") from None

    def identity(self, index: int) -> int:
        """Identity of the source, as the data set numbers it."""
        return int(self.pid[index])

    def camera(self, index: int) -> int:
        """Camera of the source: its background and colours are the image's."""
        return int(self.camid[index])

    def source_name(self, index: int) -> str:
        return self.files[self.source_index[index]]

    def target_name(self, index: int) -> str:
        return self.files[self.target_index[index]]

    def damaged(self) -> list[int]:
        """Rows whose image does not have the stored checksum."""
        stored = _read(self._file(), "crc32")
        return [index for index in range(len(self)) if zlib.crc32(self.image(index).tobytes()) != stored[index]]

    def _file(self) -> h5py.File:
        if self._handle is None or self._handle[0] != os.getpid():
            self._handle = (os.getpid(), h5py.File(self.path, "r"))
        return self._handle[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Every complaint of HDF5 about a damaged file becomes one that names it."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: damaged ({str(error)[:120]}); synthesize it again") from None


def _opened(path: Path) -> h5py.File:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; make a synthetic set with `augment synthesize`")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path}: not an HDF5 file, or a truncated one ({str(error)[:80]})") from None


def _attributes(path: Path, file: h5py.File) -> dict[str, Any]:
    schema = file.attrs.get("schema")
    if schema is None or any(key not in file.attrs for key in (*JSON_ATTRIBUTES, "plan_sha256", "start")):
        raise ValueError(f"{path}: an HDF5 file, but no synthetic set of augment; make one with `augment synthesize`")
    if schema != SCHEMA:
        raise ValueError(
            f"{path}: synthetic set of schema {schema}, this version reads schema {SCHEMA}; synthesize it again"
        )
    attributes = {key: value.item() if isinstance(value, np.generic) else value for key, value in file.attrs.items()}
    if not all(isinstance(value, str | int | float) for value in attributes.values()):
        raise ValueError(f"{path}: attributes that are neither text nor numbers, which are refused")
    try:
        return attributes | {key: json.loads(attributes[key]) for key in JSON_ATTRIBUTES}
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path}: damaged provenance ({error}); synthesize it again") from None


def _validate(path: Path, file: h5py.File) -> None:
    """Refuse what a hostile or damaged file could do: links and storage outside of it, wrong shapes and types."""
    for name in (*COLUMNS, "images", "crc32", "files"):
        if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
            raise ValueError(f"{path}: no dataset {name!r}, so it is no whole synthetic set; synthesize it again")
        dataset = _dataset(file, name)
        if dataset.is_virtual or dataset.external:
            raise ValueError(f"{path}: {name} is stored outside of the file, which is refused")
        if dataset.dtype.hasobject:
            raise ValueError(f"{path}: {name} holds objects, which are refused")
    images, table = _dataset(file, "images"), _dataset(file, "files")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"{path}: images are {images.dtype} {images.shape}, expected uint8 (n, h, w, 3)")
    if not math.prod(images.shape):
        raise ValueError(f"{path}: holds no image; synthesize it again")
    for dataset in (images, table):
        declared = math.prod(dataset.shape) * dataset.dtype.itemsize
        if declared > path.stat().st_size:
            raise ValueError(f"{path}: declares {declared:,} bytes but has {path.stat().st_size:,}; truncated?")
    if table.dtype.kind != "S" or table.ndim != 1:
        raise ValueError(f"{path}: files are {table.dtype} {table.shape}, expected a column of names")
    for name, kind in (*COLUMNS.items(), ("crc32", "<u4")):
        column, shape = _dataset(file, name), (len(images), *((18, 2) if name == "target_pose" else ()))
        if column.dtype != np.dtype(kind) or column.shape != shape:
            raise ValueError(f"{path}: {name} is {column.dtype} {column.shape}, expected {kind} {shape}")
    for name in ("source_index", "target_index"):
        values = _read(file, name)
        if values.size and not (values.min() >= 0 and values.max() < table.shape[0]):
            raise ValueError(f"{path}: {name} points outside of the table of files")


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{file.filename}: {name} is no dataset")
    return found


def _read(file: h5py.File, name: str) -> np.ndarray:
    return np.asarray(_dataset(file, name))


def _in_memory(fill: Callable[[h5py.File], None]) -> bytes:
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        return file.id.get_file_image()


def _plan_bytes(plan: Plan, attributes: dict[str, Any]) -> bytes:
    def fill(file: h5py.File) -> None:
        _write_attributes(file, attributes, start=0, complete=False)
        _write_columns(file, plan, range(len(plan)))

    return _in_memory(fill)


def _fill(file: h5py.File, plan: Plan, rows: range, images: Pixels, attributes: dict[str, Any]) -> None:
    _write_attributes(file, attributes, start=rows.start, complete=False)
    _write_columns(file, plan, rows)
    _create_images(file, images.shape)[...] = images
    file.create_dataset("crc32", data=_checksums(images))


def _create_images(file: h5py.File, shape: tuple[int, ...]) -> h5py.Dataset:
    return file.create_dataset("images", shape, "u1", chunks=(1, *shape[1:]))


def _write_attributes(file: h5py.File, attributes: dict[str, Any], start: int, complete: bool) -> None:
    file.attrs.update({"schema": SCHEMA, "start": start, "complete": complete})
    for key, value in attributes.items():
        file.attrs[key] = json.dumps(value, sort_keys=True) if key in JSON_ATTRIBUTES else value


def _write_columns(file: h5py.File, plan: Plan, rows: range) -> None:
    for name in COLUMNS:
        file.create_dataset(name, data=plan.column(name)[rows.start : rows.stop])
    encoded = [name.encode("utf-8") for name in plan.files]
    file.create_dataset(
        "files", data=np.asarray(encoded, dtype=h5py.string_dtype("utf-8", max(map(len, encoded), default=1)))
    )


def _checksums(images: Pixels) -> np.ndarray:
    return np.asarray([zlib.crc32(image.tobytes()) for image in images], dtype="<u4")


def _require_space(path: Path, size: int) -> None:
    """Fail on a full disk before HDF5 starts to write: reserve the space, then give it back."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
