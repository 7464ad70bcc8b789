"""Evaluation equals torchreid's and an obvious twin; its algebra."""

import contextlib
import io

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid import metrics
from reid.metrics import (
    Gallery,
    distance_blocks,
    distance_matrix,
    evaluate,
    evaluate_blocks,
    evaluate_features,
    pair_distances,
)
from reid.torchreid_api import torchreid
from tests.reference import ranking


@st.composite
def problems(draw, junk=False, grey_levels=None):
    """Distances, identities and cameras; few values of each, so that every case of the protocol occurs."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_query, num_gallery = draw(st.integers(1, 8)), draw(st.integers(1, 40))
    identities = draw(st.integers(1, 6))
    if grey_levels is None:
        distances = rng.permutation(num_query * num_gallery).reshape(num_query, num_gallery) / 7
    else:
        distances = rng.integers(0, grey_levels, (num_query, num_gallery)).astype(float)
    gallery_pids = rng.integers(-1 if junk else 0, identities, num_gallery)
    query_pids = rng.integers(0, identities, num_query)
    return (
        distances.astype(draw(st.sampled_from([np.float32, np.float64]))),
        query_pids,
        gallery_pids,
        rng.integers(0, 3, num_query),
        rng.integers(0, 3, num_gallery),
    )


def torchreid_numbers(problem, max_rank):
    with contextlib.redirect_stdout(io.StringIO()):
        return torchreid().metrics.evaluate_rank(*problem, max_rank=max_rank, use_cython=False)


def solvable(problem):
    _, query_pids, gallery_pids, query_camids, gallery_camids = problem
    same = (query_pids[:, None] == gallery_pids) & (query_camids[:, None] != gallery_camids)
    return same.any()


@settings(deadline=None, max_examples=150)
@given(problems())
def test_equals_torchreid(problem):
    assume(solvable(problem))
    found = evaluate(*problem, max_rank=10)
    try:
        cmc, mean_ap = torchreid_numbers(problem, max_rank=10)
    except ValueError:  # its CMC rows have different lengths where a small gallery loses images
        assume(False)
    assert found.mAP == pytest.approx(mean_ap, abs=1e-6)
    np.testing.assert_allclose(found.cmc[: len(cmc)], cmc, atol=1e-6)


def test_equals_torchreid_on_a_larger_gallery():
    rng = np.random.default_rng(0)
    query_pids, gallery_pids = rng.integers(0, 40, 60), rng.integers(0, 50, 700)
    features = rng.normal(size=(760, 16)) + 0.6 * rng.normal(size=(50, 16))[np.concatenate([query_pids, gallery_pids])]
    distances = distance_matrix(features[:60].astype(np.float32), features[60:].astype(np.float32))
    problem = distances, query_pids, gallery_pids, rng.integers(0, 6, 60), rng.integers(0, 6, 700)
    cmc, mean_ap = torchreid_numbers(problem, max_rank=50)
    found = evaluate(*problem)
    assert 0.05 < mean_ap < 0.95
    assert found.mAP == pytest.approx(mean_ap, abs=1e-6)
    np.testing.assert_allclose(found.cmc, cmc, atol=1e-6)


@settings(deadline=None, max_examples=150)
@given(problems(junk=True, grey_levels=4))
def test_equals_its_twin_with_ties_and_junk(problem):
    _, query_pids, gallery_pids, query_camids, gallery_camids = problem
    assume(((query_pids[:, None] == gallery_pids) & (query_camids[:, None] != gallery_camids)).any())
    mean_ap, cmc, mean_inp, ap = ranking.evaluate(*problem, max_rank=12)
    found = evaluate(*problem, max_rank=12)
    assert found.mAP == pytest.approx(mean_ap)
    assert found.mINP == pytest.approx(mean_inp)
    np.testing.assert_allclose(found.cmc, cmc)
    np.testing.assert_allclose(found.ap, ap)
    assert np.nanmean(found.rank1) == pytest.approx(cmc[0])


@settings(deadline=None, max_examples=100)
@given(problems(junk=True, grey_levels=4), st.integers(1, 50))
def test_rankings_are_those_of_the_twin(problem, count):
    distances, query_pids, gallery_pids, query_camids, gallery_camids = problem
    gallery = Gallery.of(gallery_pids, gallery_camids)
    for row, pid, camid in zip(distances, query_pids.tolist(), query_camids.tolist(), strict=True):
        expected = ranking.ranking(row, pid, gallery_pids, camid, gallery_camids)
        assert gallery.ranking(row, pid, camid, count).tolist() == expected[:count]
        hits = [place for place, image in enumerate(expected) if gallery_pids[image] == pid]
        assert gallery.places(row, pid, camid).tolist() == hits


@settings(deadline=None, max_examples=50)
@given(problems(junk=True))
def test_only_the_order_of_distances_counts(problem):
    distances, *labels = problem
    assume(solvable(problem))
    warped = np.exp(distances / 100)
    assume(all(len(np.unique(row)) == len(row) for row in warped))
    np.testing.assert_array_equal(evaluate(distances, *labels).ap, evaluate(warped, *labels).ap)


def test_junk_is_as_if_it_were_not_there():
    problem = next(filter(solvable, (case_with_junk(seed) for seed in range(100))))
    distances, query_pids, gallery_pids, query_camids, gallery_camids = problem
    keep = gallery_pids != -1
    without = evaluate(distances[:, keep], query_pids, gallery_pids[keep], query_camids, gallery_camids[keep])
    np.testing.assert_array_equal(evaluate(*problem).ap, without.ap)


def case_with_junk(seed):
    rng = np.random.default_rng(seed)
    return (
        rng.random((5, 30)),
        rng.integers(0, 4, 5),
        rng.integers(-1, 4, 30),
        rng.integers(0, 2, 5),
        rng.integers(0, 2, 30),
    )


def test_values_by_hand():
    # One query, identity 1, camera 0. By distance: same camera (removed), a miss, a hit, a distractor, a hit.
    labels = np.array([1]), np.array([1, 2, 1, 0, 1]), np.array([0]), np.array([0, 0, 1, 1, 2])
    found = evaluate(np.array([[0.0, 1.0, 2.0, 3.0, 4.0]]), *labels, max_rank=6)
    assert found.mAP == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found.mINP == pytest.approx(2 / 4)
    assert found.cmc.tolist() == [0, 1, 1, 1, 1, 1]
    assert found.rank1.tolist() == [0]


def test_ties_go_to_the_first_in_the_gallery():
    labels = np.array([1]), np.array([2, 1]), np.array([0]), np.array([1, 1])
    assert evaluate(np.array([[1.0, 1.0]]), *labels).mAP == 1 / 2
    labels = np.array([1]), np.array([1, 2]), np.array([0]), np.array([1, 1])
    assert evaluate(np.array([[1.0, 1.0]]), *labels).mAP == 1


def test_queries_without_a_match_do_not_count():
    gallery = np.array([1, 2]), np.array([0, 0]), np.array([1, 1])
    found = evaluate(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([1, 9]), gallery[0], gallery[1], gallery[2])
    assert (found.mAP, found.num_valid) == (1, 1)
    assert np.isnan(found.ap).tolist() == np.isnan(found.rank1).tolist() == [False, True]


def test_a_junk_query_has_no_match():
    labels = np.array([1, -1]), np.array([1, -1]), np.array([0, 0]), np.array([1, 1])
    found = evaluate(np.array([[0.0, 1.0], [1.0, 0.0]]), *labels)
    assert (found.num_valid, found.ap[0]) == (1, 1)


def test_no_match_at_all_is_an_error():
    with pytest.raises(ValueError, match=r"none of the 1 queries .* check the identities"):
        evaluate(np.zeros((1, 2)), np.array([1]), np.array([1, 2]), np.array([0]), np.array([0, 0]))


def test_broken_distances_are_an_error():
    labels = np.array([1, 1]), np.array([1, 2]), np.array([0, 0]), np.array([1, 1])
    with pytest.raises(ValueError, match="query 1: a distance is not finite"):
        evaluate(np.array([[0.0, 1.0], [np.nan, 1.0]]), *labels)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_are_torchreids(metric):
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(7, 20)).astype(np.float32), rng.normal(size=(11, 20)).astype(np.float32)
    expected = torchreid().metrics.compute_distance_matrix(torch.from_numpy(query), torch.from_numpy(gallery), metric)
    np.testing.assert_allclose(distance_matrix(query, gallery, metric), expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("part_bytes", [1, 8 * 8 * 7, 2**20])
@pytest.mark.parametrize("block", [1, 7, 50, 99])
def test_distances_in_blocks_are_the_same(monkeypatch, block, part_bytes, metric):
    features = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    whole = distance_matrix(features, features[:30], metric)
    monkeypatch.setattr(metrics, "PART_BYTES", part_bytes)
    blocks = list(distance_blocks(features, features[:30], metric, block))
    assert [len(rows) for rows in blocks] == [min(block, 50 - start) for start in range(0, 50, block)]
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)
    assert whole.dtype == np.float32


def test_blocks_are_as_large_as_the_memory_that_they_may_take(monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 4 * 30 * 7)
    features = np.zeros((50, 8))
    assert [len(rows) for rows in distance_blocks(features, features[:30])] == [7] * 7 + [1]
    assert [rows.shape for rows in distance_blocks(features, np.zeros((400, 8)))] == [(1, 400)] * 50


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_to_oneself_are_0_and_the_matrix_is_symmetric(metric):
    features = 100 + np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    distances = distance_matrix(features, features, metric)
    assert (distances >= 0).all()
    np.testing.assert_allclose(np.diag(distances), 0, atol=1e-9)
    np.testing.assert_allclose(distances, distances.T, rtol=1e-6)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_of_pairs_are_entries_of_the_matrix(monkeypatch, metric):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 8)).astype(np.float32)
    first, second = rng.integers(0, 30, (2, 100))
    monkeypatch.setattr(metrics, "PART_BYTES", 8 * 8 * 7)
    found = pair_distances(features, metrics.squared_lengths(features), first, second, metric)
    np.testing.assert_allclose(found, distance_matrix(features, features, metric)[first, second], atol=1e-6)


def test_a_feature_of_zeros_is_at_cosine_distance_1():
    assert distance_matrix(np.zeros((1, 2)), np.array([[0.0, 0.0], [3.0, 4.0]]), "cosine").tolist() == [[1, 1]]


def crowd(seed, num_query=60, num_gallery=300):
    """Features of persons, identities and cameras, as `evaluate_features` takes them."""
    rng = np.random.default_rng(seed)
    query_pids, gallery_pids = rng.integers(1, 30, num_query), rng.integers(-1, 30, num_gallery)
    pids = np.concatenate([query_pids, gallery_pids])
    features = (rng.normal(size=(31, 16))[pids] + rng.normal(size=(len(pids), 16))).astype(np.float32)
    cameras = rng.integers(0, 6, num_query), rng.integers(0, 6, num_gallery)
    return features[:num_query], features[num_query:], query_pids, gallery_pids, *cameras


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("block", [None, 1, 7, 60, 1000])
def test_features_in_blocks_score_as_their_distance_matrix(block, metric):
    query, gallery, *labels = crowd(0)
    whole = evaluate(distance_matrix(query, gallery, metric), *labels)
    found = evaluate_features(query, gallery, *labels, metric, block)
    np.testing.assert_array_equal(found.ap, whole.ap)
    np.testing.assert_array_equal(found.cmc, whole.cmc)
    assert (found.mAP, found.mINP, found.num_valid) == (whole.mAP, whole.mINP, whole.num_valid)


def test_float64_features_score_the_same():
    query, gallery, *labels = crowd(1)
    found = evaluate_features(query.astype(np.float64), gallery.astype(np.float64), *labels)
    np.testing.assert_array_equal(found.ap, evaluate_features(query, gallery, *labels).ap)


@pytest.mark.parametrize("seed", range(5))
def test_a_permuted_gallery_scores_the_same(seed):
    query, gallery, query_pids, gallery_pids, query_camids, gallery_camids = crowd(seed)
    order = np.random.default_rng(0).permutation(len(gallery))
    found = evaluate_features(
        query, gallery[order], query_pids, gallery_pids[order], query_camids, gallery_camids[order]
    )
    before = evaluate_features(query, gallery, query_pids, gallery_pids, query_camids, gallery_camids)
    np.testing.assert_allclose(found.ap, before.ap)


def test_images_of_the_same_camera_change_nothing_for_their_own_queries():
    distances, query_pids, gallery_pids, query_camids, gallery_camids = case_with_junk(1)
    one = distances[:1], query_pids[:1], gallery_pids, query_camids[:1], gallery_camids
    more = (
        np.concatenate([distances[:1], np.zeros((1, 9))], axis=1),  # nearer than all others
        query_pids[:1],
        np.append(gallery_pids, [query_pids[0]] * 9),
        query_camids[:1],
        np.append(gallery_camids, [query_camids[0]] * 9),
    )
    assert evaluate(*more).ap.tolist() == evaluate(*one).ap.tolist()


def test_distractors_behind_all_hits_change_nothing_and_before_them_they_hurt():
    query, gallery, *labels = crowd(1)
    distances = distance_matrix(query, gallery)
    before = evaluate(distances, *labels)

    def with_distractors(place):
        query_pids, gallery_pids, query_camids, gallery_camids = labels
        return evaluate(
            np.concatenate([distances, np.full((60, 20), place, np.float32)], axis=1),
            query_pids,
            np.append(gallery_pids, np.zeros(20, int)),
            query_camids,
            np.append(gallery_camids, np.full(20, 7)),
        )

    np.testing.assert_array_equal(with_distractors(distances.max() + 1).ap, before.ap)
    assert (with_distractors(-1).ap < before.ap)[np.isfinite(before.ap)].all()
    assert np.nansum(with_distractors(-1).rank1) == 0


@pytest.mark.parametrize(("hits", "misses"), [(1, 0), (3, 5), (7, 100)])
def test_closed_forms(hits, misses):
    labels = np.array([1]), np.array([1] * hits + [2] * misses), np.array([0]), np.ones(hits + misses, int)
    count = hits + misses
    perfect = evaluate(np.arange(count, dtype=float)[None], *labels)
    assert (perfect.mAP, perfect.mINP, perfect.cmc[0]) == (1, 1, 1)
    worst = evaluate(-np.arange(count, dtype=float)[None], *labels)
    assert worst.mINP == pytest.approx(hits / count)
    assert worst.mAP == pytest.approx(np.mean([i / (misses + i) for i in range(1, hits + 1)]))
    # The first hit at once, the others last: INP counts the effort until the last one is found.
    row = np.concatenate([[-1.0], count + np.arange(hits - 1.0), np.arange(float(misses))])
    assert evaluate(row[None], *labels).mINP == pytest.approx(1.0 if hits == 1 else hits / count)


def test_cmc_rises_to_1_and_begins_with_rank_1():
    query, gallery, *labels = crowd(2)
    found = evaluate_features(query, gallery, *labels, max_rank=300)
    assert (np.diff(found.cmc) >= 0).all()
    assert found.cmc[0] == np.nanmean(found.rank1)
    assert found.cmc[-1] == 1
    assert found.mINP <= found.mAP


def test_blocks_that_do_not_fit_are_an_error():
    distances, *labels = case_with_junk(1)
    for blocks in ([distances[:2]], [distances, distances], [distances[:, :7]], []):
        with pytest.raises(ValueError, match="give a row a query and a column a gallery image"):
            evaluate_blocks(iter(blocks), *labels)


def test_empty_splits_are_an_error():
    none, some = np.empty(0, int), np.array([1, 2])
    with pytest.raises(ValueError, match="0 queries and 2 gallery images: nothing to evaluate"):
        evaluate(np.empty((0, 2)), none, some, none, some)
    with pytest.raises(ValueError, match="2 queries and 0 gallery images"):
        evaluate_features(np.empty((2, 3)), np.empty((0, 3)), some, none, some, none)


def test_broken_features_are_an_error():
    query, gallery, *labels = crowd(0)
    query[3, 2] = np.nan
    with pytest.raises(ValueError, match="query 3: a distance is not finite"):
        evaluate_features(query, gallery, *labels)


def test_features_of_different_networks_are_an_error():
    with pytest.raises(ValueError, match="3 numbers a query and 4 a gallery image"):
        distance_matrix(np.zeros((1, 3)), np.zeros((1, 4)))


def test_a_block_without_queries_is_an_error():
    with pytest.raises(ValueError, match="block 0"):
        distance_blocks(np.zeros((1, 3)), np.zeros((1, 3)), block=0)


def test_an_unknown_metric_is_an_error():
    with pytest.raises(ValueError, match="euclidean or cosine"):
        distance_matrix(np.zeros((1, 1)), np.zeros((1, 1)), "manhattan")
