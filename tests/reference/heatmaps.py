"""Pose maps and training pairs as one would explain them, one pixel and one pair at a time."""

import math


def heatmap(row, column, height, width, sigma=6.0):
    """One joint's map as nested lists; None or NaN in either coordinate is a missing joint."""
    missing = any(value is None or math.isnan(value) for value in (row, column))
    return [
        [0.0 if missing else math.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2)) for x in range(width)]
        for y in range(height)
    ]


def pairs(pids, within=None):
    """Every ordered pair of different images of one identity (and one camera, say)."""
    within = within or [0] * len(pids)
    return [
        (i, j)
        for i in range(len(pids))
        for j in range(len(pids))
        if i != j and pids[i] > 0 and pids[i] == pids[j] and within[i] == within[j]
    ]
