"""Distances between features, and what they are worth: mAP, CMC and mINP in the protocol of Market-1501.

The protocol (Zheng et al. 2015): a query's gallery loses the images of the same identity from the same camera; junk
(identity -1) is not in the gallery, distractors (identity 0) are; the average precision of a query is the mean of the
precision at each hit. The numbers are torchreid's (`torchreid.metrics.evaluate_rank`), which the tests hold.

Distances need not be there all at once: `evaluate_blocks` takes the rows of the matrix a few queries at a time, and
`evaluate_features` computes them so.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, Integer, Shaped

METRICS = ("euclidean", "cosine")
JUNK = -1

# Bytes of a block of distances, and of the part of the gallery in float64 that it is computed with at a time.
BLOCK_BYTES = 64 * 2**20
PART_BYTES = 16 * 2**20

NONE = np.empty(0, np.int64)
LEAST_LENGTH = 1e-12  # of a vector that cosines divide by; a vector of zeros is at distance 1 from all


@dataclass(frozen=True)
class Evaluation:
    """Fractions in [0, 1]. A query without any match in its gallery counts nowhere and is NaN per query."""

    mAP: float  # mean over the queries of the average precision
    cmc: Float64[np.ndarray, " r"]  # share of the queries whose first hit is at rank 1, at rank 2 or before, ...
    mINP: float  # mean over the queries of hits / rank of the last hit (Ye et al. 2021)
    ap: Float64[np.ndarray, " q"]  # per query
    rank1: Float64[np.ndarray, " q"]  # per query: 1 where the nearest image is a hit, else 0

    @property
    def num_valid(self) -> int:
        """Queries that have a match."""
        return int(np.isfinite(self.ap).sum())


@dataclass(frozen=True)
class Gallery:
    """Who is on the images that are searched, and where the images of each identity are among them.

    Of equal distances the image that comes first in the gallery ranks first (torchreid leaves that to chance).
    """

    pids: Integer[np.ndarray, " g"]
    camids: Integer[np.ndarray, " g"]
    members: dict[int, Shaped[np.ndarray, " _"]]  # by identity, ascending
    junk: Integer[np.ndarray, " j"]

    @classmethod
    def of(cls, pids: Integer[np.ndarray, " g"], camids: Integer[np.ndarray, " g"]) -> "Gallery":
        order = np.argsort(pids, kind="stable")
        found, starts = np.unique(pids[order], return_index=True)
        members = dict(zip(found.tolist(), np.split(order, starts[1:]), strict=True))
        return cls(pids, camids, members, np.flatnonzero(pids == JUNK))

    def places(self, row: Float[np.ndarray, " g"], pid: int, camid: int) -> Int64[np.ndarray, " h"]:
        """Places (from 0, ascending) of a query's hits in its ranking, from its distances; none without a match."""
        same = self._same(pid)
        own_camera = self.camids[same] == camid
        hits = same[~own_camera]
        if not len(hits):
            return hits
        return _places(row, hits, np.concatenate([same[own_camera], self.junk]))

    def ranking(self, row: Float[np.ndarray, " g"], pid: int, camid: int, count: int) -> Int64[np.ndarray, " n"]:
        """The `count` images that come first for a query, nearest first; fewer where fewer are searched."""
        searched = self.pids != JUNK
        same = self._same(pid)
        searched[same[self.camids[same] == camid]] = False
        images = np.flatnonzero(searched)
        if 0 < count < len(images):  # sorting all of them takes several times longer
            images = images[row[images] <= np.partition(row[images], count - 1)[count - 1]]
        return images[np.argsort(row[images], kind="stable")][:count]

    def _same(self, pid: int) -> Int64[np.ndarray, " s"]:
        """The images of an identity; junk is none."""
        return self.members.get(pid, NONE) if pid != JUNK else NONE


def distance_matrix(
    query: Float[np.ndarray, "q d"], gallery: Float[np.ndarray, "g e"], metric: str = "euclidean"
) -> Float32[np.ndarray, "q g"]:
    """Squared Euclidean or cosine distances, as torchreid has them; computed in float64 by blocks of queries.

    Raises:
        ValueError: a metric of another name, or features of different lengths.
    """
    return matrix_of(distance_blocks(query, gallery, metric), len(query), len(gallery))


def matrix_of(
    blocks: Iterable[Float32[np.ndarray, "b g"]], num_query: int, num_gallery: int
) -> Float32[np.ndarray, "q g"]:
    """The rows of all blocks in one array, of which there is never a second copy."""
    distances = np.empty((num_query, num_gallery), np.float32)
    start = 0
    for rows in blocks:
        distances[start : start + len(rows)] = rows
        start += len(rows)
    return distances


