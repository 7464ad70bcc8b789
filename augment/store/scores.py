"""Columns that are added to a set later: a file of their own beside it, because the images are never written again."""

import contextlib
import fcntl
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from augment import files
from augment.store import hdf5
from augment.store.claims import NO_LOCKS

GROUP, KIND = "score", ("<f4", ())
NAME = re.compile(r"[a-z][a-z0-9_]*")
REQUIRED = ("content_sha256", "provenance", "checksums")


class StaleScoresError(ValueError):
    """What lies beside a set are scores of other images."""


@dataclass(frozen=True)
class Score:
    """A number for each image, NaN where there is none, and all that determines it."""

    values: Float[np.ndarray, " n"]
    provenance: dict[str, Any]

    def of(self, rows: Int[np.ndarray, " m"]) -> "Score":
        """The score of some rows."""
        return Score(self.values[rows], self.provenance)


def scores_path(path: Path) -> Path:
    """Where the scores of a set lie: X.scores.h5 beside the file X.h5, X.shards-scores.h5 beside the folder X.

    So no two sets share a name, such as the folder X and the file X.h5, or the shards X.shards that a file is made of.
    """
    if path.is_dir():
        return path.with_name(f"{path.name}.shards-scores.h5")
    return path.with_name(path.name.removesuffix(".h5") + ".scores.h5")


def read_scores(base: Path, content: str, rows: int) -> dict[str, Score]:
    """The scores beside the set `base`, none where there is no such file.

    Raises:
        StaleScoresError: of another set.
        ValueError: damaged.
    """
    path = scores_path(base)
    if not path.exists():
        return {}
    with hdf5.File(path) as file:
        attributes = file.attributes(REQUIRED)
        if attributes["content_sha256"] != content:
            raise StaleScoresError(
                f"{path}: scores of another set than the {base.name} that is there; `augment score --force` "
                "replaces them"
            )
        names = file.names(GROUP)
        provenance, checksums = attributes["provenance"], attributes["checksums"]
        if not isinstance(provenance, dict) or not all(isinstance(provenance.get(name), dict) for name in names):
            raise ValueError(f"{path}: damaged provenance; remove the file and score again")
        file.require({f"{GROUP}/{name}": KIND for name in names}, rows)
        columns = {name: file.column(f"{GROUP}/{name}") for name in names}
    if checksums != _checksums(columns):
        raise ValueError(f"{path}: damaged (checksums differ); remove the file and score again")
    return {name: Score(column, provenance[name]) for name, column in columns.items()}


@contextlib.contextmanager
def locked(base: Path) -> Iterator[None]:
    """Let no other process change the scores of a set meanwhile; one that asks waits.

    A POSIX record lock on a file beside the scores: the system frees it when its holder dies, however it dies. Where
    the file system has no locks, the last of several writers wins. The lock file goes with its last holder: who locked
    one that has been removed meanwhile has locked nothing, and tries again.
    """
    scores = scores_path(base)
    path = scores.with_name(f".{scores.name}.lock")
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with contextlib.ExitStack() as held:
                if _lock(descriptor) and not _is_at(descriptor, path):
                    continue
                held.callback(path.unlink, missing_ok=True)
                yield
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Whether the file system has locks; this process holds one on the file then."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def write(base: Path, content: str, rows: int, columns: dict[str, Score]) -> Path:
    """Publish these columns as the scores of the set `base`."""
    data: list[bytes] = []
    with hdf5.built(data) as file:
        file.attributes(
            {
                "content_sha256": content,
                "provenance": {name: score.provenance for name, score in columns.items()},
                "checksums": _checksums({name: score.values for name, score in columns.items()}),
            }
        )
        for name, score in sorted(columns.items()):
            assert NAME.fullmatch(name), name
            assert score.values.shape == (rows,), f"{name}: {score.values.shape}"
            file.column(f"{GROUP}/{name}", rows, KIND, [(slice(0, rows), score.values)])
    return files.write_atomic(scores_path(base), data[0])


def _checksums(columns: dict[str, np.ndarray]) -> dict[str, int]:
    return {name: zlib.crc32(values.astype(KIND[0]).tobytes()) for name, values in columns.items()}


def remove_stale(base: Path, content: str) -> None:
    """Remove the scores beside a set that has just been written, unless they are of these very images."""
    path = scores_path(base)
    if not path.exists():
        return
    try:
        with hdf5.File(path) as file:
            stale = file.attributes(REQUIRED)["content_sha256"] != content
    except ValueError:  # not known to be ours
        return
    if stale:
        path.unlink(missing_ok=True)
