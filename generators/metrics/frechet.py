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


def _factor(fitted: Moments) -> Float64[np.ndarray, "d r"]:
    """A matrix that times its transpose is the covariance, up to directions whose variance is rounding."""
    if fitted.factor is not None:
        return fitted.factor
    variances, directions = np.linalg.eigh(fitted.covariance)
    kept = variances > len(variances) * np.finfo(np.float64).eps * variances[-1]
    return directions[:, kept] * np.sqrt(variances[kept])
