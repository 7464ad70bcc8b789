"""The squared maximum mean discrepancy of features: KID (Binkowski et al., ICLR 2018, arXiv 1801.01401)."""

import numpy as np
from jaxtyping import Float, Float64

DEGREE = 3  # of the kernel (x y / d + 1)^3
BLOCK = 1_000  # images at a time


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


def kernel_influences(
    real: Float[np.ndarray, "n d"], generated: Float[np.ndarray, "m d"], *, most: int = 5_000, seed: int
) -> Float64[np.ndarray, " m"]:
    """How much the distance would grow for each share of the weight that a generated image were given.

    Twice the witness function (Gretton et al., JMLR 13, 2012): the mean kernel with the other generated images less
    that with real ones, of each side at most so many. Up to a constant, the same for all images.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(generated))[:most]
    others, beside = (
        side[rows].astype(np.float64) for side, rows in ((generated, chosen), (real, rng.permutation(len(real))[:most]))
    )
    place = np.full(len(generated), -1)
    place[chosen] = np.arange(len(chosen))
    found = np.empty(len(generated))
    for start in range(0, len(generated), BLOCK):
        block = generated[start : start + BLOCK].astype(np.float64)
        kernel = _kernel(block, others)
        itself = place[start : start + BLOCK]
        mine = itself >= 0
        own = np.where(mine, kernel[np.arange(len(block)), itself], 0)
        found[start : start + BLOCK] = (kernel.sum(axis=1) - own) / np.maximum(1, len(others) - mine)
        found[start : start + BLOCK] -= _kernel(block, beside).mean(axis=1)
    return 2 * found


def _discrepancy(a: Float64[np.ndarray, "k d"], b: Float64[np.ndarray, "k d"]) -> float:
    """Equation 4 of Binkowski et al.; pairs of an image with itself do not count."""
    count = len(a)
    same = sum(kernel.sum() - np.trace(kernel) for kernel in (_kernel(a, a), _kernel(b, b)))
    return float(same / (count * (count - 1)) - 2 * _kernel(a, b).mean())


def _kernel(a: Float64[np.ndarray, "k d"], b: Float64[np.ndarray, "l d"]) -> Float64[np.ndarray, "k l"]:
    return (a @ b.T / a.shape[1] + 1) ** DEGREE
