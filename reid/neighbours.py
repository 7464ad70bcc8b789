"""The nearest images of each image in feature space, exactly, without the matrix of all distances.

A product in float32 says which images can be among the nearest at all: it errs by no more than a bound that is known
beforehand. Distances to those few are then computed as `reid.metrics` does.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from reid.metrics import BLOCK_BYTES, LEAST_LENGTH, PART_BYTES, pair_distances, require_metric, squared_lengths

ROUNDING = 2.0**-24  # relative error of a float32
SPARE = 16  # roundings beside those of the terms of an inner product


@dataclass(frozen=True)
class Neighbours:
    """For each image, by its place in the list of all."""

    nearest: Int64[np.ndarray, "n k"]  # ascending by distance, itself among them; of equal distances the first
    farthest: Float32[np.ndarray, " n"]  # distance to the image that is farthest away


def find_neighbours(
    features: Float[np.ndarray, "n d"], count: int, metric: str = "euclidean", block: int | None = None
) -> Neighbours:
    """The `count` nearest images of each (all, where there are fewer), `block` images at a time.

    Raises:
        ValueError: a metric of another name, a feature that is not finite, or a block without images.
    """
    require_metric(metric)
    if block is not None and block < 1:
        raise ValueError(f"block {block}: a block needs at least one image")
    squares = squared_lengths(features)
    if not np.isfinite(squares).all():
        raise ValueError(f"image {np.argmin(np.isfinite(squares))}: its features are not finite; extract them again")
    vectors, offsets, errors = _screen(features, squares, metric)
    block = block or max(1, BLOCK_BYTES // (4 * max(1, len(features))))
    count = min(count, len(features))
    nearest, farthest = np.empty((len(features), count), np.int64), np.zeros(len(features), np.float32)
    for start in range(0, len(features), block):
        lowest = (-2 * vectors[start : start + block]) @ vectors.T
        lowest += offsets - errors
        near, far = [], []
        for row, error in zip(lowest, 2 * errors[start : start + block], strict=True):
            highest = row + 2 * errors
            near.append(np.flatnonzero(row <= np.partition(highest, count - 1)[count - 1] + error))
            far.append(np.flatnonzero(highest >= row.max() - error))
        numbers = np.arange(start, start + len(lowest))
        nearest[numbers] = _first(_pairs(numbers, near), features, squares, metric, count)
        first, second = _pairs(numbers, far)
        np.maximum.at(farthest, first, pair_distances(features, squares, first, second, metric))
    return Neighbours(nearest, farthest)


def unit_vectors(features: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Scaled to length 1; a feature of zeros stays one."""
    lengths = np.maximum(np.sqrt(squared_lengths(features)), LEAST_LENGTH)
    return (features / lengths[:, None].astype(np.promote_types(features.dtype, np.float32))).astype(np.float32)


def _screen(
    features: Float[np.ndarray, "n d"], squares: Float64[np.ndarray, " n"], metric: str
) -> tuple[Float32[np.ndarray, "n d"], Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Vectors and offsets, so that -2 <v_i, v_j> + offset_j orders j by its distance from i; and errors of each.

    That value errs by no more than error_i + error_j: one rounding for each term of the product and a few more (Higham
    2002, section 3.1). Distances stay as they are when the mean is taken off, and what is left is shorter, so errors
    are smaller. Cosine distances are half the squared ones of unit vectors; offsets make up for vectors of zeros.
    """
    scale = 1 / np.maximum(np.sqrt(squares), LEAST_LENGTH) if metric == "cosine" else np.ones(len(features))
    mean = np.einsum("n,nd->d", scale, features, dtype=np.float64) / max(1, len(features))
    vectors = np.empty(features.shape, np.float32)
    part = max(1, PART_BYTES // (8 * max(1, features.shape[1])))
    for start in range(0, len(features), part):
        rows = slice(start, start + part)
        vectors[rows] = features[rows] * scale[rows, None] - mean
    lengths = squared_lengths(vectors)
    missing = 1 - squares * scale**2 if metric == "cosine" else 0
    errors = 2 * (features.shape[1] + SPARE) * ROUNDING * lengths
    return vectors, (lengths + missing).astype(np.float32), errors.astype(np.float32)


def _pairs(
    numbers: Int64[np.ndarray, " b"], columns: list[Int64[np.ndarray, " _"]]
) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """Each image's number beside those of its candidates."""
    return np.repeat(numbers, [len(places) for places in columns]), np.concatenate(columns)


def _first(
    pairs: tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]],
    features: Float[np.ndarray, "n d"],
    squares: Float64[np.ndarray, " n"],
    metric: str,
    count: int,
) -> Int64[np.ndarray, "b k"]:
    """Of each image's candidates the `count` nearest, in order."""
    first, second = pairs
    order = np.lexsort((second, pair_distances(features, squares, first, second, metric), first))
    starts = np.flatnonzero(np.diff(first, prepend=-1))
    return second[order[starts[:, None] + np.arange(count)]]
