"""The squared maximum mean discrepancy of features: KID (Binkowski et al., ICLR 2018, arXiv 1801.01401)."""

import numpy as np
from jaxtyping import Float, Float64

DEGREE = 3  # of the kernel (x y / d + 1)^3


def kernel_distance(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], *, subsets: int = 100, size: int = 1000, seed: int
) -> tuple[float, float]:
    """Mean and standard deviation of the unbiased estimates on random subsets of both sides.

    The mean is unbiased at any number of images and can be slightly below 0. A seed picks the subsets that
    torch-fidelity's `rng_seed` picks.

    Raises:
        ValueError: a side has fewer images than a subset.
    """
    if min(len(a), len(b)) < size:
        raise ValueError(
            f"{len(a)} and {len(b)} images hold no subsets of {size}, which the kernel distance compares; "
            "give more images, or ask for smaller subsets"
        )
    rng = np.random.RandomState(seed)
    estimates = np.empty(subsets)
    for index in range(subsets):
        first, second = (side[rng.choice(len(side), size, replace=False)].astype(np.float64) for side in (a, b))
        estimates[index] = _discrepancy(first, second)
    return float(estimates.mean()), float(estimates.std())


def _discrepancy(a: Float64[np.ndarray, "k d"], b: Float64[np.ndarray, "k d"]) -> float:
    """Equation 4 of Binkowski et al.; pairs of an image with itself do not count."""
    count = len(a)
    same = sum(kernel.sum() - np.trace(kernel) for kernel in (_kernel(a, a), _kernel(b, b)))
    return float(same / (count * (count - 1)) - 2 * _kernel(a, b).mean())


def _kernel(a: Float64[np.ndarray, "k d"], b: Float64[np.ndarray, "k d"]) -> Float64[np.ndarray, "k k"]:
    return (a @ b.T / a.shape[1] + 1) ** DEGREE
