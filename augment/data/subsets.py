"""Of a root that holds a share of another data set's training images: which one, and which share (subset.json)."""

from dataclasses import dataclass
from typing import Any

from augment import files
from augment.data import manifest
from augment.data.records import DataSet

RECORD = "subset.json"


@dataclass(frozen=True)
class Origin:
    """The data set that a subset was taken of. With the same seed a smaller portion is part of a larger one."""

    portion: float
    seed: int
    images: int  # of training, in the subset
    of_images: int
    data_digest: str  # of the whole training split
    title: str  # of the whole data set
    identities: int  # of training, each of which keeps at least one image

    def __str__(self) -> str:
        return f"{self.images:,} of {self.of_images:,} training images (portion {self.portion:g}, seed {self.seed})"


def origin(dataset: DataSet) -> Origin | None:
    """What a data set is a subset of; None where it says nothing of the kind.

    Raises:
        ValueError: the training images are no longer those that the subset was made with.
    """
    path = dataset.root / RECORD
    if dataset.title.startswith(manifest.TITLE) or not path.is_file():
        return None
    held = files.read_json(path)
    try:
        own, found = held["data_digest"], _origin(held)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path}: not what `augment subset` writes; make the subset anew") from None
    if own != dataset.digest:
        raise ValueError(
            f"{dataset.root}: its training images are no longer the {found.images:,} of the subset that {RECORD} "
            "describes, so withheld ones may be among them; make the subset anew"
        )
    return found


def _origin(held: Any) -> Origin:
    of = held["of"]
    return Origin(
        float(held["portion"]), int(held["seed"]), int(held["images"]), int(of["images"]), str(of["data_digest"]),
        str(of["title"]), int(of["identities"]),
    )  # fmt: skip
