"""How sure and how varied a classifier is: the Inception Score (Salimans et al., NIPS 2016, arXiv 1606.03498)."""

import itertools

import numpy as np
import torch
from jaxtyping import Float


def inception_score(logits: Float[np.ndarray, "n c"], splits: int = 10) -> tuple[float, float]:
    """Mean and standard deviation over contiguous splits of exp(mean KL of an image's classes to those of its split).

    The order of the images matters: as published, nothing is shuffled. From 1 to the number of classes.

    Raises:
        ValueError: fewer images than splits.
    """
    count = len(logits)
    if count < splits:
        raise ValueError(f"{count} images cannot be cut into {splits} splits; give more images, or fewer splits")
    logarithms = torch.from_numpy(logits).double().log_softmax(1)
    bounds = [index * count // splits for index in range(splits + 1)]
    scores = []
    for start, stop in itertools.pairwise(bounds):
        each = logarithms[start:stop]
        whole = each.logsumexp(0) - np.log(len(each))
        scores.append((each.exp() * (each - whole)).sum(1).mean().exp().item())
    return float(np.mean(scores)), float(np.std(scores))
