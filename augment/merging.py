"""Stage: one file of the shards of a set, or of several sets.

Shards become the very file that `augment synthesize` makes of them at its end. Of several sets each keeps its own list
of files and is described in the attribute `parts`; rows follow the order in which the sets are given.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from augment import audit, files, runs, store
from augment.replacing import standing_set
from augment.store import shards
from augment.version import __version__

SAME = ("data_digest", "points_digest", "pose_estimator")  # of a joined set where all parts have the same
PART = ("config", "generator", "plan_sha256", "selection", "parts", "points_digest", "pose_estimator")
MOST_ROWS = 2**31
Log = Callable[[str], None]


def prepare(sets: Sequence[Path], log: Log = lambda line: None) -> list[store.Reader]:
    """The sets, which may become one file; of a folder of shards, every image has been read.

    Raises:
        ValueError: a set that is none, unfinished or damaged (all such shards are named); sets of several sizes or
            training splits; one that is given twice; or a single file, which needs no merging.
    """
    for path in sets:
        if path.is_dir():
            _require_whole(path, log)
    readers = [store.Reader(path) for path in sets]
    for reader in readers:
        if not reader.attributes.get("complete"):
            raise ValueError(f"{reader.path}: one part of an unfinished set; give the folder that it lies in")
    if len(readers) == 1:
        if readers[0].path.is_file() and readers[0].rows is None:
            raise ValueError(f"{sets[0]}: is one file already; give several sets, or a folder of shards")
        return readers
    _require_alike(readers)
    return readers


def run(
    sets: Sequence[Path],
    out: Path,
    *,
    remove_shards: bool = False,
    force: bool = False,
    log: Log = lambda line: None,
) -> Path:
    """Write the images of all sets, in this order, as one set `out`, or find it done; returns `out`.

    With `remove_shards` folders of shards are removed once their images are in the one file.

    Raises:
        ValueError: see `prepare`; a damaged image; or `out` is something else, or another set.
        OSError: the disk is full; nothing half-written is left.
    """
    if any(path.resolve() == out.resolve() for path in sets):
        raise ValueError(f"--out {out}: is one of the sets that are to be merged; choose another")
    if remove_shards and not any(path.is_dir() for path in sets):
        raise ValueError("--remove-shards: none of the sets is a folder of shards; leave it out")
    standing = standing_set(out, force)
    readers = prepare(sets, log)
    if repeated := _repeated(readers):
        log(f"{repeated:,} images are in several of the sets: they will be there, and count, as often")
    provenance = _of_shards(readers[0]) if _is_shards(readers) else _joined(readers)
    if standing is None:
        if any(store.scores_path(reader.base).exists() for reader in readers):
            log("scores stay behind: score the merged set again")
        log(f"copying {sum(map(len, readers)):,} images")
        store.join(readers, out, provenance)
    else:
        _require_this(standing, readers, provenance)
        log("already done")
    for path in sets:
        if remove_shards and path.is_dir():
            store.remove_shards(path)
    return out


def _is_shards(readers: Sequence[store.Reader]) -> bool:
    return len(readers) == 1 and readers[0].path.is_dir()


def _of_shards(reader: store.Reader) -> dict[str, Any]:
    """What `augment synthesize` says of the set, in its order."""
    manifest = files.read_json(reader.path / store.MANIFEST)
    return {key: value for key, value in manifest.items() if key != "rows"}


def _joined(readers: Sequence[store.Reader]) -> dict[str, Any]:
    first = readers[0].attributes
    same = {name: first[name] for name in SAME if name in first and _equal(readers, name)}
    stamped = any(reader.attributes.get(audit.TEST_IDENTITIES) for reader in readers)
    models = sorted({str(reader.attributes["generator"].get("model")) for reader in readers})
    several = {"model": ", ".join(models), "preset": "merged", "weights_sha256": None}
    return {
        "tool": f"reid-augment {__version__}",
        "created": shards.created(),
        "config": {"command": "merge"},
        "generator": first["generator"] if _equal(readers, "generator") else several,
        "versions": runs.versions(),
        "parts": [_part(reader) for reader in readers],
        **same,
        **({audit.TEST_IDENTITIES: True} if stamped else {}),
    }


def _part(reader: store.Reader) -> dict[str, Any]:
    described = {name: reader.attributes[name] for name in PART if name in reader.attributes}
    return {
        "name": reader.path.name,
        "images": len(reader),
        "content_sha256": reader.content_sha256,
        **described,
    }


def _equal(readers: Sequence[store.Reader], name: str) -> bool:
    return all(reader.attributes.get(name) == readers[0].attributes.get(name) for reader in readers)


def _require_this(standing: store.Reader, readers: Sequence[store.Reader], provenance: dict[str, Any]) -> None:
    """Refuse a set at --out that is not the one asked for."""
    remedy = "choose another --out, or --force to replace it"
    expected = {key: provenance.get(key) for key in ("config", "generator", "data_digest", audit.TEST_IDENTITIES)}
    asked = [reader.content_sha256 for reader in readers]
    held = [part.get("content_sha256") for part in standing.attributes.get("parts", ())]
    found = standing.attributes | {"images": [standing.content_sha256] if _is_shards(readers) else held}
    audit.require_same(
        str(standing.path), found, expected | {"images": asked}, remedy, problem="holds another set"
    )  # fmt: skip


def _require_alike(readers: Sequence[store.Reader]) -> None:
    """Refuse sets that do not belong into one file."""
    first = readers[0]
    seen: dict[str, Path] = {}
    for reader in readers:
        if reader.size != first.size:
            raise ValueError(
                f"{reader.path}: images of {reader.size[0]}x{reader.size[1]}, those of {first.path} are "
                f"{first.size[0]}x{first.size[1]}; merge sets of one size"
            )
        expected = {"data_digest": first.attributes.get("data_digest")}
        audit.require_same(
            str(reader.path), reader.attributes, expected, "merge sets of one training split",
            problem=f"is of another training split than {first.path}",
        )  # fmt: skip
        if reader.content_sha256 in seen:
            raise ValueError(
                f"{reader.path}: holds the very images of {seen[reader.content_sha256]}; give each set once"
            )
        seen[reader.content_sha256] = reader.path


def _repeated(readers: Sequence[store.Reader]) -> int:
    """How many images are there a second time, because selections of one set overlap."""
    rows: dict[str, list[np.ndarray]] = {}
    for reader in readers:
        base = reader if reader.rows is None else store.Reader(reader.base)
        rows.setdefault(base.content_sha256, []).append(np.arange(len(reader)) if reader.rows is None else reader.rows)
    return sum(len(all_rows := np.concatenate(found)) - len(np.unique(all_rows)) for found in rows.values())


def _require_whole(folder: Path, log: Log) -> None:
    """Check every image of a folder of shards.

    Raises:
        ValueError: no folder of shards, or shards that are missing or damaged: all are named.
    """
    if not store.is_begun(folder):
        raise ValueError(f"{folder}: holds no shards of a synthetic set; give the folder with their {store.MANIFEST}")
    manifest = files.read_json(folder / store.MANIFEST)
    rows = manifest.get("rows")
    if not isinstance(rows, int) or not 0 < rows < MOST_ROWS:
        raise ValueError(f"{folder / store.MANIFEST}: damaged; run the same `augment synthesize` again with --force")
    every = range(store.shard_count(rows))
    log(f"checking {len(every)} shards of {folder}")
    missing = [shard for shard in every if not store.shard_path(folder, shard).exists()]
    damaged = [shard for shard in every if shard not in set(missing) and _damaged(folder, shard, manifest)]
    if missing or damaged:
        found = [f"missing: {_named(folder, missing)}"] if missing else []
        found += [f"damaged, to be removed: {_named(folder, damaged)}"] if damaged else []
        raise ValueError(
            f"{folder}: {len(missing) + len(damaged)} of {len(every)} shards are not whole ({'; '.join(found)}); run "
            "the same `augment synthesize` again, which makes those alone"
        )


def _damaged(folder: Path, shard: int, manifest: dict[str, Any]) -> bool:
    first = shard * shards.SHARD_ROWS
    try:
        reader = store.Reader(store.shard_path(folder, shard))
        ours = shards.is_part(reader.attributes, manifest, first)
        return not ours or len(reader) != min(shards.SHARD_ROWS, manifest["rows"] - first) or bool(reader.damaged())
    except ValueError:
        return True


def _named(folder: Path, numbers: Sequence[int]) -> str:
    """Names of shards, in ascending order; of three or more in a row the first and the last."""
    rows: list[list[str]] = []
    for before, number in zip((None, *numbers), numbers, strict=False):
        if before is None or number != before + 1:
            rows.append([])
        rows[-1].append(store.shard_path(folder, number).name)
    return ", ".join(f"{row[0]} to {row[-1]}" if len(row) > 2 else ", ".join(row) for row in rows)
