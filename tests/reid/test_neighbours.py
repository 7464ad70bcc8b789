"""The nearest images are those that sorting all distances would find."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.metrics import distance_matrix, pair_distances
from reid.neighbours import find_neighbours, unit_vectors


def by_sorting(features, count, metric):
    distances = distance_matrix(features, features, metric)
    return np.argsort(distances, axis=1, kind="stable")[:, :count], distances.max(axis=1)


@st.composite
def clouds(draw):
    """Features with copies among them and sizes of all kinds, so that some distances are equal and others nearly so."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 30)), draw(st.integers(1, 8))
    features = rng.integers(-3, 4, shape) * 1.0 if draw(st.booleans()) else rng.normal(size=shape)
    features = features[rng.integers(0, len(features), len(features))] if draw(st.booleans()) else features
    features = features * draw(st.sampled_from([1e-3, 1.0, 1e3])) + draw(st.sampled_from([0.0, 1.0]))
    return features.astype(draw(st.sampled_from([np.float32, np.float64])))


@settings(deadline=None, max_examples=200)
@given(clouds(), st.integers(1, 12), st.sampled_from(["euclidean", "cosine"]), st.integers(1, 9))
def test_equals_sorting(features, count, metric, block):
    found = find_neighbours(features, count, metric, block)
    nearest, farthest = by_sorting(features, count, metric)
    distances = distance_matrix(features, features, metric)
    taken = np.take_along_axis(distances, found.nearest, axis=1)
    rounding = 1e-13 if metric == "cosine" else 1e-13 * np.square(features).sum(axis=1).max()
    np.testing.assert_allclose(taken, np.take_along_axis(distances, nearest, axis=1), atol=rounding, rtol=1e-6)
    np.testing.assert_allclose(found.farthest, farthest, atol=rounding, rtol=1e-6)
    assert all(len(set(row)) == len(row) for row in found.nearest.tolist())


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_near_ties_that_float32_products_confuse_are_told_apart(metric):
    # 500 directions within 1e-4 of one another: products of length-1 vectors in float32 err by as much as they differ.
    rng = np.random.default_rng(0)
    features = (rng.normal(size=64) + 1e-4 * rng.normal(size=(500, 64))).astype(np.float32)
    exact = np.square(features[:, None].astype(np.float64) - features).sum(axis=2)
    if metric == "cosine":
        units = features / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
        exact = np.square(units[:, None] - units).sum(axis=2) / 2
    found = find_neighbours(features, 5, metric)
    distances = np.take_along_axis(exact, found.nearest, axis=1)
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :5], rtol=1e-4, atol=1e-15)
    products = -(features @ features.T) if metric == "cosine" else distances_in_float32(features)
    rough = np.argsort(products, axis=1)[:, :5]
    assert (rough != found.nearest).mean() > 0.5  # or the test would not need what it tests


def distances_in_float32(features):
    squares = np.square(features).sum(axis=1)
    return squares[:, None] + squares - 2 * features @ features.T


@pytest.mark.parametrize(
    ("metric", "shift", "outliers"),
    [("euclidean", 0, 1e4), ("euclidean", 1e3, 1), ("cosine", 0, 1e4), ("cosine", 30, 1)],
)
def test_few_distances_are_computed_even_for_strange_features(monkeypatch, metric, shift, outliers):
    features = shift + np.random.default_rng(0).normal(size=(300, 32))
    features[:2] *= outliers
    computed = []

    def counted(features, squares, first, second, metric):
        computed.append(len(first))
        return pair_distances(features, squares, first, second, metric)

    monkeypatch.setattr("reid.neighbours.pair_distances", counted)
    found = find_neighbours(features.astype(np.float32), 5, metric)
    assert 6 * 300 <= sum(computed) < 12 * 300
    np.testing.assert_array_equal(found.nearest, by_sorting(features.astype(np.float32), 5, metric)[0])


def test_copies_come_in_their_order():
    features = np.array([[0.0], [5.0], [0.0], [0.0], [1.0]])
    found = find_neighbours(features, 4)
    assert found.nearest.tolist() == [[0, 2, 3, 4], [1, 4, 0, 2], [0, 2, 3, 4], [0, 2, 3, 4], [4, 0, 2, 3]]
    assert found.farthest.tolist() == [25, 25, 25, 25, 16]


def test_a_feature_of_zeros_is_at_cosine_distance_1_from_all():
    degrees = np.radians([0.0, 80.0, 165.0])
    features = np.concatenate([np.zeros((1, 2)), np.stack([np.cos(degrees), np.sin(degrees)], axis=1)])
    assert find_neighbours(features, 4, "cosine").nearest.tolist() == [
        [0, 1, 2, 3],
        [1, 2, 0, 3],
        [2, 1, 3, 0],
        [3, 2, 0, 1],
    ]
    for count in (1, 2, 3):
        whole = find_neighbours(features, 4, "cosine").nearest[1:, :count]
        np.testing.assert_array_equal(find_neighbours(features, count, "cosine").nearest[1:], whole)


def test_unit_vectors():
    np.testing.assert_allclose(unit_vectors(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="image 1: its features are not finite; extract"):
        find_neighbours(np.array([[0.0], [np.nan]]), 1)
    with pytest.raises(ValueError, match="euclidean or cosine"):
        find_neighbours(np.zeros((2, 1)), 1, "manhattan")
    with pytest.raises(ValueError, match="block 0"):
        find_neighbours(np.zeros((2, 1)), 1, block=0)
