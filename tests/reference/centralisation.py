"""Neighbour feature centralisation, one image at a time."""

import numpy as np


def neighbours(features, i, k):
    others = [j for j in range(len(features)) if j != i]
    return sorted(others, key=lambda j: (np.sum((features[i] - features[j]) ** 2), j))[:k]


def sums(features, k1, k2):
    """Of unit features: each and its mutual neighbours, added up."""
    found = []
    for i in range(len(features)):
        mutual = [j for j in neighbours(features, i, k1) if i in neighbours(features, j, k2)]
        found.append(features[i] + sum((features[j] for j in mutual), np.zeros_like(features[i])))
    return np.stack(found)
