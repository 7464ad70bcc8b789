"""Splits of persons in a few poses, without pixels."""

from pathlib import Path

import numpy as np

from augment.data.feed import Posed
from augment.data.keypoints import TORSO
from augment.data.records import Record

SHAPES = np.random.default_rng(7).normal(0, 40, (8, 14, 2))  # eight poses: all joints but those of the torso


def pose(shape, scale=1.0, shift=(0.0, 0.0)):
    """One of eight poses, somewhere and of some size."""
    joints = np.empty((18, 2))
    joints[list(TORSO)] = [[-20, -10], [-20, 10], [20, -8], [20, 8]]
    joints[[j for j in range(18) if j not in TORSO]] = SHAPES[shape]
    return (joints * scale + shift).astype(np.float32)


def posed(pids, shapes, cameras=None, seed=0):
    """Images of persons in poses, each placed and scaled anyhow."""
    rng = np.random.default_rng(seed)
    cameras = [1] * len(pids) if cameras is None else cameras
    records = tuple(
        Record(Path(f"{pid:04d}_{i:06d}.jpg"), pid, camera)
        for i, (pid, camera) in enumerate(zip(pids, cameras, strict=True))
    )
    points = [pose(shape, rng.uniform(0.8, 1.2), rng.uniform(0, 9, 2)) for shape in shapes]
    return Posed(records, np.zeros((len(records), 8, 4, 3), np.uint8), np.stack(points))
