"""Rows of a set that were chosen for a reason: a file of row numbers, which copies no pixels."""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int, Int64

from augment import files
from augment.store import hdf5
from augment.version import __version__

ROWS, ROWS_KIND = "rows", ("<i8", ())
REQUIRED = ("selection", "base", "base_content", "rows_crc32")


@dataclass(frozen=True)
class Selection:
    """Which rows of which set, and why. `base` is where the set lies; `content` identifies its images."""

    base: Path
    content: str
    rows: Int64[np.ndarray, " n"]
    provenance: dict[str, Any]


def is_selection(path: Path) -> bool:
    """Whether a path is a file that holds a selection."""
    if not path.is_file():
        return False
    try:
        with hdf5.File(path) as file:
            return file.has_attribute("base_content")
    except ValueError:
        return False


def read_selection(path: Path) -> Selection:
    """The selection in a file; that its set exists is not checked here.

    Raises:
        ValueError: none, or a damaged one.
    """
    with hdf5.File(path) as file:
        attributes = file.attributes(REQUIRED)
        file.require({ROWS: ROWS_KIND})
        rows = file.column(ROWS)
    base = attributes["base"]
    if not isinstance(base, str) or "\0" in base or not base or PurePosixPath(base).is_absolute():
        raise ValueError(f"{path}: names its set as {base!r}, which is no relative path; filter the set again")
    if not isinstance(attributes["selection"], dict):
        raise ValueError(f"{path}: damaged provenance; filter the set again")
    if zlib.crc32(rows.tobytes()) != attributes["rows_crc32"]:
        raise ValueError(f"{path}: damaged (the checksum of its rows differs); filter the set again")
    if not len(rows) or rows[0] < 0 or (np.diff(rows) <= 0).any():
        raise ValueError(f"{path}: its rows are none, or not ascending; filter the set again")
    return Selection(path.parent / base, str(attributes["base_content"]), rows, attributes["selection"])


def write_rows(out: Path, base: Path, content: str, rows: Int[np.ndarray, " n"], provenance: dict[str, Any]) -> Path:
    """Publish a selection of the set at `base`; the two may be moved together.

    Raises:
        ValueError: no rows, or not ascending ones.
    """
    if not len(rows) or (np.diff(rows) <= 0).any():
        raise ValueError(f"{out}: a selection needs rows, in ascending order")
    numbers = np.asarray(rows, ROWS_KIND[0])
    relative = os.path.relpath(base.resolve(), out.parent.resolve())
    data: list[bytes] = []
    with hdf5.built(data) as file:
        file.attributes(
            {
                "tool": f"reid-augment {__version__}",
                "base": PurePosixPath(relative).as_posix(),
                "base_content": content,
                "rows_crc32": zlib.crc32(numbers.tobytes()),
                "selection": provenance,
            }
        )
        everything = slice(0, len(rows))
        file.column(ROWS, len(rows), ROWS_KIND, [(everything, numbers)])
    return files.write_atomic(out, data[0])
