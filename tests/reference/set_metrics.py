"""FID, KID, Inception Score and PCKh as one would explain them: matrices, pairs, images and joints one at a time."""

import math

import numpy as np
from scipy.linalg import sqrtm


def frechet(a, b):
    """Of features, by the square root of the product of the covariances."""
    root = sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    distance = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return distance + np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * root)


def discrepancy(a, b):
    """The unbiased squared maximum mean discrepancy of two lists of equal length."""

    def kernel(x, y):
        return (sum(p * q for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    pairs = [(i, j) for i in range(len(a)) for j in range(len(a)) if i != j]
    same = sum(kernel(a[i], a[j]) + kernel(b[i], b[j]) for i, j in pairs) / len(pairs)
    return same - 2 * sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))


def inception_score(probabilities):
    """Of one split: a row of probabilities an image."""
    whole = [sum(column) / len(probabilities) for column in zip(*probabilities, strict=True)]
    divergences = [sum(p * math.log(p / q) for p, q in zip(row, whole, strict=True)) for row in probabilities]
    return math.exp(sum(divergences) / len(divergences))


def pckh(found, target):
    """(right, counted) of one image; None where it is left out. Points are (row, column) or None."""
    head = [target[joint] for joint in (0, 1, 14, 15, 16, 17) if target[joint] is not None]
    if len(head) < 2:
        return None
    height = max(row for row, _ in head) - min(row for row, _ in head)
    width = max(column for _, column in head) - min(column for _, column in head)
    right = counted = 0
    for mine, asked in zip(found, target, strict=True):
        if asked is None:
            continue
        counted += 1
        if mine is None:
            continue
        if abs(mine[0] - asked[0]) < 0.5 * height and abs(mine[1] - asked[1]) < 0.5 * width:
            right += 1
    return right, counted
