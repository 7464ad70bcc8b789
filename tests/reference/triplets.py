"""The triplet loss with hard mining, by search over all triplets."""

import math


def hardest_triplets(features, labels, takes_part, margin):
    """The loss of each anchor; None where it takes no part or has no negative."""
    losses = []
    for anchor, label in enumerate(labels):
        others = [index for index in range(len(labels)) if takes_part[index]]
        positives = [math.dist(features[anchor], features[index]) for index in others if labels[index] == label]
        negatives = [math.dist(features[anchor], features[index]) for index in others if labels[index] != label]
        counts = takes_part[anchor] and negatives
        losses.append(max(0.0, max(positives) - min(negatives) + margin) if counts else None)
    return losses
