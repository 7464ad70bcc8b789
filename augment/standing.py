"""What stands at the --out of a set that is to be made: nothing, a part of it, or all of it; anything else is refused.

Nothing is written here, so that a dry run refuses what the run would.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment import audit, files, store
from augment.plan import Plan
from augment.store import claims

FILE_SUFFIXES = (".h5", ".hdf5", ".h5py", ".hdf", ".txt", ".png", ".jpg", ".csv", ".json", ".zip", ".tar")
OTHER_OUT = "choose another --out"
REPLACE = f"{OTHER_OUT}, or --force to replace it"


@dataclass(frozen=True)
class Standing:
    """How many of a plan's images are there, in whole shards or in one file, and whether nothing is left to do."""

    images: int = 0
    done: bool = False


def require_name(out: Path) -> None:
    """Refuse a place that no set can take.

    Raises:
        ValueError: a file's name that does not end in .h5; a folder that does; or a file where a folder must be.
    """
    if out.suffix != ".h5" and out.suffix.lower() in FILE_SUFFIXES:
        raise ValueError(
            f"--out {out}: ends in {out.suffix}; expected a file name that ends in .h5, or a folder's name, for shards"
        )
    if out.suffix == ".h5" and out.is_dir():
        raise ValueError(f"--out {out}: is a folder; choose a name without .h5 for shards, or remove it")
    if out.suffix != ".h5" and out.is_file():
        raise ValueError(f"--out {out}: is a file; choose a name that ends in .h5, or another one for a folder")
    place = _place(out.absolute().parent)
    if not place.is_dir():
        raise ValueError(f"--out {out}: {place} is a file, not a folder; {OTHER_OUT}")


def room(out: Path) -> int:
    """Bytes of the disk that a set may take: what is free, and what already stands in its place."""
    folder = store.shard_folder(out)
    held = [out] if out.is_file() else []
    held += [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return shutil.disk_usage(_place(out)).free + sum(path.stat().st_size for path in held)


def look(out: Path, plan: Plan, provenance: dict[str, Any]) -> Standing:
    """What is there of the set of this plan and provenance.

    Raises:
        ValueError: something else is there (naming the keys that differ), or nothing can be written there.
    """
    folder = store.shard_folder(out)
    if out.is_file():
        _require_set(out, plan, provenance)
        return Standing(len(plan), done=True)
    _require_ours(folder)
    place = _place(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"--out {out}: may not write in {place}; {OTHER_OUT}")
    if not _begun_as(folder, plan, provenance):
        return Standing()
    missing = store.missing_shards(folder, plan)
    images = len(plan) - sum(len(store.shard_rows(plan, shard)) for shard in missing)
    return Standing(images, done=not missing and folder == out)


def require_replaceable(out: Path) -> None:
    """Refuse what --force would not, or not wholly, remove.

    Raises:
        ValueError: a file that is no set, a folder that holds other files, or one that another process works in.
    """
    folder = store.shard_folder(out)
    if out.is_file() and not store.is_set(out):
        raise ValueError(
            f"{out}: not recognised as a synthetic set, so --force leaves it; remove it or choose another --out"
        )
    _require_ours(folder)
    others = _names(folder) - {store.MANIFEST, store.PLAN}
    others = {name for name in others if not (name.startswith("part-") and name.endswith(".h5"))}
    if others:
        raise ValueError(f"{folder}: holds other files too (for example {min(others)}); move them, or {OTHER_OUT}")
    if claims.is_claimed(folder):
        raise ValueError(f"{out}: another process is making it now; stop that one first, or {OTHER_OUT}")


def _require_set(out: Path, plan: Plan, provenance: dict[str, Any]) -> None:
    reader = store.Reader(out)
    if reader.rows is not None:
        raise ValueError(f"{out}: is a selection of {reader.base}; {REPLACE}")
    found = reader.attributes
    expected = {"config": dict.fromkeys(found["config"]) | provenance["config"], "plan_sha256": plan.sha256}
    expected |= {key: provenance[key] for key in ("generator", "data_digest", "points_digest")}
    audit.require_same(str(out), found, expected, REPLACE)
    if not found.get("complete") or len(reader) != len(plan):
        raise ValueError(
            f"{out}: holds {len(reader)} of the set's {len(plan)} images, so it is a part of it; {REPLACE}"
        )


def _require_ours(folder: Path) -> None:
    """Refuse a folder of other things. A killed process may have left a plan alone."""
    names = _names(folder)
    if store.MANIFEST not in names and names - {store.PLAN} and not (folder / store.MANIFEST).exists():
        raise ValueError(f"{folder}: holds files that are no unfinished synthetic set; {OTHER_OUT}")
    if store.MANIFEST in names and not store.is_begun(folder) and (folder / store.MANIFEST).exists():
        raise ValueError(f"{folder / store.MANIFEST}: is no manifest of a synthetic set; {OTHER_OUT}")


def _begun_as(folder: Path, plan: Plan, provenance: dict[str, Any]) -> bool:
    """Whether the set has been begun in a folder; another process may be about to remove it.

    Raises:
        ValueError: it was begun as another one.
    """
    try:
        saved = audit.flat(files.read_json(folder / store.MANIFEST))
    except FileNotFoundError:
        return False
    asked = audit.flat({"rows": len(plan), "plan_sha256": plan.sha256, **provenance})
    expected = {key: asked.get(key) for key in sorted(saved.keys() | asked) if not store.may_change(key)}
    remedy = f"give the same options again, {REPLACE.removeprefix('choose ')}"
    audit.require_same(str(folder), saved, expected, remedy, problem="was begun with another configuration")
    return True


def _names(folder: Path) -> set[str]:
    """What a folder shows; hidden files do not count."""
    return {path.name for path in folder.glob("[!.]*")} if folder.is_dir() else set()


def _place(path: Path) -> Path:
    """The path itself, or the nearest one above it that is there."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())
