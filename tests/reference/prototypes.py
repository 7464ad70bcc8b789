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


def left_out_margin(features, pids):
    found = []
    for i, pid in enumerate(pids):
        if sum(other == pid for other in pids) == 1:
            found.append(np.nan)
            continue
        table = {other: prototype(features, pids, other, without=i) for other in set(pids.tolist())}
        found.append(margin(features[i], pid, table)[1])
    return np.array(found)
