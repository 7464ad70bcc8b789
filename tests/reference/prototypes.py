"""Similarities to prototypes, one image and one identity at a time."""

import numpy as np


def unit(vector):
    return vector / np.sqrt(sum(value * value for value in vector))


def prototype(features, pids, pid, without=None):
    members = [unit(features[i]) for i in range(len(pids)) if pids[i] == pid and i != without]
    return unit(sum(members) / len(members))


def margin(feature, pid, prototypes):
    """Own similarity, and what it exceeds the best other's by."""
    similarity = {other: float(np.dot(unit(feature), vector)) for other, vector in prototypes.items()}
    own = similarity.pop(pid)
    return own, own - max(similarity.values())


def without_source(feature, pid, features, pids, source):
    """Similarity and margin of an image that was made from image `source` of `features`."""
    if sum(other == pid for other in pids) == 1:
        return np.nan, np.nan
    table = {other: prototype(features, pids, other) for other in {int(other) for other in pids}}
    return margin(feature, pid, table | {pid: prototype(features, pids, pid, without=source)})


def left_out_margin(features, pids):
    return np.array([without_source(features[i], pid, features, pids, i)[1] for i, pid in enumerate(pids.tolist())])
