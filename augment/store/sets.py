"""Whole sets: shards copied into one file, several sets into one, a set removed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from augment.plan import UNKNOWN, Plan, blocks, digest
from augment.store import claims, hdf5, scores, selection, shards, tables
from augment.store.reader import Reader
from augment.store.stored import Stored
from augment.store.tables import Pixels, Table


class DamagedShard(ValueError):
    """A shard that must be made again; `shard` is its number."""

    def __init__(self, shard: int, complaint: str) -> None:
        super().__init__(f"{complaint}; remove it and run the same `augment synthesize` again, which makes it alone")
        self.shard = shard
        self.complaint = complaint


def write_set(out: Path, table: Table, provenance: dict[str, Any], images: Iterable[Pixels]) -> Path:
    """Publish a whole set as one file; `images` are its images in batches, in the order of the rows.

    Scores of other images that lie beside it are removed.

    Raises:
        OSError: no space, before anything is written.
    """
    tables.write_set(out, table, provenance, images)
    scores.remove_stale(out, Stored(out).content_sha256)
    return out


def merge(
    folder: Path, plan: Plan, out: Path, attributes: dict[str, Any], pause: Callable[[], None] = lambda: None
) -> Path:
    """Copy all shards into one file, checking every image, and remove them once it is published.

    `pause` is called before each shard: it may stop everything by an exception, which leaves all shards.

    Raises:
        DamagedShard: a shard is missing or damaged.
        OSError: no space, before anything is written.
    """
    claims.release_space(folder)
    provenance = {key: value for key, value in attributes.items() if key not in ("rows", "start", "complete")}
    write_set(out, plan, provenance, _read_shards(folder, plan, attributes, pause))
    shards.remove_shards(folder)
    return out


def join(readers: Sequence[Reader], out: Path, provenance: dict[str, Any]) -> Path:
    """Copy several sets of one image size into one file, in this order, checking every image.

    Raises:
        ValueError: a damaged image.
        OSError: no space, before anything is written.
    """
    images = (
        np.stack([reader.image(row) for row in range(place.start, place.stop)])
        for reader in readers
        for place in blocks(len(reader), 256)
    )
    return write_set(out, Joined(readers), provenance, images)


class Joined:
    """The rows of several sets as one table; each brings its own list of files."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = readers
        self._starts = np.cumsum([0, *(len(reader) for reader in readers)])
        self._offsets = np.cumsum([0, *(len(reader.files) for reader in readers)])
        self.files = [name for reader in readers for name in reader.files]

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def sha256(self) -> str:
        """Identifies the plan that these rows follow."""
        return digest(self.files, lambda name: (self.column(name, rows) for rows in blocks(len(self))))

    def column(self, name: str, rows: slice) -> np.ndarray:
        """Some rows of a column."""
        found = []
        for reader, start, offset in zip(self._readers, self._starts[:-1], self._offsets[:-1], strict=True):
            mine = np.arange(max(rows.start - start, 0), min(rows.stop - start, len(reader)))
            if len(mine):
                found.append(_values(reader, name, mine, int(offset)))
        return np.concatenate(found).astype(tables.KINDS[name][0])


def _values(reader: Reader, name: str, rows: np.ndarray, offset: int) -> np.ndarray:
    if name == "target_pose":
        return reader.poses(rows)
    values = getattr(reader, name)[rows]
    return np.where(values == UNKNOWN, UNKNOWN, values + offset) if name.endswith("_index") else values


def remove_set(out: Path) -> None:
    """Remove a synthetic set and its shards, to begin it afresh.

    Raises:
        ValueError: `out` is something else, or another process is making it, which is left alone.
    """
    if claims.is_claimed(shards.shard_folder(out)):
        raise ValueError(f"{out}: another process is making it now; stop that one first, or choose another --out")
    if out.is_file() or out.is_symlink():
        if not is_set(out):
            raise ValueError(
                f"{out}: not recognised as a synthetic set, so --force leaves it; remove it or choose another --out"
            )
        out.unlink()
    shards.remove_shards(shards.shard_folder(out))


def is_set(path: Path) -> bool:
    """Whether a path is a file that holds a synthetic set, a part of one, or a selection."""
    try:
        with hdf5.File(path) as file:
            return file.has_attribute("plan_sha256")
    except ValueError:
        return selection.is_selection(path)


def _read_shards(
    folder: Path, plan: Plan, attributes: Mapping[str, Any], pause: Callable[[], None]
) -> Iterator[Pixels]:
    size = None
    for shard in range(shards.shard_count(len(plan))):
        pause()
        images = _read_shard(folder, shard, plan, attributes)
        if size not in (None, images.shape[1:]):
            raise ValueError(
                f"{shards.shard_path(folder, shard)}: its images are of another size than those of the shards before "
                "it; remove the wrong ones and run the same `augment synthesize` again, which makes them alone"
            )
        size = images.shape[1:]
        yield images


def check_shard(folder: Path, shard: int, plan: Plan, attributes: Mapping[str, Any]) -> None:
    """Check every image of a shard.

    Raises:
        DamagedShard: it is missing, damaged, or not of this set.
    """
    _read_shard(folder, shard, plan, attributes)


def _read_shard(folder: Path, shard: int, plan: Plan, attributes: Mapping[str, Any]) -> Pixels:
    """The images of a shard of this very set, each with the checksum that it was given."""
    path, rows = shards.shard_path(folder, shard), shards.shard_rows(plan, shard)
    try:
        with hdf5.File(path) as file:
            found = file.attributes(("plan_sha256", "start"))
            count, *_ = file.require_images()
            file.require({tables.CRC32: tables.CHECKSUM}, count)
            images, stored = file.images(), file.column(tables.CRC32)
    except (OSError, ValueError) as error:
        raise DamagedShard(shard, str(error)) from None
    if not shards.is_part(found, attributes, rows.start) or count != len(rows):
        raise DamagedShard(shard, f"{path}: a shard of another set")
    if not np.array_equal(tables.checksums(images), stored):
        raise DamagedShard(shard, f"{path}: damaged (checksum differs)")
    return images
