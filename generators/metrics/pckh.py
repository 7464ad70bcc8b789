"""Whether a generated person has the pose asked for: PCKh as PATN's authors count it.

Zhu et al., CVPR 2019 (arXiv 1904.03349), after Andriluka et al., CVPR 2014. Theirs is per axis, and its head holds the
neck; other papers' numbers of this name differ.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

HEAD = (0, 1, 14, 15, 16, 17)  # OpenPose-18: nose, neck, eyes, ears
TOLERANCE = 0.5  # of the head's width and height


@dataclass(frozen=True)
class PCKh:
    """Counts of each image, so that any selection of images has a value: the sum of one by the sum of the other."""

    right: Int[np.ndarray, " n"]
    counted: Int[np.ndarray, " n"]  # 0 where the image is left out

    @property
    def value(self) -> float:
        """The share of all joints asked for that were found; NaN where no image counts."""
        counted = int(self.counted.sum())
        return int(self.right.sum()) / counted if counted else float("nan")


def pckh(found: Float[np.ndarray, "n 18 2"], target: Float[np.ndarray, "n 18 2"]) -> PCKh:
    """Compare key points, NaN where missing; `target` are those asked for.

    PATN's authors compare two annotation files, whose coordinates are whole pixels: round those that are not.

    A joint of the target is right where it was found nearer than half the width of the target's head in one direction
    and half its height in the other. The head is the bounding box of its key points. One without width or height has no
    right joint; an image with fewer than two of the head's key points is left out.
    """
    visible = np.logical_not(np.isnan(target).any(axis=2))
    head = np.where(visible[:, HEAD, None], target[:, HEAD], np.nan)
    size = np.fmax.reduce(head, axis=1) - np.fmin.reduce(head, axis=1)
    counts = visible[:, HEAD].sum(axis=1) >= 2
    right = (np.abs(found - target) < TOLERANCE * size[:, None]).all(axis=2)  # not so where NaN
    return PCKh(np.where(counts, (right & visible).sum(axis=1), 0), np.where(counts, visible.sum(axis=1), 0))
