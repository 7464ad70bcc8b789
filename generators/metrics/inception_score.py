"""How sure and how varied a classifier is: the Inception Score (Salimans et al., NIPS 2016, arXiv 1606.03498)."""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64

SPLITS = 10


def inception_score(logits: Float[np.ndarray, "n c"], splits: int = SPLITS) -> tuple[float, float]:
    """Mean and standard deviation over contiguous splits of exp(mean KL of an image's classes to those of its split).

    The order of the images matters: as published, nothing is shuffled. From 1 to the number of classes.

    Raises:
        ValueError: fewer images than splits.
    """
    each, split = divergences(logits, splits)
    scores = np.exp(np.bincount(split, each) / np.bincount(split))
    return float(scores.mean()), float(scores.std())


def divergences(
    logits: Float[np.ndarray, "n c"], splits: int = SPLITS
) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """The KL divergence of each image's classes to those of its split, and which split that is.

    Raises:
        ValueError: fewer images than splits.
    """
    count = len(logits)
    if count < splits:
        raise ValueError(f"{count} images cannot be cut into {splits} splits; give more images, or fewer splits")
    bounds = [index * count // splits for index in range(splits + 1)]
    logarithms = torch.from_numpy(logits).double().log_softmax(1)
    found = []
    for each in logarithms.split(np.diff(bounds).tolist()):
        whole = each.logsumexp(0) - np.log(len(each))
        found.append((each.exp() * (each - whole)).sum(1).numpy())
    return np.concatenate(found), np.repeat(np.arange(splits), np.diff(bounds))
