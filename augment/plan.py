"""The plan of a synthetic set: who is shown in whose pose, row by row, before any pixel exists."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, UInt64

COLUMNS = {
    "pid": "<i4",
    "camid": "<i2",
    "source_index": "<i4",
    "target_index": "<i4",
    "target_pose": "<f4",
    "seed": "<u8",
}
BLOCK = 4096  # rows that are looked at together
UNKNOWN = -1  # the target index of a row whose pose is that of no image in `files`


@dataclass(frozen=True)
class Plan:
    """What to generate: row i takes the image `files[source_index[i]]` into the pose of `files[target_index[i]]`.

    `poses` holds the key points of `files`, (row, column), NaN where missing.
    """

    files: tuple[str, ...]
    poses: Float[np.ndarray, "m k 2"]
    pid: Int[np.ndarray, " n"]
    camid: Int[np.ndarray, " n"]
    source_index: Int[np.ndarray, " n"]
    target_index: Int[np.ndarray, " n"]
    seed: UInt64[np.ndarray, " n"]

    def __post_init__(self) -> None:
        for name in ("pid", "camid"):
            values, limits = getattr(self, name), np.iinfo(COLUMNS[name])
            wrong = values[(values < limits.min) | (values > limits.max)]
            if len(wrong):
                raise ValueError(f"{name} {wrong[0]}: a set holds numbers up to {limits.max}; number them from 0 on")

    def __len__(self) -> int:
        return len(self.pid)

    def target_pose(self, rows: slice = slice(None)) -> Float[np.ndarray, "n k 2"]:
        """Key points of the target poses of some rows; all NaN where the target is unknown."""
        target = self.target_index[rows]
        return np.where((target == UNKNOWN)[:, None, None], np.nan, self.poses[target])

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Some rows of a column of the set, in the type that is stored."""
        values = self.target_pose(rows) if name == "target_pose" else getattr(self, name)[rows]
        return np.asarray(values).astype(COLUMNS[name])

    @property
    def sha256(self) -> str:
        """Identifies the plan."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        return digest(self.files, lambda name: (self.column(name, rows) for rows in blocks(len(self))))


def digest(names: Sequence[str], column: Callable[[str], Iterable[np.ndarray]]) -> str:
    """SHA-256 over a plan's table of files and its columns, each given in blocks of rows."""
    hasher = hashlib.sha256("\n".join(names).encode())
    for name in COLUMNS:
        for block in column(name):
            hasher.update(np.ascontiguousarray(block).tobytes())
    return hasher.hexdigest()


def blocks(count: int, size: int = BLOCK) -> list[slice]:
    """Consecutive rows that tile `count`."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
