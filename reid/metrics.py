"""Distances between features, and what they are worth: mAP, CMC and mINP in the protocol of Market-1501.

The protocol (Zheng et al. 2015): a query's gallery loses the images of the same identity from the same camera; junk
(identity -1) is not in the gallery, distractors (identity 0) are; the average precision of a query is the mean of the
precision at each hit. The numbers are torchreid's (`torchreid.metrics.evaluate_rank`), which the tests hold.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Integer, Shaped

JUNK = -1

# Bytes that a block of the distance matrix takes while it is computed.
BLOCK_BYTES = 64 * 2**20


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


def distance_matrix(
    query: Float[np.ndarray, "q d"], gallery: Float[np.ndarray, "g d"], metric: str = "euclidean"
) -> Float32[np.ndarray, "q g"]:
    """Squared Euclidean or cosine distances, as torchreid has them; computed in float64 by blocks of queries.

    Raises:
        ValueError: a metric of another name.
    """
    if metric not in ("euclidean", "cosine"):
        raise ValueError(f"metric {metric!r}: must be euclidean or cosine")
    query, gallery = query.astype(np.float64), gallery.astype(np.float64)
    if metric == "cosine":
        query, gallery = _unit_rows(query), _unit_rows(gallery)
    distances = np.empty((len(query), len(gallery)), np.float32)
    rows = max(1, BLOCK_BYTES // (8 * max(1, len(gallery))))
    squares = np.einsum("gd,gd->g", gallery, gallery)
    for start in range(0, len(query), rows):
        block = query[start : start + rows]
        products = block @ gallery.T
        if metric == "cosine":
            distances[start : start + rows] = 1 - products
        else:
            products *= -2
            products += np.einsum("qd,qd->q", block, block)[:, None]
            products += squares
            distances[start : start + rows] = np.maximum(products, 0, out=products)
    return distances


def evaluate(
    distances: Float[np.ndarray, "q g"],
    query_pids: Integer[np.ndarray, " q"],
    gallery_pids: Integer[np.ndarray, " g"],
    query_camids: Integer[np.ndarray, " q"],
    gallery_camids: Integer[np.ndarray, " g"],
    max_rank: int = 50,
) -> Evaluation:
    """Rank the gallery of every query and score the ranking.

    Of equal distances the image that comes first in the gallery ranks first (torchreid leaves that to chance). The CMC
    has `max_rank` entries even for a smaller gallery: beyond its last image nothing changes any more.

    Raises:
        ValueError: a distance is not finite, or no query has a match.
    """
    num_query = len(query_pids)
    shape = (len(query_camids), len(gallery_camids))
    if distances.shape != shape or shape != (num_query, len(gallery_pids)):
        raise ValueError(f"distances {distances.shape}, identities and cameras do not match: give queries x gallery")
    _require_finite(distances)
    members = _members(gallery_pids)
    junk = np.flatnonzero(gallery_pids == JUNK)
    nobody = np.empty(0, np.int64)
    ap, inp = np.full(num_query, np.nan), np.full(num_query, np.nan)
    first = np.full(num_query, -1)
    for q in range(num_query):
        same = members.get(int(query_pids[q]), nobody) if query_pids[q] != JUNK else nobody
        same_camera = gallery_camids[same] == query_camids[q]
        hits = same[~same_camera]
        if len(hits):
            ranks = _ranks(distances[q], hits, np.concatenate([same[same_camera], junk]))
            ap[q] = np.mean(np.arange(1, len(ranks) + 1) / (ranks + 1))
            inp[q] = len(ranks) / (ranks[-1] + 1)
            first[q] = ranks[0]
    valid = first >= 0
    if not valid.any():
        raise ValueError(
            f"none of the {num_query} queries has an image of the same identity from another camera among the "
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


def _ranks(
    row: Float[np.ndarray, " g"], hits: Integer[np.ndarray, " h"], removed: Integer[np.ndarray, " r"]
) -> Integer[np.ndarray, " h"]:
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


def _members(pids: Integer[np.ndarray, " g"]) -> dict[int, Shaped[np.ndarray, " _"]]:
    """The gallery indices of each identity, ascending."""
    order = np.argsort(pids, kind="stable")
    found, starts = np.unique(pids[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, starts[1:]), strict=True))


def _require_finite(distances: Float[np.ndarray, "q g"]) -> None:
    for number, row in enumerate(distances):
        if not np.isfinite(row).all():
            raise ValueError(f"query {number}: a distance is not finite, so its features or the gallery's are broken")


def _unit_rows(features: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Rows of length 1; a row of zeros stays one."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
