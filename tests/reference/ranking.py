"""The evaluation protocol of Market-1501 as one would explain it, one query and one image at a time."""

import math


def ranking(row, query_pid, gallery_pids, query_camid, gallery_camids):
    """The images that are searched, nearest first."""
    gallery = [
        index
        for index, (pid, camid) in enumerate(zip(gallery_pids, gallery_camids, strict=True))
        if pid != -1 and not (pid == query_pid and camid == query_camid)
    ]
    return sorted(gallery, key=lambda index: (row[index], index))


def average_precision(row, query_pid, gallery_pids, query_camid, gallery_camids):
    """Average precision, inverse negative penalty and the place of the first hit; None without a match."""
    precisions, places = [], []
    for place, index in enumerate(ranking(row, query_pid, gallery_pids, query_camid, gallery_camids), start=1):
        if gallery_pids[index] == query_pid:
            places.append(place)
            precisions.append(len(places) / place)
    if not places:
        return None
    return sum(precisions) / len(precisions), len(places) / places[-1], places[0]


def evaluate(distances, query_pids, gallery_pids, query_camids, gallery_camids, max_rank=50):
    """(mAP, CMC, mINP, per-query AP with NaN)."""
    scores = [
        average_precision(row, pid, gallery_pids, camid, gallery_camids)
        for row, pid, camid in zip(distances, query_pids, query_camids, strict=True)
    ]
    valid = [score for score in scores if score is not None]
    cmc = [sum(first <= rank for _, _, first in valid) / len(valid) for rank in range(1, max_rank + 1)]
    mean_ap = sum(ap for ap, _, _ in valid) / len(valid)
    mean_inp = sum(inp for _, inp, _ in valid) / len(valid)
    return mean_ap, cmc, mean_inp, [math.nan if score is None else score[0] for score in scores]
