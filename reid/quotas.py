"""The share of synthetic images in a batch, epoch by epoch: constant, or moving from one kind of image to the other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

QUOTA_SCHEDULES = ("constant", "first", "annealed", "ramp")


@dataclass(frozen=True)
class QuotaPlan:
    """How the quota moves over the epochs; a training of one epoch has no time to move it."""

    # constant; first: the quota for the first share of the epochs, then none; annealed: linearly from the quota in the
    # first epoch to none in the last; ramp: from none to the quota
    schedule: str = "constant"
    share: float = 0.5  # of the epochs with synthetic images, for first

    def factor(self, epoch: int, epochs: int) -> float:
        """By what the quota is multiplied in an epoch, in [0, 1]."""
        if self.schedule == "constant" or epochs == 1:
            return 1.0
        if self.schedule == "first":
            return float(epoch < self.share * epochs)
        done = epoch / (epochs - 1)
        return 1 - done if self.schedule == "annealed" else done


CONSTANT = QuotaPlan()


def epoch_quotas(
    synthetic: Bool[np.ndarray, " n"], quota: float | None, plan: QuotaPlan, epochs: int
) -> Float64[np.ndarray, " e"] | None:
    """The quota of each epoch; None where images are drawn without regard to their kind.

    Raises:
        ValueError: a quota or a schedule for a list of one kind.
    """
    if quota is None and plan.schedule == "constant":
        return None
    if synthetic.all() or not synthetic.any():
        asked = f"quota_schedule {plan.schedule}" if quota is None else f"quota {quota}"
        raise ValueError(f"{asked}: needs both real and synthetic images; leave it out or give a synthetic set")
    share = float(synthetic.mean()) if quota is None else quota
    return np.array([share * plan.factor(epoch, epochs) for epoch in range(epochs)])
