"""The Fréchet distance against torch-fidelity, scipy's matrix root and closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from generators.metrics.frechet import Moments, frechet_distance, frechet_influences, moments
from tests.reference.set_metrics import frechet


def sample(count, width=12, seed=0, shift=0.0):
    """Correlated features."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, width)) @ rng.standard_normal((width, width)) + shift


def distance(a, b):
    return frechet_distance(moments(a), moments(b))


def test_moments_are_those_of_numpy_in_double_precision():
    features = sample(30).astype(np.float32) + np.float32(1e4)  # the mean of single precision would be off by 1e-3
    found = moments(features)
    assert found.count == 30
    np.testing.assert_allclose(found.mean, features.astype(np.float64).mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-9)


@pytest.mark.parametrize(("count", "other"), [(200, 150), (40, 8), (5, 4)], ids=["full rank", "one low", "both low"])
def test_as_torch_fidelity_and_scipy(count, other):
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    a, b = sample(count), sample(other, seed=1, shift=0.3)
    mine = distance(a, b)
    theirs = [{"mu": side.mean(axis=0), "sigma": np.cov(side, rowvar=False)} for side in (a, b)]
    expected = fid_statistics_to_metric(*theirs, verbose=False)["frechet_inception_distance"]
    assert mine == pytest.approx(expected, rel=1e-6)
    assert mine == pytest.approx(frechet(a, b), rel=1e-6)


def test_gaussians_of_independent_directions_in_closed_form():
    """|m - n|^2 + sum (sqrt a - sqrt b)^2."""
    a = Moments(np.array([1.0, 2.0, 3.0]), np.diag([4.0, 9.0, 0.0]), 10)
    b = Moments(np.array([1.0, 0.0, 3.5]), np.diag([1.0, 16.0, 0.25]), 10)
    expected = (0 + 2**2 + 0.5**2) + ((2 - 1) ** 2 + (3 - 4) ** 2 + (0 - 0.5) ** 2)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_covariances_that_do_not_commute_in_closed_form():
    """In two dimensions tr (A B)^(1/2) = sqrt(tr A B + 2 sqrt(det A B))."""
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, -0.5], [-0.5, 4.0]])
    root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt((2 * 3 - 1) * (1 * 4 - 0.25)))
    zero = np.zeros(2)
    found = frechet_distance(Moments(zero, a, 2), Moments(zero, b, 2))
    assert found == pytest.approx(2 + 3 + 1 + 4 - 2 * root, rel=1e-12)


@pytest.mark.parametrize("count", [100, 6], ids=["full rank", "low rank"])
def test_a_set_is_at_no_distance_from_itself_in_any_order_and_basis(count):
    features = sample(count)
    scale = np.trace(moments(features).covariance)
    assert distance(features, features) < 1e-12 * scale
    assert distance(features, features[::-1]) < 1e-12 * scale
    basis = np.linalg.qr(sample(12, seed=9))[0]
    other = sample(count, seed=1)
    assert distance(features @ basis, other @ basis) == pytest.approx(distance(features, other), rel=1e-9)


def test_either_side_may_be_the_real_one():
    a, b = sample(50), sample(70, seed=1, shift=1.0)
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-12)


def test_a_shift_adds_its_square_and_noise_adds_distance():
    features = sample(400)
    assert distance(features + 0.5, features) == pytest.approx(12 * 0.5**2, rel=1e-9)
    noise = np.random.default_rng(5).standard_normal(features.shape)
    distances = [distance(features + strength * noise, features) for strength in (0, 0.5, 1, 2, 4)]
    assert (np.diff(distances) > 0.1).all()


def test_one_image_has_no_covariance():
    with pytest.raises(ValueError, match="1 images have no covariance"):
        moments(sample(1))


@pytest.mark.parametrize(("count", "other"), [(5, 4), (5, 40), (40, 5), (12, 11)])
def test_few_images_are_their_own_factor_and_need_no_decomposition_of_their_covariance(count, other, monkeypatch):
    a, b = moments(sample(count)), moments(sample(other, seed=1, shift=0.3))
    for fitted in (a, b):
        assert (fitted.factor is not None) == (fitted.count < 12)
        if fitted.factor is not None:
            np.testing.assert_allclose(fitted.factor @ fitted.factor.T, fitted.covariance, atol=1e-12)
    found = frechet_distance(a, b)
    assert found == pytest.approx(frechet_distance(replace(a, factor=None), replace(b, factor=None)), rel=1e-9)
    decomposed, decompose = [], np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: decomposed.append(1) or decompose(matrix))
    assert frechet_distance(a, b) == found
    assert len(decomposed) == (count >= 12) + (other >= 12)


def weighted(features, weights):
    """Moments of images that count as often as their weights say."""
    share = weights / weights.sum()
    mean = share @ features
    centred = features - mean
    return Moments(mean, centred.T @ (centred * share[:, None]), len(features))


def test_influences_are_the_derivative_by_the_weight_of_each_image():
    real, features = moments(sample(60)), sample(80, seed=1, shift=0.4)
    found = frechet_influences(real, features)
    step, slopes = 1e-4, []
    for index in range(len(features)):
        ends = []
        for sign in (1, -1):
            weights = np.ones(len(features))
            weights[index] += sign * step
            ends.append(frechet_distance(real, weighted(features, weights)))
        slopes.append((ends[0] - ends[1]) / (2 * step) * len(features))
    scale = np.abs(slopes).max()
    np.testing.assert_allclose(found - found.mean(), np.asarray(slopes) - np.mean(slopes), atol=0.03 * scale)
    assert np.corrcoef(found, slopes)[0, 1] > 0.999


def test_a_shift_is_felt_where_it_points_to():
    """Of equal covariances the distance is that of the means alone: twice the shift times the image's deviation."""
    features = sample(500)
    found = frechet_influences(moments(features - 0.5), features)
    expected = 2 * (features - features.mean(axis=0)) @ np.full(12, 0.5)
    np.testing.assert_allclose(found, expected, atol=1e-8)
