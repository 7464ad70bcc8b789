"""Query and gallery as a network sees them, perhaps with synthetic images beside them, and files of all that."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from torch import nn

from augment import files
from augment.data import search
from augment.data.records import DISTRACTOR, DataSet
from augment.reid_training import listed_source
from augment.store import Features, Reader, write_features
from reid.centralisation import centralised
from reid.features import extract_features
from reid.metrics import Evaluation, Gallery, distance_blocks, each_row, evaluate_blocks
from reid.rerank import rerank_blocks
from reid.sources import FileSource, cameras, identities

PLAIN, NFC, RERANKED, BOTH = "as they are", "centralised", "re-ranked", "centralised, re-ranked"
SUFFIXES = (".npz", ".h5")


@dataclass(frozen=True)
class Searched:
    """Features and labels; `synthetic` are those of each set, which no evaluation ever looks at."""

    query: Features
    gallery: Features
    synthetic: tuple[Features, ...] = ()

    def distances(self, column: str, metric: str) -> Iterable[np.ndarray]:
        """Rows of distances to the gallery, in blocks of queries, as one way of ranking has them."""
        query, gallery = self.query.features, self.gallery.features
        if column in (NFC, BOTH):
            query, gallery = centralised(query), centralised(gallery)
        ranked = rerank_blocks if column in (RERANKED, BOTH) else distance_blocks
        return ranked(query, gallery, metric)

    def evaluate(self, column: str, metric: str) -> Evaluation:
        return evaluate_blocks(self.distances(column, metric), *self.labels)

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Identities of query and gallery, then cameras, as evaluations take them."""
        return self.query.pids, self.gallery.pids, self.query.camids, self.gallery.camids

    def first(self, queries: Int64[np.ndarray, " m"], metric: str, count: int) -> list[Int64[np.ndarray, " n"]]:
        """The `count` nearest images of each query: numbers below the gallery's are its, the others synthetic ones.

        From the gallery the protocol leaves out what it always does; synthetic images are nobody's, so all stay.
        """
        nobody = np.full(sum(len(held.pids) for held in self.synthetic), DISTRACTOR)
        pids = np.concatenate([self.gallery.pids, nobody])
        gallery = Gallery.of(pids, np.concatenate([self.gallery.camids, nobody]))
        features = np.concatenate([self.gallery.features, *(held.features for held in self.synthetic)])
        blocks = distance_blocks(self.query.features[queries], features, metric)
        return [
            gallery.ranking(row, int(self.query.pids[queries[q]]), int(self.query.camids[queries[q]]), count)
            for q, row in each_row(blocks, self.query.pids[queries], pids)
        ]


def search_by(
    model: nn.Module, dataset: DataSet, sets: Sequence[Reader], size: tuple[int, int], device: str, workers: int = 0
) -> Searched:
    """Extract the features of query and gallery, in the order of the data set, and of synthetic sets.

    `workers` are processes that load images; the features do not depend on them.
    """
    splits = (dataset.query, dataset.gallery)
    query, gallery = (
        Features(
            _features(model, listed_source(split), size, device, workers),
            [record.name for record in split],
            np.fromiter((record.pid for record in split), np.int64, len(split)),
            camids,
        )
        for split, camids in zip(splits, search.cameras(*splits), strict=True)
    )
    synthetic = tuple(
        Features(
            _features(model, held, size, device, workers),
            [f"{name}/{row}" for row in range(len(held))],
            identities(held),
            cameras(held),
        )
        for name, held in zip(set_names(sets), sets, strict=True)
    )
    return Searched(query, gallery, synthetic)


def set_names(sets: Sequence[Reader]) -> list[str]:
    """The names of their files, with as many of the folders above as tell all of them apart."""
    parts = [held.path.absolute().parts for held in sets]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    assert not sets, "one file given twice"
    return []


def require_writable(path: Path) -> None:
    """
    Raises:
        ValueError: a name that does not say which form the features are to have.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--features {path}: ends with {path.suffix!r}; name it .h5 (HDF5) or .npz (NumPy)")


def write(path: Path, searched: Searched, provenance: Mapping[str, Any]) -> Path:
    """Publish the features of all images; the suffix decides the form. Only HDF5 holds the provenance, without Nones.

    Raises:
        ValueError: a name that does not say which form.
        OSError: no space.
    """
    require_writable(path)
    parts = {"query": searched.query, "gallery": searched.gallery}
    if searched.synthetic:
        parts["synthetic"] = _joined(searched.synthetic)
    if path.suffix.lower() == ".h5":
        known = {key: value for key, value in provenance.items() if value is not None}
        return write_features(path, parts, known)
    arrays: dict[str, np.ndarray] = {}
    for part, held in parts.items():
        labels = {f"{part}_pids": held.pids, f"{part}_camids": held.camids, f"{part}_names": np.asarray(held.names)}
        arrays |= {part: held.features, **labels}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return files.write_atomic(path, buffer.getvalue())


def _features(
    model: nn.Module, source: FileSource | Reader, size: tuple[int, int], device: str, workers: int
) -> Float32[np.ndarray, "n d"]:
    height, width = size
    return extract_features(model, source, height=height, width=width, device=device, workers=workers)


def _joined(sets: Sequence[Features]) -> Features:
    names = [name for held in sets for name in held.names]
    features, pids, camids = (
        np.concatenate([getattr(held, what) for held in sets]) for what in ("features", "pids", "camids")
    )
    return Features(features, names, pids, camids)
