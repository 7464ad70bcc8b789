"""Which images may be sources: all of them, or the best one of each identity and camera."""

import numpy as np
from jaxtyping import Bool

from augment.data.feed import Posed
from augment.data.sharpness import sharpness

SOURCES = ("random", "sharpest", "most-visible")


def choose_sources(policy: str, split: Posed) -> Bool[np.ndarray, " n"]:
    """Whether each image may be a source.

    random: all may. sharpest: of each identity and camera the sharpest one. most-visible: the one with the most
    annotated joints, of several the sharpest. Of equally good ones it is the first by name.

    Raises:
        ValueError: an unknown policy.
    """
    if policy not in SOURCES:
        raise ValueError(f"--sources {policy}: expected one of {', '.join(SOURCES)}")
    if policy == "random":
        return np.ones(len(split.records), dtype=bool)
    joints = (~np.isnan(split.points).any(axis=2)).sum(axis=1).tolist()
    visible = joints if policy == "most-visible" else [0] * len(joints)
    sharp = [sharpness(image) for image in split.pixels]
    names = [record.name for record in split.records]
    best: dict[tuple[int, int], int] = {}
    for row in sorted(range(len(names)), key=lambda row: (-visible[row], -sharp[row], names[row])):
        best.setdefault((split.records[row].pid, split.records[row].camid), row)
    chosen = np.zeros(len(names), dtype=bool)
    chosen[list(best.values())] = True
    return chosen