def distance_blocks(
    query: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "g e"],
    metric: str = "euclidean",
    block: int | None = None,
) -> Iterator[Float32[np.ndarray, "b g"]]:
    """The rows of `distance_matrix`, `block` queries at a time; by default as many as take BLOCK_BYTES.

    Raises:
        ValueError: as `distance_matrix`, or a block without queries.
    """
    require_metric(metric)
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"features of {query.shape[1]} numbers a query and {gallery.shape[1]} a gallery image cannot be compared: "
            "extract both with the same network"
        )
    if block is not None and block < 1:
        raise ValueError(f"block {block}: a block needs at least one query")
    return _blocks(query, gallery, metric, block or max(1, BLOCK_BYTES // (4 * max(1, len(gallery)))))


def pair_distances(
    features: Float[np.ndarray, "n d"],
    squares: Float64[np.ndarray, " n"],
    first: Integer[np.ndarray, " p"],
    second: Integer[np.ndarray, " p"],
    metric: str = "euclidean",
) -> Float32[np.ndarray, " p"]:
    """Entries (first, second) of the distance matrix of `features` with themselves; `squares` are their lengths'."""
    pairs = max(1, PART_BYTES // (8 * max(1, features.shape[1])))
    distances = np.empty(len(first), np.float32)
    for start in range(0, len(first), pairs):
        here, there = first[start : start + pairs], second[start : start + pairs]
        products = np.einsum("pd,pd->p", features[here], features[there], dtype=np.float64)
        distances[start : start + pairs] = _distances(products, squares[here], squares[there], metric)
    return distances


def squared_lengths(features: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """Inner product of each vector with itself."""
    return np.einsum("nd,nd->n", features, features, dtype=np.float64)


def require_metric(metric: str) -> None:
    """
    Raises:
        ValueError: a metric of another name.
    """
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r}: must be euclidean or cosine")


def evaluate(
    distances: Float[np.ndarray, "q g"],
    query_pids: Integer[np.ndarray, " q"],
    gallery_pids: Integer[np.ndarray, " g"],
    query_camids: Integer[np.ndarray, " q"],
    gallery_camids: Integer[np.ndarray, " g"],
    max_rank: int = 50,
) -> Evaluation:
    """Rank the gallery of every query, as `Gallery` does, and score the ranking.

    The CMC has `max_rank` entries even for a smaller gallery: beyond its last image nothing changes any more.

    Raises:
        ValueError: a distance is not finite, no query has a match, or the shapes do not fit.
    """
    return evaluate_blocks([distances], query_pids, gallery_pids, query_camids, gallery_camids, max_rank)


def evaluate_features(
    query: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "g e"],
    query_pids: Integer[np.ndarray, " q"],
    gallery_pids: Integer[np.ndarray, " g"],
    query_camids: Integer[np.ndarray, " q"],
    gallery_camids: Integer[np.ndarray, " g"],
    metric: str = "euclidean",
    block: int | None = None,
    max_rank: int = 50,
) -> Evaluation:
    """`evaluate` of `distance_matrix`, with one block of the matrix in memory at a time.

    Raises:
        ValueError: as `distance_blocks` and `evaluate`.
    """
    blocks = distance_blocks(query, gallery, metric, block)
    return evaluate_blocks(blocks, query_pids, gallery_pids, query_camids, gallery_camids, max_rank)


def evaluate_blocks(
    blocks: Iterable[Float[np.ndarray, "b g"]],
    query_pids: Integer[np.ndarray, " q"],
    gallery_pids: Integer[np.ndarray, " g"],
    query_camids: Integer[np.ndarray, " q"],
    gallery_camids: Integer[np.ndarray, " g"],
    max_rank: int = 50,
) -> Evaluation:
    """`evaluate` of the rows that the blocks hold, one after another.

    Raises:
        ValueError: as `evaluate`.
    """
    _require_images(query_pids, gallery_pids)
    gallery = Gallery.of(gallery_pids, gallery_camids)
    ap, inp = np.full((2, len(query_pids)), np.nan)
    first = np.full(len(query_pids), -1)
    for q, row in each_row(blocks, query_pids, gallery_pids):
        places = gallery.places(row, int(query_pids[q]), int(query_camids[q]))
        if len(places):
            ap[q] = average_precision(places)
            inp[q] = len(places) / (places[-1] + 1)
            first[q] = places[0]
    valid = first >= 0
    if not valid.any():
        raise ValueError(
            f"none of the {len(query_pids)} queries has an image of the same identity from another camera among the "
            f"{len(gallery_pids)} gallery images: check the identities and cameras of query and gallery"
        )
    counts = np.bincount(first[valid], minlength=max_rank)[:max_rank]
    return Evaluation(
        mAP=float(np.mean(ap[valid])),
        cmc=np.cumsum(counts) / valid.sum(),
        mINP=float(np.mean(inp[valid])),
        ap=ap,
        rank1=np.where(valid, (first == 0).astype(np.float64), np.nan),
    )


def average_precision(places: Int64[np.ndarray, " h"]) -> float:
    """Mean over the hits of the precision at each; `places` are theirs in the ranking, from 0, ascending."""
    return float(np.mean(np.arange(1, len(places) + 1) / (places + 1)))


def each_row(
    blocks: Iterable[Float[np.ndarray, "b g"]],
    query_pids: Integer[np.ndarray, " q"],
    gallery_pids: Integer[np.ndarray, " g"],
) -> Iterator[tuple[int, Float[np.ndarray, " g"]]]:
    """The number of each query and its distances.

    Raises:
        ValueError: not as many rows or columns as queries and gallery images, or a distance that is not finite.
    """
    done = 0
    for rows in blocks:
        if rows.shape[1] != len(gallery_pids) or done + len(rows) > len(query_pids):
            raise ValueError(_misfit(f"{done + len(rows)} x {rows.shape[1]}", query_pids, gallery_pids))
        for row in rows:
            if not np.isfinite(row).all():
                raise ValueError(f"query {done}: a distance is not finite, so its features or the gallery's are broken")
            yield done, row
            done += 1
    if done < len(query_pids):
        raise ValueError(_misfit(f"{done} x {len(gallery_pids)}", query_pids, gallery_pids))


def _misfit(shape: str, query_pids: Integer[np.ndarray, " q"], gallery_pids: Integer[np.ndarray, " g"]) -> str:
    return (
        f"distances {shape}, identities {len(query_pids)} x {len(gallery_pids)}: give a row a query and a column a "
        "gallery image"
    )


def _require_images(query_pids: Integer[np.ndarray, " q"], gallery_pids: Integer[np.ndarray, " g"]) -> None:
    if not len(query_pids) or not len(gallery_pids):
        raise ValueError(
            f"{len(query_pids)} queries and {len(gallery_pids)} gallery images: nothing to evaluate; check that both "
            "splits have images"
        )


def _blocks(
    query: Float[np.ndarray, "q d"], gallery: Float[np.ndarray, "g d"], metric: str, block: int
) -> Iterator[Float32[np.ndarray, "b g"]]:
    """Each part of the gallery is turned into float64 again for each block: that costs less than room for all of it."""
    part = max(1, PART_BYTES // (8 * max(1, gallery.shape[1])))
    squares = squared_lengths(gallery)
    for first in range(0, len(query), block):
        rows = query[first : first + block].astype(np.float64)
        own = squared_lengths(rows)[:, None]
        distances = np.empty((len(rows), len(gallery)), np.float32)
        for start in range(0, len(gallery), part):
            stop = start + part
            products = rows @ gallery[start:stop].astype(np.float64).T
            distances[:, start:stop] = _distances(products, own, squares[start:stop], metric)
        yield distances


def _distances(
    products: Float64[np.ndarray, "*shape"],
    first: Float64[np.ndarray, "*#shape"],
    second: Float64[np.ndarray, "*#shape"],
    metric: str,
) -> Float64[np.ndarray, "*shape"]:
    """From inner products, which are overwritten, and squared lengths. Never below 0, where rounding could lead."""
    if metric == "cosine":
        products /= -np.maximum(np.sqrt(first), LEAST_LENGTH)
        products /= np.maximum(np.sqrt(second), LEAST_LENGTH)
        products += 1
    else:
        products *= -2
        products += first
        products += second
    return np.maximum(products, 0, out=products)


def _places(
    row: Float[np.ndarray, " g"], hits: Integer[np.ndarray, " h"], removed: Integer[np.ndarray, " r"]
) -> Int64[np.ndarray, " h"]:
    """Places (from 0, ascending) of the hits among the gallery less the removed images; stable in the gallery's order.

    Values are sorted, not indices, which is several times faster; a hit's place is the number of smaller values. Only
    where values are equal does it take a look at which of them come before it in the gallery.
    """
    values = row[hits]
    ordered = np.sort(row)
    places = np.searchsorted(ordered, values, "left")
    ties = np.searchsorted(ordered, values, "right") - places > 1
    for h in np.flatnonzero(ties):
        places[h] += np.count_nonzero(row[: hits[h]] == values[h])
    if len(removed):
        gone = row[removed]
        before = (gone < values[:, None]) | ((gone == values[:, None]) & (removed < hits[:, None]))
        places = places - before.sum(axis=1)
    return np.sort(places)
