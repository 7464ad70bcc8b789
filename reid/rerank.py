"""Re-ranking with k-reciprocal neighbours: two images are alike if their neighbourhoods are (Zhong et al., CVPR 2017).

The numbers are torchreid's (`torchreid.utils.re_ranking`), which the tests hold: like there, squared Euclidean
distances are squared once more and divided by the largest of their image. It needs matrices of all images with all
images; here they are sparse, for an image has a few dozen reciprocal neighbours, and distances are computed by blocks
and forgotten. Where float32 cannot tell two distances apart the image that comes first (queries, then gallery) is the
nearer one; torchreid leaves that to chance.

Neighbours are looked for among queries and gallery together, so a query gains from other queries: another protocol than
without re-ranking, to be reported in a column of its own.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64
from scipy.sparse import csc_array, csr_array

from reid.metrics import distance_blocks, matrix_of, pair_distances, squared_lengths
from reid.neighbours import find_neighbours

TINY = np.finfo(np.float32).tiny


def rerank(
    query: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "g e"],
    metric: str = "euclidean",
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> Float32[np.ndarray, "q g"]:
    """Distances of queries to the gallery after re-ranking, in [0, 1].

    An image has up to `k1` neighbours that are to be reciprocal; the encodings of the `k2` nearest, itself among them,
    are averaged; the result is `lambda_value` parts the original distance and the rest Jaccard's.

    Raises:
        ValueError: no images, features that are not finite or of different lengths, or an option out of its range.
    """
    blocks = rerank_blocks(query, gallery, metric, k1, k2, lambda_value)
    return matrix_of(blocks, len(query), len(gallery))


def rerank_blocks(
    query: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "g e"],
    metric: str = "euclidean",
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    block: int | None = None,
) -> Iterator[Float32[np.ndarray, "b g"]]:
    """The rows of `rerank`, `block` queries at a time, for `evaluate_blocks`; all neighbours are found for the first.

    Raises:
        ValueError: as `rerank`, or a block without queries.
    """
    if not len(query) or not len(gallery):
        raise ValueError(f"{len(query)} queries and {len(gallery)} gallery images: nothing to rank; check both splits")
    if k1 < 1 or k2 < 1:
        raise ValueError(f"k1 {k1}, k2 {k2}: an image needs at least one neighbour; the paper has 20 and 6")
    if not 0 <= lambda_value <= 1:
        raise ValueError(f"lambda_value {lambda_value}: must be from 0 (Jaccard only) to 1 (no re-ranking)")
    original = distance_blocks(query, gallery, metric, block)
    features = np.concatenate([query, gallery])
    return _blocks(features, len(query), original, metric, k1, k2, lambda_value, block)


def _blocks(
    features: Float[np.ndarray, "n d"],
    num_query: int,
    original: Iterator[Float32[np.ndarray, "b g"]],
    metric: str,
    k1: int,
    k2: int,
    lambda_value: float,
    block: int | None,
) -> Iterator[Float32[np.ndarray, "b g"]]:
    found = find_neighbours(features, max(k1 + 1, k2), metric, block)
    farthest = np.maximum(found.farthest**2, TINY)
    encodings = _encoded(features, metric, _neighbourhoods(found.nearest, k1), farthest)
    if k2 > 1:
        encodings = csr_array(_adjacency(found.nearest[:, :k2]) @ encodings)
        encodings.data /= min(k2, len(features))
    gallery = csc_array(encodings[num_query:])
    start = 0
    for rows in original:
        np.square(rows, out=rows)
        rows *= np.float32(lambda_value) / farthest[start : start + len(rows), None]
        for number, row in enumerate(rows, start):
            row += (1 - lambda_value) * _jaccard(encodings, number, gallery, len(row))
        yield rows
        start += len(rows)


def _neighbourhoods(ranks: Int64[np.ndarray, "n k"], k1: int) -> csr_array:
    """The paper's R*(p, k1): reciprocal neighbours, and those of each of them if two thirds of theirs are among one's.

    A row an image; which values are stored counts, not what they are.
    """
    wide, narrow = _reciprocal(ranks[:, : k1 + 1]), _reciprocal(ranks[:, : round(k1 / 2) + 1])
    shared = csr_array((wide @ narrow.T).multiply(wide))
    enough = shared.data > 2 / 3 * np.diff(narrow.indptr)[shared.indices]
    shared.data = enough.astype(np.int32)
    shared.eliminate_zeros()
    return csr_array(wide + shared @ narrow)


def _reciprocal(ranks: Int64[np.ndarray, "n k"]) -> csr_array:
    """1 where each of two images is among the nearest of the other: the paper's R(p, k)."""
    near = _adjacency(ranks)
    return csr_array(near.multiply(near.T))


def _adjacency(ranks: Int64[np.ndarray, "n k"]) -> csr_array:
    """1 where an image, the row, has another among its nearest."""
    starts = np.arange(0, ranks.size + 1, ranks.shape[1])
    return csr_array((np.ones(ranks.size, np.int32), ranks.ravel(), starts), shape=(len(ranks), len(ranks)))


def _encoded(
    features: Float[np.ndarray, "n d"], metric: str, pattern: csr_array, farthest: Float32[np.ndarray, " n"]
) -> csr_array:
    """The paper's encoding: exp(-distance) on the neighbourhood of each image, in parts of their sum."""
    rows = np.repeat(np.arange(len(features)), np.diff(pattern.indptr))
    distances = pair_distances(features, squared_lengths(features), rows, pattern.indices, metric)
    weights = np.exp(-np.square(distances) / farthest[rows])
    sums = np.bincount(rows, weights, minlength=len(features)).astype(np.float32)
    return csr_array((weights / sums[rows], pattern.indices, pattern.indptr), shape=pattern.shape)


def _jaccard(encodings: csr_array, number: int, gallery: csc_array, num_gallery: int) -> Float64[np.ndarray, " g"]:
    """Jaccard distance of one image's encoding to those of the gallery, whose columns are neighbours.

    Only gallery images that share a neighbour with it are looked at; the encodings sum to 1, so the sum of the larger
    values is 2 less that of the smaller ones.
    """
    own = slice(*encodings.indptr[number : number + 2])
    starts, stops = gallery.indptr[encodings.indices[own]], gallery.indptr[encodings.indices[own] + 1]
    counts = stops - starts
    entries = np.arange(counts.sum()) + np.repeat(stops - np.cumsum(counts), counts)
    smaller = np.minimum(gallery.data[entries], np.repeat(encodings.data[own], counts))
    shared = np.bincount(gallery.indices[entries], smaller, minlength=num_gallery).clip(max=1)
    return 1 - shared / (2 - shared)
