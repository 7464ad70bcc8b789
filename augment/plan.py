"""The plan of a synthetic set: who is shown in whose pose, row by row, before any pixel exists."""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

COLUMNS = {
    "pid": "<i4",
    "camid": "<i2",
    "source_index": "<i4",
    "target_index": "<i4",
    "target_pose": "<f4",
    "seed": "<u8",
}


@dataclass(frozen=True)
class Plan:
    """What to generate: row i takes the image `files[source_index[i]]` into the pose of `files[target_index[i]]`."""

    files: tuple[str, ...]
    pid: Int[np.ndarray, " n"]
    camid: Int[np.ndarray, " n"]
    source_index: Int[np.ndarray, " n"]
    target_index: Int[np.ndarray, " n"]
    target_pose: Float[np.ndarray, "n k 2"]
    seed: np.ndarray

    def __len__(self) -> int:
        return len(self.pid)

    def column(self, name: str) -> np.ndarray:
        return np.asarray(getattr(self, name)).astype(COLUMNS[name])

    @property
    def sha256(self) -> str:
        """Identifies the plan."""
        hasher = hashlib.sha256("\n".join(self.files).encode())
        for name in COLUMNS:
            hasher.update(np.ascontiguousarray(self.column(name)).tobytes())
        return hasher.hexdigest()
