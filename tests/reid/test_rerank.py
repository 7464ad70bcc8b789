"""Re-ranked distances equal torchreid's and those of a twin that follows the equations; their algebra."""

from functools import partial
from unittest import mock

import numpy as np
import pytest

from reid.metrics import distance_matrix, evaluate, evaluate_blocks
from reid.rerank import rerank, rerank_blocks
from reid.torchreid_api import torchreid
from tests.reference import reranking as slow


def crowd(seed, num_query, num_gallery, spread=0.6, size=8):
    """Features of persons with about eight images each."""
    rng = np.random.default_rng(seed)
    pids = rng.integers(0, max(2, (num_query + num_gallery) // 8), num_query + num_gallery)
    centres = rng.normal(size=(pids.max() + 1, size))
    features = (centres[pids] + spread * rng.normal(size=(len(pids), size))).astype(np.float32)
    return features[:num_query], features[num_query:], pids[:num_query], pids[num_query:]


def torchreids(query, gallery, metric, k1, k2, lambda_value):
    pairs = (query, gallery), (query, query), (gallery, gallery)
    matrices = [distance_matrix(*pair, metric) for pair in pairs]
    return torchreid().utils.re_ranking(*matrices, k1=k1, k2=k2, lambda_value=lambda_value)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("seed", range(12))
def test_equals_torchreid(seed, metric):
    rng = np.random.default_rng(seed)
    query, gallery, _, _ = crowd(seed, int(rng.integers(1, 30)), int(rng.integers(1, 90)), rng.uniform(0.2, 1))
    options = int(rng.integers(1, 30)), int(rng.integers(1, 9)), float(rng.uniform(0, 1))
    expected = torchreids(query, gallery, metric, *options)
    found = rerank(query, gallery, metric, *options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)  # its sums in float32 err by 5e-7


def test_equals_torchreid_on_a_larger_set_with_its_defaults():
    query, gallery, _, _ = crowd(0, 150, 650, size=64)
    expected = torchreids(query, gallery, "euclidean", 20, 6, 0.3)
    np.testing.assert_allclose(rerank(query, gallery), expected, rtol=0, atol=5e-7)
    assert (expected < 0.9).mean() > 0.01  # of which a few share neighbours


@pytest.mark.parametrize("k2", [1, 3])
def test_equals_torchreid_with_copies_once_its_sort_is_stable(k2):
    rng = np.random.default_rng(0)
    features = rng.integers(0, 3, (60, 2)).astype(np.float32)  # some have more copies than neighbours
    with mock.patch("numpy.argsort", partial(np.argsort, kind="stable")):
        expected = torchreids(features[:20], features[20:], "euclidean", 4, k2, 0.3)
    np.testing.assert_allclose(rerank(features[:20], features[20:], k1=4, k2=k2), expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (4, 1), (5, 3), (6, 4), (2, 6), (40, 6), (40, 40)])
def test_equals_its_twin(k1, k2):
    query, gallery, _, _ = crowd(3, 5, 19)
    everything = np.concatenate([query, gallery])
    distances = distance_matrix(everything, everything).astype(float).tolist()
    expected = slow.rerank(distances, 5, k1, k2, 0.3)
    np.testing.assert_allclose(rerank(query, gallery, k1=k1, k2=k2), expected, atol=1e-6)


def test_equals_its_twin_with_ties():
    features = np.random.default_rng(1).integers(0, 3, (24, 2)).astype(np.float32)
    distances = distance_matrix(features, features).astype(float).tolist()
    found = rerank(features[:6], features[6:], k1=5, k2=3)
    np.testing.assert_allclose(found, slow.rerank(distances, 6, 5, 3, 0.3), atol=1e-6)


def test_with_lambda_1_the_ranking_stays():
    query, gallery, _, _ = crowd(1, 10, 60)
    distances = distance_matrix(query, gallery)
    found = rerank(query, gallery, lambda_value=1.0)
    np.testing.assert_array_equal(np.argsort(found, axis=1), np.argsort(distances, axis=1))


def test_with_lambda_0_strangers_are_at_distance_1_and_copies_at_0():
    rng = np.random.default_rng(2)
    pids = np.repeat(np.arange(8), 12)  # more images of each than neighbours
    features = 10 * rng.normal(size=(8, 6))[pids] + rng.normal(size=(96, 6))
    query = np.arange(0, 96, 12)
    found = rerank(features[query], features, k1=5, k2=3, lambda_value=0.0)
    np.testing.assert_allclose(found[np.arange(8), query], 0, atol=1e-6)
    assert (found[pids[query][:, None] != pids] == 1).all()
    assert (found >= 0).all()


def test_a_permuted_gallery_permutes_the_distances():
    query, gallery, _, _ = crowd(4, 10, 60)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_allclose(rerank(query, gallery[order]), rerank(query, gallery)[:, order], atol=1e-6)


def test_scaling_and_moving_all_features_changes_nothing():
    query, gallery, _, _ = crowd(5, 10, 60)
    moved = rerank(4 * query + 1, 4 * gallery + 1)
    np.testing.assert_allclose(moved, rerank(query, gallery), atol=1e-5)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_do_not_matter(block):
    query, gallery, query_pids, gallery_pids = crowd(6, 20, 80)
    labels = query_pids, gallery_pids, np.zeros(20, int), np.ones(80, int)
    whole = rerank(query, gallery)
    blocks = list(rerank_blocks(query, gallery, block=block))
    assert [len(rows) for rows in blocks] == [min(block, 20 - start) for start in range(0, 20, block)]
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-7)
    assert evaluate_blocks(iter(blocks), *labels).mAP == pytest.approx(evaluate(whole, *labels).mAP)


def test_float64_features_give_the_same():
    query, gallery, _, _ = crowd(7, 10, 60)
    np.testing.assert_allclose(rerank(query.astype(float), gallery.astype(float)), rerank(query, gallery), atol=1e-7)


def test_it_helps_where_persons_are_clusters():
    query, gallery, query_pids, gallery_pids = crowd(8, 60, 400, spread=1.0, size=24)
    labels = query_pids, gallery_pids, np.zeros(60, int), np.ones(400, int)
    before = evaluate(distance_matrix(query, gallery), *labels).mAP
    assert evaluate(rerank(query, gallery, k1=7, k2=3), *labels).mAP > before + 0.02


def test_equal_features_are_no_division_by_zero():
    assert rerank(np.ones((2, 3)), np.ones((4, 3))).tolist() == [[0.0] * 4] * 2


def test_inputs_are_left_as_they_are():
    query, gallery, _, _ = crowd(9, 10, 60)
    copies = query.copy(), gallery.copy()
    rerank(query, gallery)
    np.testing.assert_array_equal(query, copies[0])
    np.testing.assert_array_equal(gallery, copies[1])


def test_mistakes_are_explained():
    some = np.zeros((2, 3))
    with pytest.raises(ValueError, match="0 queries and 2 gallery images"):
        rerank(np.zeros((0, 3)), some)
    with pytest.raises(ValueError, match="same network"):
        rerank(some, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="k1 0"):
        rerank(some, some, k1=0)
    with pytest.raises(ValueError, match=r"lambda_value 1\.5"):
        rerank(some, some, lambda_value=1.5)
    with pytest.raises(ValueError, match="image 2: its features are not finite"):
        rerank(some, np.full((2, 3), np.inf))
    with pytest.raises(ValueError, match="euclidean or cosine"):
        rerank(some, some, "manhattan")
