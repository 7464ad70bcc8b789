"""Features of images as a re-ID network sees them, in one HDF5 file, with the labels that they are evaluated with.

    query/features    f4 (n, d)             query/names     fixed-length UTF-8
    query/pids        i8 (n)                query/camids    i8 (n)

and the same for the gallery and, where there are any, synthetic images. The columns are checked and read as those of a
synthetic set are; `checksums` among the attributes are the CRC-32 of each, and of all other attributes.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from augment import files
from augment.store import hdf5, tables
from augment.version import __version__

CONTENT = hdf5.Content("file of features", "augment evaluate-reid --features", "write it again")
REQUIRED = ("tool", "metric", "checkpoint_sha256", "test_digest", "versions", "checksums")
PARTS, OPTIONAL = ("query", "gallery"), ("synthetic",)
FEATURES, LABELS, NAMES = "features", ("pids", "camids"), "names"
FEATURE_TYPE, LABEL = "<f4", ("<i8", ())


@dataclass(frozen=True)
class Features:
    """The images of one split: a row of numbers each, what they are called, who is on them and which camera saw them.

    A camera of -1 or -2 is an unknown one, of a gallery image or a query (see `augment.data.search`).
    """

    features: Float32[np.ndarray, "n d"]
    names: Sequence[str]
    pids: Int64[np.ndarray, " n"]
    camids: Int64[np.ndarray, " n"]


def write_features(path: Path, parts: Mapping[str, Features], provenance: Mapping[str, Any]) -> Path:
    """Publish query, gallery and perhaps synthetic images.

    `provenance` is metric, checkpoint, data and versions, and what else is known: texts and numbers.

    Raises:
        OSError: no space, before anything is written.
    """
    attributes = {"tool": f"reid-augment {__version__}", **provenance}
    columns = {f"{part}/{name}": column for part in parts for name, column in _columns(parts[part]).items()}
    size = sum(column.nbytes for column in columns.values())
    size += sum(tables.plan_bytes(0, held.names) for held in parts.values())
    files.remove_parts(path.parent)
    with files.appearing(path) as part, hdf5.written(part, size) as file:
        file.attributes(attributes | {"checksums": _checksums(parts)})
        for name, column in columns.items():
            kind = (column.dtype.str, column.shape[1:])
            file.column(name, len(column), kind, [(slice(0, len(column)), column)])
        for split, held in parts.items():
            file.texts(f"{split}/{NAMES}", held.names)
    return path


def read_features(path: Path) -> tuple[dict[str, Features], dict[str, Any]]:
    """What `write_features` wrote, and its provenance.

    Raises:
        ValueError: no such file, no file of features, or a damaged one.
    """
    with hdf5.File(path, CONTENT) as file:
        attributes = file.attributes(REQUIRED)
        found = {part: _part(file, part) for part in PARTS}
        found |= {part: _part(file, part) for part in OPTIONAL if file.names(part)}
    expected = attributes.pop("checksums")
    if isinstance(expected, dict):
        expected.pop("attributes", None)  # in older files; of all files `attributes` above checks them
    if expected != _checksums(found):
        raise ValueError(f"{path}: damaged (checksums differ); {CONTENT.remedy}")
    lengths = {held.features.shape[1] for held in found.values()}
    if len(lengths) > 1:
        raise ValueError(f"{path}: features of different lengths ({sorted(lengths)}); {CONTENT.remedy}")
    return found, {name: value for name, value in attributes.items() if name not in ("schema", "tool")}


def _part(file: hdf5.File, part: str) -> Features:
    rows = file.require_texts(f"{part}/{NAMES}")
    file.require_matrix(f"{part}/{FEATURES}", FEATURE_TYPE, rows)
    file.require({f"{part}/{name}": LABEL for name in LABELS}, rows)
    pids, camids = (file.column(f"{part}/{name}") for name in LABELS)
    return Features(file.column(f"{part}/{FEATURES}"), file.texts(f"{part}/{NAMES}"), pids, camids)


def _columns(held: Features) -> dict[str, np.ndarray]:
    columns = {FEATURES: held.features.astype(FEATURE_TYPE, order="C", copy=False)}
    return columns | {name: getattr(held, name).astype(LABEL[0], order="C", copy=False) for name in LABELS}


def _checksums(parts: Mapping[str, Features]) -> dict[str, int]:
    found = {}
    for part, held in parts.items():
        found |= {f"{part}/{name}": zlib.crc32(column.tobytes()) for name, column in _columns(held).items()}
        found[f"{part}/{NAMES}"] = zlib.crc32("\0".join(held.names).encode())
    return found
