"""Centralised features equal a twin's; their algebra."""

import numpy as np
import pytest

from reid.centralisation import centralised
from reid.metrics import distance_matrix, evaluate
from tests.reference import centralisation as slow


def units(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def cloud(seed, count=40, size=6):
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (2, 2), (4, 2), (6, 6), (60, 60)])
@pytest.mark.parametrize("seed", range(4))
def test_equals_its_twin(seed, k1, k2):
    features = cloud(seed)
    expected = slow.sums(units(features.astype(float)), k1, k2)
    np.testing.assert_allclose(centralised(features, k1, k2, unit=False), expected, atol=1e-5)
    np.testing.assert_allclose(centralised(features, k1, k2), units(expected), atol=1e-5)


def test_two_that_are_nearest_to_each_other_become_one_and_a_loner_stays():
    # 0 and 1 are a pair; 2's nearest is 1, but not the other way round.
    features = np.array([[1.0, 0.0], [0.8, 0.6], [-0.6, 0.8]])
    middle = np.array([1.8, 0.6]) / np.hypot(1.8, 0.6)
    np.testing.assert_allclose(centralised(features, 1, 1), [middle, middle, features[2]], atol=1e-6)
    np.testing.assert_allclose(centralised(features, 1, 1, unit=False)[0], [1.8, 0.6], atol=1e-6)


def test_with_all_as_neighbours_all_become_their_mean():
    features = cloud(0, 12)
    mean = units(features.astype(float)).mean(axis=0)
    np.testing.assert_allclose(centralised(features, 11, 11), np.tile(mean / np.linalg.norm(mean), (12, 1)), atol=1e-5)


def test_lengths_of_the_features_do_not_matter():
    features = cloud(1)
    scaled = features * np.random.default_rng(0).uniform(0.1, 10, (len(features), 1)).astype(np.float32)
    np.testing.assert_allclose(centralised(scaled), centralised(features), atol=1e-5)


def test_order_and_rotation_go_through():
    features = cloud(2)
    order = np.random.default_rng(0).permutation(len(features))
    np.testing.assert_allclose(centralised(features[order]), centralised(features)[order], atol=1e-6)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0].astype(np.float32)
    np.testing.assert_allclose(centralised(features @ turn), centralised(features) @ turn, atol=1e-5)


def test_results_have_length_1_and_inputs_are_left_as_they_are():
    features = cloud(3)
    before = features.copy()
    np.testing.assert_allclose(np.linalg.norm(centralised(features), axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(features, before)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_and_precision_do_not_matter(block):
    features = cloud(4)
    np.testing.assert_array_equal(centralised(features, block=block), centralised(features))
    np.testing.assert_allclose(centralised(features.astype(float)), centralised(features), atol=1e-6)


def test_copies_centralise_to_themselves():
    features = np.repeat(cloud(5, 5), 8, axis=0)
    np.testing.assert_allclose(centralised(features), units(features), atol=1e-6)


def test_it_helps_where_persons_are_clusters():
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(30), 12)
    features = (rng.normal(size=(30, 24))[pids] + rng.normal(size=(360, 24))).astype(np.float32)
    query = np.arange(360) % 4 == 0
    labels = pids[query], pids[~query], np.zeros(90, int), np.ones(270, int)

    def score(features):
        return evaluate(distance_matrix(features[query], features[~query], "cosine"), *labels).mAP

    before, after = score(features), score(both(features, query))
    assert after > before + 0.02


def both(features, query):
    """Query and gallery, each centralised on its own."""
    found = np.empty_like(features)
    found[query], found[~query] = centralised(features[query]), centralised(features[~query])
    return found


def test_one_image_is_its_own_centre():
    np.testing.assert_allclose(centralised(np.array([[3.0, 4.0]])), [[0.6, 0.8]], atol=1e-6)


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="no features to centralise"):
        centralised(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="k1 2, k2 3: k2 must be from 1 to k1"):
        centralised(np.zeros((2, 3)), 2, 3)
    with pytest.raises(ValueError, match="image 1: its features are not finite"):
        centralised(np.array([[0.0], [np.nan]]))
