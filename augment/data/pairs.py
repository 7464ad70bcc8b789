"""Training pairs: two images of one identity, in either order, numbered but never listed (PATN's 263,632 are free)."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from augment.data.records import Record


class Pairs:
    """All ordered pairs of different images that share an identity, as a sequence of (source, target) indices.

    With `within` (cameras, say) a pair shares that value too. Distractors and junk (pid <= 0) are no identities and
    pair with nothing.
    """

    def __init__(self, pids: Sequence[int], within: Sequence[int] | None = None) -> None:
        values = np.stack(
            [np.asarray(pids), np.zeros(len(pids), int) if within is None else np.asarray(within)], axis=1
        )
        self._order = np.lexsort(values.T[::-1])
        ordered = values[self._order]
        _, starts, sizes = np.unique(ordered, axis=0, return_index=True, return_counts=True)
        kept = ordered[starts, 0] > 0
        self._starts, self._sizes = starts[kept], sizes[kept]
        self._ends = np.cumsum(self._sizes * (self._sizes - 1))

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._ends.size else 0

    def __getitem__(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        source, target = self._locate(np.asarray([index]))[0]
        return int(source), int(target)

    def draw(self, seed: int, step: int, count: int) -> Int[np.ndarray, "count 2"]:
        """`count` pairs with replacement: a pure function of (seed, step), so that a resumed run sees the same ones.

        Raises:
            ValueError: there is no pair.
        """
        if not len(self):
            raise ValueError("no identity has two usable images, so there is no training pair; check the key points")
        return self._locate(np.random.default_rng([seed, step]).integers(len(self), size=count))

    def _locate(self, indices: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n 2"]:
        group = np.searchsorted(self._ends, indices, side="right")
        size = self._sizes[group]
        within = indices - (self._ends[group] - size * (size - 1))
        first, second = within // (size - 1), within % (size - 1)
        second = second + (second >= first)  # skip the image itself
        return np.stack([self._order[self._starts[group] + first], self._order[self._starts[group] + second]], axis=1)


class ListedPairs:
    """Pairs that a file lists (PATN's `market-pairs-train.csv`), drawn like `Pairs`.

    Raises:
        ValueError: see `read_pairs`.
    """

    def __init__(self, path: Path, records: Sequence[Record], without: Sequence[Record] = ()) -> None:
        self._path = path
        self._pairs = read_pairs(path, records, without)

    def __len__(self) -> int:
        return len(self._pairs)

    def draw(self, seed: int, step: int, count: int) -> Int[np.ndarray, "count 2"]:
        """`count` pairs with replacement: a pure function of (seed, step).

        Raises:
            ValueError: the list is empty.
        """
        if not len(self):
            raise ValueError(f"{self._path}: lists no pair, so there is nothing to draw")
        return self._pairs[np.random.default_rng([seed, step]).integers(len(self), size=count)]


def read_pairs(path: Path, records: Sequence[Record], without: Sequence[Record] = ()) -> Int[np.ndarray, "n 2"]:
    """A pair list in PATN's format (`from,to`) as indices into `records`, without the pairs of an image of `without`.

    Raises:
        ValueError: another header, or a line that does not name two of the records.
    """
    index = {record.name: -1 for record in without} | {record.name: number for number, record in enumerate(records)}
    pairs = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if not {"from", "to"} <= set(header):
                raise ValueError(f"{path}: no columns 'from' and 'to'; give PATN's pair list")
            source, target = header.index("from"), header.index("to")
            for row in filter(None, reader):  # 263,632 lines: the path without an error is kept short
                try:
                    pairs.append((index[row[source]], index[row[target]]))
                except (IndexError, KeyError) as error:
                    raise ValueError(f"{path}, line {reader.line_num}: {_complaint(error, row)}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a UTF-8 text file ({error}); give PATN's pair list") from None
    listed = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    return listed[(listed >= 0).all(axis=1)]


def _complaint(error: Exception, row: list[str]) -> str:
    if isinstance(error, IndexError):
        return f"{','.join(row)[:60]!r} names no pair; write two image names"
    return (
        f"{error.args[0]} is no image of this split with annotated shoulders and hips; take the pair out of the list "
        "or annotate the image"
    )
