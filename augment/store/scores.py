"""Columns that are added to a set later: a file of their own beside it, because the images are never written again."""

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from augment import files
from augment.store import hdf5

GROUP, KIND = "score", ("<f4", ())
NAME = re.compile(r"[a-z][a-z0-9_]*")
REQUIRED = ("content_sha256", "provenance", "checksums")


@dataclass(frozen=True)
class Score:
    """A number for each image, NaN where there is none, and all that determines it."""

    values: Float[np.ndarray, " n"]
    provenance: dict[str, Any]

    def of(self, rows: Int[np.ndarray, " m"]) -> "Score":
        """The score of some rows."""
        return Score(self.values[rows], self.provenance)


def scores_path(path: Path) -> Path:
    """Where the scores of a set lie: X.scores.h5 for X.h5."""
    return path.with_name(path.name.removesuffix(".h5") + ".scores.h5")


def read_scores(base: Path, content: str, rows: int) -> dict[str, Score]:
    """The scores beside the set `base`, none where there is no such file.

    Raises:
        ValueError: damaged, or of another set.
    """
    path = scores_path(base)
    if not path.exists():
        return {}
    with hdf5.File(path) as file:
        attributes = file.attributes(REQUIRED)
        if attributes["content_sha256"] != content:
            raise ValueError(
                f"{path}: scores of another set than the {base.name} that is there; remove the file and score again"
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
