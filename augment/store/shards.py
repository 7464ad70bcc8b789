"""A set that is being made: a folder of shards, each of which appears whole.

    manifest.json     what is being made; another configuration is refused
    plan.h5           row i is (source, target pose, seed), stored before any pixel exists
    part-00000.h5     plan rows [0, 1024), published whole

Any number of processes may make the shards of one folder, and any process may finish what another began.
"""

import contextlib
import errno
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from augment import audit, files
from augment.plan import Plan
from augment.store import hdf5, tables
from augment.store.claims import LOCK, RESERVE
from augment.store.tables import Pixels

SHARD_ROWS = 1024
MANIFEST, PLAN = "manifest.json", "plan.h5"


def shard_count(rows: int) -> int:
    return -(-rows // SHARD_ROWS)


def shard_rows(plan: Plan, shard: int) -> range:
    """The plan rows of a shard."""
    return range(shard * SHARD_ROWS, min(len(plan), (shard + 1) * SHARD_ROWS))


def shard_folder(out: Path) -> Path:
    """Where the shards of `out` lie: beside X.h5 while it is being made, in `out` itself where it is a folder."""
    return out.with_suffix(".shards") if out.suffix == ".h5" else out


def shard_path(folder: Path, shard: int) -> Path:
    return folder / _shard_name(shard)


def _shard_name(shard: int) -> str:
    return f"part-{shard:05d}.h5"


def begin(folder: Path, plan: Plan, provenance: dict[str, Any]) -> dict[str, Any]:
    """Store plan and provenance, or check that the folder holds these very ones; what every file of the set carries.

    Of several processes one stores them; all get the same.

    Raises:
        ValueError: the folder was begun with another plan or configuration (naming the keys), or is something else.
        FileNotFoundError: another process has finished the set and removed the folder meanwhile.
    """
    manifest = {"rows": len(plan), "plan_sha256": plan.sha256, **provenance}
    path = folder / MANIFEST
    if not path.exists() and _foreign(folder) and not path.exists():  # another process may just have begun it
        raise ValueError(f"{folder}: holds files that are no unfinished synthetic set; choose another --out")
    files.write_new(path, files.json_bytes(manifest | {"created": created()}))
    held = files.read_json(path)
    if not isinstance(held, dict) or "plan_sha256" not in held:
        raise ValueError(f"{path}: is no manifest of a synthetic set; choose another --out")
    saved, asked = audit.flat(held), audit.flat(manifest)
    differing = [
        key for key in sorted(saved.keys() | asked) if not may_change(key) and saved.get(key) != asked.get(key)
    ]
    if differing:
        raise ValueError(
            f"{folder}: was begun with another configuration ({', '.join(differing)} differ); "
            "give the same options again, another --out, or --force"
        )
    for place in (folder, folder.parent):  # a merge that was killed leaves its part beside the folder
        files.remove_parts(place)
    if _plan_sha256(folder / PLAN) != plan.sha256:
        _write_plan(folder / PLAN, plan, held)
    return held


def may_change(key: str) -> bool:
    """What a set may be continued under: other libraries, but not another torch, which may round otherwise."""
    return key == "created" or (key.startswith("versions.") and key != "versions.torch")


def is_part(shard: Mapping[str, Any], held: Mapping[str, Any], start: int) -> bool:
    """Whether a shard's attributes are those of a set (of its manifest or its plan), and it begins at a row of it."""
    mine, theirs = (
        {key: value for key, value in found.items() if key not in ("schema", "start", "complete")}
        for found in (shard, held)
    )
    return mine == theirs and shard.get("start") == start


def created() -> str:
    """Now, or the time that SOURCE_DATE_EPOCH names (reproducible-builds.org), for files that are equal byte by byte.

    Raises:
        ValueError: SOURCE_DATE_EPOCH is no number of seconds.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"SOURCE_DATE_EPOCH={epoch}: expected seconds since 1970; unset or correct it") from None
    return moment.isoformat(timespec="seconds")


def is_begun(folder: Path) -> bool:
    """Whether a folder holds the manifest of a synthetic set."""
    try:
        return "plan_sha256" in files.read_json(folder / MANIFEST)
    except (OSError, ValueError, TypeError):
        return False


def missing_shards(folder: Path, plan: Plan) -> list[int]:
    """Shards that are not there yet."""
    there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    return [shard for shard in range(shard_count(len(plan))) if _shard_name(shard) not in there]


def write_shard(folder: Path, shard: int, plan: Plan, images: Pixels, attributes: dict[str, Any]) -> Path:
    """Publish one shard.

    The file is built in memory (25 MB) and written by one plain write: on a full disk that fails cleanly, where a
    growing HDF5 file would take the process with it.

    Raises:
        FileNotFoundError: another process has finished the set and removed the folder.
    """
    rows = shard_rows(plan, shard)
    if len(images) != len(rows):
        raise AssertionError(f"shard {shard} has {len(rows)} rows, got {len(images)} images")
    if not (folder / MANIFEST).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / MANIFEST))
    return files.write_atomic(shard_path(folder, shard), _shard(plan, rows, attributes, images))


def remove_shards(folder: Path) -> None:
    """Remove what a finished set no longer needs; the manifest goes last, so that a kill in between is recognised.

    Of several processes each may do so; what one leaves that came late and began the folder anew goes as well.
    """
    with contextlib.suppress(FileNotFoundError):
        if is_begun(folder):
            for path in [*sorted(folder.glob("part-*.h5")), *(folder / name for name in (PLAN, RESERVE, LOCK))]:
                path.unlink(missing_ok=True)
            (folder / MANIFEST).unlink(missing_ok=True)
        files.remove_parts(folder)
        if not (folder / MANIFEST).exists() and not _foreign(folder):
            for name in (PLAN, RESERVE, LOCK):
                (folder / name).unlink(missing_ok=True)
            _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    """Remove a folder, unless another process has put something there meanwhile."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _foreign(folder: Path) -> bool:
    """Whether a folder without a manifest holds more than the plan of a set; hidden files do not count.

    Others may add and remove files of theirs meanwhile, of which a plan alone is there without the manifest.
    """
    names = {entry.name for entry in folder.glob("[!.]*")}
    if names - {MANIFEST, PLAN}:
        return True
    return PLAN in names and _plan_sha256(folder / PLAN) is None and (folder / PLAN).exists()


def _plan_sha256(path: Path) -> str | None:
    """Which plan a file says it holds; None where it is no file of ours."""
    try:
        with hdf5.File(path) as file:
            return str(file.attributes(("plan_sha256",))["plan_sha256"])
    except ValueError:
        return None


def _write_plan(path: Path, plan: Plan, attributes: dict[str, Any]) -> None:
    """Publish all rows without their images; there may be too many for the memory."""
    with files.appearing(path) as part, hdf5.written(part, tables.plan_bytes(len(plan), plan.files)) as file:
        _write_rows(file, plan, range(len(plan)), attributes)


def _shard(plan: Plan, rows: range, attributes: dict[str, Any], images: Pixels) -> bytes:
    data: list[bytes] = []
    with hdf5.built(data) as file:
        _write_rows(file, plan, rows, attributes)
        everything = slice(0, len(rows))
        height, width = images.shape[1:3]
        file.images((len(rows), height, width, 3), [(everything, images)])
        file.column(tables.CRC32, len(rows), tables.CHECKSUM, [(everything, tables.checksums(images))])
    return data[0]


def _write_rows(file: hdf5.Output, plan: Plan, rows: range, attributes: dict[str, Any]) -> None:
    file.attributes({**attributes, "start": rows.start, "complete": False})
    tables.write_columns(file, plan, rows)
