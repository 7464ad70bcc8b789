"""The kernel distance against torch-fidelity on the same subsets, a double loop, and its algebra."""

import numpy as np
import pytest
import torch

from generators.metrics.kernel_distance import kernel_distance, kernel_influences
from tests.reference.set_metrics import discrepancy


def sample(count, seed=0, shift=0.0, width=6):
    return np.random.default_rng(seed).standard_normal((count, width)) + shift


def test_as_torch_fidelity_on_the_same_subsets():
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = sample(60), sample(45, seed=1, shift=0.2)
    options = {"kid_subsets": 7, "kid_subset_size": 20, "rng_seed": 11, "verbose": False}
    expected = kid_features_to_metric(torch.from_numpy(a), torch.from_numpy(b), **options)
    mean, deviation = kernel_distance(a, b, subsets=7, size=20, seed=11)
    assert mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-12)
    assert deviation == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-12)
    assert kernel_distance(a, b, subsets=7, size=20, seed=12) != (mean, deviation)


def test_a_subset_of_everything_is_the_double_loop():
    a, b = sample(9), sample(9, seed=1, shift=0.5)
    mean, deviation = kernel_distance(a, b, subsets=3, size=9, seed=0)
    assert mean == pytest.approx(discrepancy(a.tolist(), b.tolist()), rel=1e-10)
    assert deviation < 1e-12


def test_two_images_a_side_by_hand():
    """k(x, y) = (x y + 1)^3 in one dimension."""
    a, b = np.array([[0.0], [1.0]]), np.array([[2.0], [1.0]])
    expected = (2 * 1**3 + 2 * (2 * 1 + 1) ** 3) / 2 - 2 * (1 + 1 + (2 + 1) ** 3 + (1 + 1) ** 3) / 4
    assert kernel_distance(a, b, subsets=1, size=2, seed=0) == pytest.approx((expected, 0))


def test_samples_of_one_distribution_are_at_zero_on_average():
    """Unbiased, unlike FID: also for few images, and of either sign."""
    estimates = [kernel_distance(sample(20, s), sample(20, s + 500), subsets=1, size=20, seed=0)[0] for s in range(200)]
    assert min(estimates) < 0 < max(estimates)
    assert abs(np.mean(estimates)) < 3 * np.std(estimates) / np.sqrt(200)


def test_symmetric_for_whole_sets_and_growing_with_a_shift():
    real = sample(40)
    distances = [
        kernel_distance(sample(40, seed=1, shift=shift), real, subsets=1, size=40, seed=0)[0]
        for shift in (0, 0.3, 0.6, 1.2)
    ]
    assert (np.diff(distances) > 0.01).all()
    other = sample(40, seed=1, shift=1.2)
    assert kernel_distance(real, other, subsets=1, size=40, seed=0)[0] == pytest.approx(distances[-1], rel=1e-12)


def test_single_precision_features_lose_nothing_on_the_way():
    a, b = sample(30).astype(np.float32), sample(30, seed=1, shift=0.01).astype(np.float32)
    doubles = kernel_distance(a.astype(np.float64), b.astype(np.float64), subsets=5, size=20, seed=0)
    assert kernel_distance(a, b, subsets=5, size=20, seed=0) == doubles


def test_too_few_images():
    with pytest.raises(ValueError, match="30 and 10 images hold no subsets of 20"):
        kernel_distance(sample(30), sample(10), size=20, seed=0)


def test_influences_are_the_derivative_by_the_weight_of_each_image():
    """Of the estimate as a double loop over different images, weighted."""
    real, generated = sample(15), sample(12, seed=1, shift=0.5)
    kernel = (generated @ generated.T / 6 + 1) ** 3
    np.fill_diagonal(kernel, 0)
    across = ((generated @ real.T / 6 + 1) ** 3).mean(axis=1)

    def estimate(weights):
        pairs = np.outer(weights, weights)
        np.fill_diagonal(pairs, 0)
        return (pairs * kernel).sum() / pairs.sum() - 2 * weights @ across / weights.sum()

    slopes = []
    for index in range(12):
        step = np.zeros(12)
        step[index] = 1e-5
        slopes.append((estimate(1 + step) - estimate(1 - step)) / 2e-5 * 12)
    found = kernel_influences(real, generated, seed=0)
    np.testing.assert_allclose(found - found.mean(), np.asarray(slopes) - np.mean(slopes), rtol=1e-5)


def test_influences_of_a_sample_are_near_those_of_all_in_any_blocks(monkeypatch):
    real, generated = sample(700), sample(600, seed=1, shift=0.5)
    whole = kernel_influences(real, generated, seed=0)
    some = kernel_influences(real, generated, most=300, seed=0)
    assert np.corrcoef(whole, some)[0, 1] > 0.98
    monkeypatch.setattr("generators.metrics.kernel_distance.BLOCK", 64)
    np.testing.assert_allclose(kernel_influences(real, generated, seed=0), whole, rtol=1e-10)
