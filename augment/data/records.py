"""An image of a person and the splits that a data set is made of."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

JUNK = -1
DISTRACTOR = 0
UNKNOWN_CAMERA = -1
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
    title: str = ""  # the data set whose layout this is
    has_cameras: bool = True  # False: of no image is it known which camera took it
    train_notes: tuple[str, ...] = ()  # what whoever reads a result must know of the training images
    test_notes: tuple[str, ...] = ()  # and of query and gallery
    test_root: Path | None = None  # where query and gallery come from, if not from `root`
    test_shift: int = 0  # what was added to the identities of query and gallery, to tell them from the training ones

    @property
    def notes(self) -> tuple[str, ...]:
        """What every command that reads the data says of it, a sentence each."""
        return (*self.train_notes, *self.test_notes)

    @property
    def digest(self) -> str:
        """Identifies the training split."""
        return digest(self.train)

    @property
    def test_digest(self) -> str:
        """Identifies query and gallery, whatever training images they are read with."""
        test = (*self.query, *self.gallery)
        return digest([r if r.pid == DISTRACTOR else replace(r, pid=r.pid - self.test_shift) for r in test])


def digest(records: Sequence[Record]) -> str:
    """SHA-256 over the sorted file names, identities, cameras and file sizes."""
    lines = sorted(f"{record.name} {record.pid} {record.camid} {record.path.stat().st_size}" for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
