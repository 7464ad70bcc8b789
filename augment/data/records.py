"""An image of a person and the splits that a data set is made of."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

JUNK = -1
DISTRACTOR = 0
NO_CAMERA = 0  # of images that no camera network took


@dataclass(frozen=True, slots=True)
class Record:
    """One image: where it lies, who it shows, which camera saw it (raw values of the data set, never relabelled)."""

    path: Path
    pid: int
    camid: int

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class DataSet:
    """Training images, queries and gallery; junk (pid -1) is left out, distractors (pid 0) are in the gallery."""

    root: Path
    train: tuple[Record, ...]
    query: tuple[Record, ...]
    gallery: tuple[Record, ...]
    annotations: tuple[Path, ...] = ()
    pairs: Path | None = None  # a list of training pairs that lies in the root
    test_pairs: Path | None = None

    @property
    def has_cameras(self) -> bool:
        """Whether cameras took the images. Re-ID searches across cameras, so others train generators only."""
        return any(record.camid != NO_CAMERA for record in (*self.train, *self.query, *self.gallery))

    @property
    def digest(self) -> str:
        """Identifies the training split."""
        return digest(self.train)


def digest(records: Sequence[Record]) -> str:
    """SHA-256 over the sorted file names, identities, cameras and file sizes."""
    lines = sorted(f"{record.name} {record.pid} {record.camid} {record.path.stat().st_size}" for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
