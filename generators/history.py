"""The history of generated images that an adversary is shown (Shrivastava et al., CVPR 2017, arXiv 1612.07828)."""

import numpy as np
import torch
from torch import Tensor

from generators import distributed


class HistoryPool:
    """Up to `size` earlier samples. While it fills, samples pass through and are kept; then each is, with probability
    one half, swapped for a random older one. With size 0 everything passes.

    The draws are a pure function of (seed, step), and with several processes every one of them keeps the same pool of
    the global batch, so that neither resuming nor the number of processes changes what is seen.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.samples: list[Tensor] = []

    @torch.no_grad()
    def query(self, fresh: Tensor, step: int) -> Tensor:
        """What to show instead of `fresh`, row by row."""
        if self.size == 0:
            return fresh
        rng = np.random.default_rng([self.seed, step])
        shown = []
        for sample in distributed.gather_rows(fresh.detach()):
            if len(self.samples) < self.size:
                self.samples.append(sample.clone())
                shown.append(sample)
            elif rng.random() < 0.5:
                slot = int(rng.integers(self.size))
                shown.append(self.samples[slot])
                self.samples[slot] = sample.clone()
            else:
                shown.append(sample)
        return torch.stack(shown[distributed.share(len(shown))])

    def tensors(self) -> dict[str, Tensor]:
        return {"samples": torch.stack(self.samples)} if self.samples else {}

    def load(self, flat: dict[str, Tensor], device: torch.device) -> None:
        self.samples = [sample.clone() for sample in flat.get("samples", torch.empty(0)).to(device)]
