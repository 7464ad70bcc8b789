"""Re-ranking as the paper's equations read: sets of neighbours, and one pair of images at a time."""

import math


def nearest(row, k):
    return sorted(range(len(row)), key=lambda j: (row[j], j))[:k]


def reciprocal(distances, i, k):
    return {j for j in nearest(distances[i], k + 1) if i in nearest(distances[j], k + 1)}


def expanded(distances, i, k1):
    own = reciprocal(distances, i, k1)
    found = set(own)
    for j in own:
        others = reciprocal(distances, j, round(k1 / 2))
        if len(others & own) > 2 / 3 * len(others):
            found |= others
    return found


def encoding(distances, i, k1):
    farthest = max(distances[i]) ** 2
    weights = {j: math.exp(-(distances[i][j] ** 2) / farthest) for j in expanded(distances, i, k1)}
    return {j: weight / sum(weights.values()) for j, weight in weights.items()}


def averaged(distances, encodings, i, k2):
    if k2 == 1:
        return encodings[i]
    members = [encodings[j] for j in nearest(distances[i], k2)]
    keys = set().union(*members)
    return {key: sum(member.get(key, 0) for member in members) / len(members) for key in keys}


def jaccard(one, other):
    keys = one.keys() | other.keys()
    smaller = sum(min(one.get(key, 0), other.get(key, 0)) for key in keys)
    larger = sum(max(one.get(key, 0), other.get(key, 0)) for key in keys)
    return 1 - smaller / larger


def rerank(distances, num_query, k1, k2, lambda_value):
    """`distances` are those of all images, queries first; they are squared here, as torchreid does."""
    images = range(len(distances))
    single = [encoding(distances, i, k1) for i in images]
    encodings = [averaged(distances, single, i, k2) for i in images]
    return [
        [
            (1 - lambda_value) * jaccard(encodings[q], encodings[g])
            + lambda_value * distances[q][g] ** 2 / max(distances[q]) ** 2
            for g in images[num_query:]
        ]
        for q in images[:num_query]
    ]
