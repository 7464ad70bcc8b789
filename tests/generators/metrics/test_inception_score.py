"""The Inception Score against torch-fidelity, arithmetic, and a loop; the order of the images counts."""

import math

import numpy as np
import pytest
import torch

from generators.metrics.inception_score import divergences, inception_score
from tests.reference.set_metrics import inception_score as slow


def logits(count, classes=7, seed=0, strength=2.0):
    return strength * np.random.default_rng(seed).standard_normal((count, classes)).astype(np.float32)


@pytest.mark.parametrize(("count", "splits"), [(50, 10), (53, 10), (10, 10), (20, 1)])
def test_as_torch_fidelity_unshuffled(count, splits):
    from torch_fidelity.metric_isc import isc_features_to_metric

    values = logits(count)
    expected = isc_features_to_metric(torch.from_numpy(values), splits, shuffle=False)
    mean, deviation = inception_score(values, splits)
    assert mean == pytest.approx(expected["inception_score_mean"], rel=1e-12)
    assert deviation == pytest.approx(expected["inception_score_std"], rel=1e-9, abs=1e-12)


def test_one_split_as_a_loop():
    values = logits(15)
    weights = np.exp(values.astype(np.float64))
    expected = slow((weights / weights.sum(axis=1, keepdims=True)).tolist())
    assert inception_score(values, splits=1) == (pytest.approx(expected, rel=1e-12), 0)


def test_sure_and_varied_is_the_number_of_classes_and_unsure_or_alike_is_one():
    sure = 100 * np.eye(4, dtype=np.float32)
    assert inception_score(sure, splits=1)[0] == pytest.approx(4)
    assert inception_score(np.zeros((8, 4), dtype=np.float32), splits=2)[0] == pytest.approx(1)
    assert inception_score(np.repeat(logits(1), 8, axis=0), splits=2)[0] == pytest.approx(1)


def test_two_classes_by_hand():
    """Probabilities 3/4, 1/4 and the reverse: the divergence from a half and a half is log 2 less an entropy."""
    values = np.log(np.array([[3.0, 1.0], [1.0, 3.0]]))
    divergence = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    assert inception_score(values, splits=1)[0] == pytest.approx(math.exp(divergence), rel=1e-12)


def test_splits_are_contiguous():
    """Sorted by class, each split has one class and scores 1; interleaved, each has both and scores 2."""
    pair = 100 * np.eye(2, dtype=np.float32)
    assert inception_score(pair.repeat(5, axis=0), splits=2) == pytest.approx((1, 0))
    assert inception_score(np.tile(pair, (5, 1)), splits=5) == pytest.approx((2, 0))
    mixed = np.concatenate([pair.repeat(2, axis=0), np.tile(pair, (2, 1))])
    assert inception_score(mixed[[0, 1, 4, 5]], splits=2) == pytest.approx((1.5, 0.5))


def test_what_is_added_to_all_logits_of_an_image_does_not_count_and_nothing_overflows():
    values = logits(20)
    shifted = values + np.linspace(-1000, 1000, 20, dtype=np.float32)[:, None].round()
    assert inception_score(shifted) == pytest.approx(inception_score(values), rel=1e-3)


def test_too_few_images():
    with pytest.raises(ValueError, match="9 images cannot be cut into 10 splits"):
        inception_score(logits(9))


def test_the_score_is_that_of_the_divergences_of_its_splits():
    values = logits(23)
    each, split = divergences(values, 4)
    assert np.bincount(split).tolist() == [5, 6, 6, 6]
    assert (np.diff(split) >= 0).all()
    scores = [math.exp(each[split == number].mean()) for number in range(4)]
    assert inception_score(values, 4) == pytest.approx((np.mean(scores), np.std(scores)))
