"""The Fréchet distance between Gaussians fitted to features: FID (Heusel et al., NIPS 2017, arXiv 1706.08500)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64


@dataclass(frozen=True)
class Moments:
    """A Gaussian, fitted to the features of some images."""

    mean: Float64[np.ndarray, " d"]
    covariance: Float64[np.ndarray, "d d"]
    count: int  # of images
    factor: Float64[np.ndarray, "d r"] | None = None  # times its transpose it is the covariance


def moments(features: Float[np.ndarray, "n d"]) -> Moments:
    """Mean and unbiased covariance, in double precision whatever the features are.

    Of fewer images than features the centred features themselves are kept as the covariance's factor.

    Raises:
        ValueError: fewer than two images, which have no covariance.
    """
    if len(features) < 2:
        raise ValueError(f"{len(features)} images have no covariance; a Fréchet distance needs at least 2 on each side")
    values = features.astype(np.float64)
    mean = values.mean(axis=0)
    values -= mean
    covariance = values.T @ values / (len(values) - 1)
    few = len(values) < values.shape[1]
    return Moments(mean, covariance, len(values), values.T / np.sqrt(len(values) - 1) if few else None)


def frechet_distance(a: Moments, b: Moments) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)) of covariances A and B: Dowson and Landau, J. Multivariate
    Analysis 12, 1982.

    With A = E E^T and B = F F^T the trace of (A B)^(1/2) is the sum of the singular values of E^T F. Nothing is
    squared on the way and nothing turns complex, so that covariances of low rank, which fewer images than features
    have, lose no digits. With n and m images, fewer than the d features, it costs products of n d m numbers instead of
    decompositions of d x d matrices.
    """
    difference = a.mean - b.mean
    root = np.linalg.svd(_factor(a).T @ _factor(b), compute_uv=False).sum()
    distance = difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root
    return max(0.0, float(distance))


def frechet_influences(real: Moments, features: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """How much the distance to `real` would grow for each share of the weight that an image of `features` were given.

    The derivative (the infinitesimal jackknife's; Efron, The Jackknife, 1982): with B the covariance of `features` and
    U S V^T the decomposition of E^T F, that of tr (A B)^(1/2) by B is E U S^-1 U^T E^T / 2. Up to a constant, the same
    for all images.
    """
    fitted = moments(features)
    factor = _factor(real)
    directions, values, _ = np.linalg.svd(factor.T @ _factor(fitted), full_matrices=False)
    kept = values > len(values) * np.finfo(np.float64).eps * values[0]
    centred = features.astype(np.float64) - fitted.mean
    common = centred @ (factor @ (directions[:, kept] / np.sqrt(values[kept])))
    squares = np.square(centred).sum(axis=1) - np.square(common).sum(axis=1)
    return 2 * centred @ (fitted.mean - real.mean) + squares


def _factor(fitted: Moments) -> Float64[np.ndarray, "d r"]:
    """A matrix that times its transpose is the covariance, up to directions whose variance is rounding."""
    if fitted.factor is not None:
        return fitted.factor
    variances, directions = np.linalg.eigh(fitted.covariance)
    kept = variances > len(variances) * np.finfo(np.float64).eps * variances[-1]
    return directions[:, kept] * np.sqrt(variances[kept])
