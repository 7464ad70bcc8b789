"""Procedural images of identities: coloured noise around a colour that belongs to the identity."""

from typing import final

import numpy as np


@final
class NoiseSource:
    """An image source in memory; image i shows identity pids[i] by camera camids[i]."""

    def __init__(self, pids, camids=None, *, height=64, width=32, seed=0):
        self.pids = [int(pid) for pid in pids]
        self.camids = [0] * len(self.pids) if camids is None else [int(camid) for camid in camids]
        self.height, self.width, self.seed = height, width, seed

    def __len__(self):
        return len(self.pids)

    def image(self, index):
        colours = np.random.default_rng(self.pids[index]).uniform(40, 215, (2, 1, 1, 3))
        noise = np.random.default_rng([self.seed, index]).normal(0, 25, (self.height, self.width, 3))
        top, bottom = np.broadcast_to(colours, (2, self.height // 2, self.width, 3))
        return np.clip(np.concatenate([top, bottom]) + noise, 0, 255).astype(np.uint8)

    def identity(self, index):
        return self.pids[index]

    def camera(self, index):
        return self.camids[index]


def people(identities=8, per_identity=6, cameras=3, **options):
    """A source with as many images of each identity, its cameras in turn; identities are 3, 5, 7, ..."""
    pids = np.repeat(3 + 2 * np.arange(identities), per_identity)
    return NoiseSource(pids, np.arange(len(pids)) % cameras, **options)
