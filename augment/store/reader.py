"""A synthetic set as a source of images, wherever it lies: one file, a folder of shards, or a selection of either."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from augment.plan import UNKNOWN
from augment.store import scores, selection
from augment.store.scores import Score
from augment.store.selection import Selection
from augment.store.stored import Stored


@final
class Reader:
    """A set's images with their labels, lazily; each process that gets one opens the files itself.

    Raises:
        ValueError: not a synthetic set of ours, an unfinished or damaged one, or a selection whose set has changed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: Int64[np.ndarray, " n"] | None = None  # of the set that a selection is of
        self._base, self.attributes = _opened(path)
        if "selection" in self.attributes:
            self.rows = selection.read_selection(path).rows
        self.size = self._base.size

    def __reduce__(self) -> tuple[type["Reader"], tuple[Path]]:
        return Reader, (self.path,)

    def __len__(self) -> int:
        return len(self._base) if self.rows is None else len(self.rows)

    @property
    def base(self) -> Path:
        """Where the pixels lie: `path`, or the set that it selects from."""
        return self._base.path

    @property
    def files(self) -> list[str]:
        """Names of the images that `source_index` and `target_index` refer to."""
        return self._base.files

    @cached_property
    def pid(self) -> Int64[np.ndarray, " n"]:
        """Identity of each source, as the data set numbers it."""
        return self._column("pid").astype(np.int64)

    @cached_property
    def camid(self) -> Int64[np.ndarray, " n"]:
        """Camera of each source."""
        return self._column("camid").astype(np.int64)

    @cached_property
    def source_index(self) -> np.ndarray:
        return self._column("source_index")

    @cached_property
    def target_index(self) -> np.ndarray:
        """The image whose pose was asked for; -1 where it is that of no known image."""
        return self._column("target_index")

    @cached_property
    def seed(self) -> np.ndarray:
        return self._column("seed")

    @cached_property
    def crc32(self) -> np.ndarray:
        return self._base.crc32 if self.rows is None else self._base.crc32[self.rows]

    @property
    def target_pose(self) -> Float32[np.ndarray, "n k 2"]:
        """All target poses, read anew each time (144 bytes an image): (row, column), NaN where missing."""
        return self.poses(np.arange(len(self)))

    def poses(self, rows: np.ndarray) -> Float32[np.ndarray, "n k 2"]:
        """Target poses of ascending rows."""
        return self._base.poses(rows if self.rows is None else self.rows[rows])

    @cached_property
    def content_sha256(self) -> str:
        """Identifies the images: plan, weights and checksums; of a selection, its rows as well."""
        content = self._base.content_sha256
        if self.rows is None:
            return content
        return hashlib.sha256(content.encode() + self.rows.astype("<i8").tobytes()).hexdigest()

    @cached_property
    def scores(self) -> dict[str, Score]:
        """The columns of the scores file beside the set, for these rows; none where there is no such file.

        Raises:
            ValueError: it is damaged, or of another set.
        """
        found = scores.read_scores(self.base, self._base.content_sha256, len(self._base))
        return {name: score if self.rows is None else score.of(self.rows) for name, score in found.items()}

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """One RGB image.

        Raises:
            ValueError: it cannot be read, or its checksum differs.
        """
        return self._base.image(int(index) if self.rows is None else int(self.rows[index]))

    def identity(self, index: int) -> int:
        """Identity of the source, as the data set numbers it."""
        return int(self.pid[index])

    def camera(self, index: int) -> int:
        """Camera of the source: its background and colours are the image's."""
        return int(self.camid[index])

    def source_name(self, index: int) -> str:
        return self.files[self.source_index[index]]

    def target_name(self, index: int) -> str:
        """The image whose pose was asked for, or "" where that is not known."""
        target = self.target_index[index]
        return "" if target == UNKNOWN else self.files[target]

    def damaged(self) -> list[int]:
        """Rows whose image cannot be read or does not have the stored checksum."""
        return [index for index in range(len(self)) if not self._readable(index)]

    def used_files(self) -> set[str]:
        """Names of the images that are a source or a target of any row."""
        used = np.union1d(self.source_index, self.target_index)
        return {self.files[index] for index in used if index != UNKNOWN}

    def _readable(self, index: int) -> bool:
        try:
            self.image(index)
        except ValueError:
            return False
        return True

    def _column(self, name: str) -> np.ndarray:
        return self._base.column(name) if self.rows is None else self._base.column(name)[self.rows]


def _opened(path: Path) -> tuple[Stored, dict[str, Any]]:
    """The set that holds the pixels, and the attributes of what lies at `path`."""
    if not selection.is_selection(path):
        base = Stored(path)
        return base, base.attributes
    chosen = selection.read_selection(path)
    base = _base_of(path, chosen)
    return base, base.attributes | {"selection": chosen.provenance}


def _base_of(path: Path, chosen: Selection) -> Stored:
    try:
        base = Stored(chosen.base)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: selects from another set, which cannot be read ({error})") from None
    if base.content_sha256 != chosen.content or chosen.rows[-1] >= len(base):
        raise ValueError(
            f"{path}: was made of another {chosen.base.name} than the one that is there now; filter the set again"
        )
    return base


def write_selection(out: Path, reader: Reader, rows: np.ndarray, provenance: dict[str, Any]) -> Path:
    """Publish ascending rows of `reader` as a selection of the set that holds the pixels.

    Raises:
        ValueError: no rows, or not ascending ones.
    """
    of_base = rows if reader.rows is None else reader.rows[rows]
    return selection.write_rows(out, reader.base, reader._base.content_sha256, of_base, provenance)


def write_scores(reader: Reader, added: dict[str, Score], *, force: bool = False) -> Path:
    """Publish columns beside a set, replacing those of the same names and keeping the others, also another process's.

    With `force`, scores of another set that lie there are replaced.

    Raises:
        ValueError: `reader` is a selection; the scores that are there are damaged, or of another set.
    """
    if reader.rows is not None:
        raise ValueError(f"{reader.path}: a selection; score the set that it is of ({reader.base})")
    kept = reader._base.content_sha256
    with scores.locked(reader.base):
        try:
            held = scores.read_scores(reader.base, kept, len(reader))
        except scores.StaleScoresError:
            if not force:
                raise
            held = {}
        made = scores.write(reader.base, kept, len(reader), held | added)
    reader.__dict__.pop("scores", None)
    return made
