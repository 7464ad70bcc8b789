"""Prototypes and margins: equal to slow twins, and zero where arithmetic says so."""

import numpy as np
import pytest

from reid.consistency import consistency, cosine, doubt, folds, left_out_margin, prototypes, unit_rows
from tests.reference import prototypes as slow


def random_features(seed=0, people=(3, 5, 8, 13, 21), images=40, dimensions=6):
    rng = np.random.default_rng(seed)
    pids = np.concatenate([people, rng.choice(people[:-1], images - len(people))]).astype(np.int64)  # one only once
    return rng.normal(size=(images, dimensions)).astype(np.float32), pids


def test_similarity_and_margin_equal_the_slow_twin():
    features, pids = random_features()
    known = prototypes(features, pids)
    np.testing.assert_array_equal(known.pids, [3, 5, 8, 13, 21])
    table = {pid: slow.prototype(features, pids, pid) for pid in known.pids.tolist()}
    np.testing.assert_allclose(known.directions, np.stack(list(table.values())), atol=1e-7)

    judged, labels = random_features(seed=1)
    sources = np.array([np.flatnonzero(pids == pid)[-1] for pid in labels])
    similarity, margin = consistency(judged, labels, known, features[sources])
    expected = [
        slow.without_source(*image, features, pids, source)
        for *image, source in zip(judged, labels.tolist(), sources.tolist(), strict=True)
    ]
    np.testing.assert_allclose(np.stack([similarity, margin], axis=1), expected, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(similarity), labels == 21)


def test_left_out_margin_equals_the_slow_twin():
    features, pids = random_features()
    found = left_out_margin(features, pids)
    np.testing.assert_allclose(found, slow.left_out_margin(features, pids), atol=1e-6)
    assert np.isnan(found[pids == 21]).all()
    assert np.isfinite(found[pids != 21]).all()


def test_values_by_hand():
    # Two people at right angles: their prototypes are the axes; an image between them belongs to neither.
    real = np.array([[2.0, 0.0], [3.0, 0.0], [0.0, 5.0], [0.0, 1.0]])
    known = prototypes(real, np.array([1, 1, 2, 2]))
    images, labels = np.array([[3.0, 3.0], [0.0, 1.0], [0.0, 1.0]]), np.array([1, 2, 1])
    similarity, margin = consistency(images, labels, known, real[[0, 2, 0]])
    np.testing.assert_allclose(similarity, [np.sqrt(0.5), 1, 0])
    np.testing.assert_allclose(margin, [0, 1, -1], atol=1e-12)


def test_a_copy_is_as_consistent_as_its_source_is_without_itself():
    """Two images of one person at right angles: a copy of the first has nothing of the second."""
    real, pids = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 2.0]]), np.array([1, 1, 2, 2])
    similarity, margin = consistency(real[:1], pids[:1], prototypes(real, pids), real[:1])
    assert (similarity.tolist(), margin.tolist()) == ([0], [0])
    features, people = random_features()
    copies = consistency(2 * features, people, prototypes(features, people), features)
    np.testing.assert_allclose(copies[1], left_out_margin(features, people), atol=1e-6)
    for row in np.flatnonzero(people != 21).tolist():
        others = slow.prototype(features, people, people[row], without=row)
        assert copies[0][row] == pytest.approx(float(slow.unit(features[row]) @ others), abs=1e-6)


def test_the_only_image_of_an_identity_leaves_nothing_to_compare_with():
    real, pids = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]), np.array([1, 2, 2])
    similarity, margin = consistency(real, pids, prototypes(real, pids), real)
    np.testing.assert_allclose(similarity, [np.nan, 1, 1])
    np.testing.assert_allclose(margin, [np.nan, 1, 1])


def test_a_prototype_weighs_each_image_once_however_long_its_feature_is():
    known = prototypes(np.array([[100.0, 0.0], [0.0, 0.01], [-1.0, 0.0]]), np.array([1, 1, 2]))
    np.testing.assert_allclose(known.directions, [[np.sqrt(0.5), np.sqrt(0.5)], [-1, 0]])


def test_scale_and_order_change_nothing():
    features, pids = random_features()
    known = prototypes(features, pids)
    similarity, margin = consistency(features, pids, known, features)
    order = np.random.default_rng(5).permutation(len(pids))
    scaled = (features * 3)[order]
    again = consistency(scaled, pids[order], prototypes(scaled, pids[order]), features[order])
    np.testing.assert_allclose(again, [similarity[order], margin[order]], atol=1e-6)
    assert np.nanmax(np.abs(similarity)) <= 1 + 1e-9
    assert np.nanmax(margin - similarity) <= 1 + 1e-9


def test_an_identity_without_real_images_is_refused():
    known = prototypes(*random_features())
    for stranger in (4, 99):
        with pytest.raises(ValueError, match=rf"identity {stranger} \(1 images"):
            consistency(np.ones((2, 6)), np.array([3, stranger]), known, np.ones((2, 6)))


def test_judges_are_doubted_below_twice_chance():
    good = {"rank1": 0.9, "chance": 0.1}
    assert doubt([good, {"rank1": 0.2, "chance": 0.1}]) is None
    weak = {"rank1": 0.19, "chance": 0.1}
    said = "of people new to it, the weaker judge finds 19.0% (by chance 10.0%)"
    assert doubt([good, weak]) == doubt([weak, good]) == said
    assert doubt([{"rank1": 0.15, "chance": 0.01}, weak]) == said, "weaker beside what chance gives it"
    assert "untested" in str(doubt([good, {"rank1": None, "chance": 0.1}]))


def test_cosine_of_rows():
    one = np.array([[1.0, 0.0], [2.0, 2.0], [0.0, 0.0]])
    two = np.array([[-3.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(cosine(one, two), [-1, np.sqrt(0.5), 0])
    np.testing.assert_allclose(np.linalg.norm(unit_rows(one), axis=1), [1, 1, 0])


# ---- folds


@pytest.mark.parametrize("people", [4, 5, 31])
def test_folds_split_identities_in_half(people):
    pids = np.repeat(7 * np.arange(people) + 2, 3)
    fold = folds(pids, 0)
    split = [set(pids[fold == number].tolist()) for number in (0, 1)]
    assert not split[0] & split[1]
    assert sorted(map(len, split)) == [people // 2, people - people // 2]


def test_folds_depend_on_identities_and_seed_only():
    pids = np.array([9, 4, 4, 2, 30, 7, 9, 11])
    fold = dict(zip(pids.tolist(), folds(pids, 3).tolist(), strict=True))
    once = np.unique(pids)[::-1].copy()
    assert folds(once, 3).tolist() == [fold[pid] for pid in once.tolist()]
    assert len({tuple(folds(once, seed).tolist()) for seed in range(20)}) > 5


def test_too_few_identities_are_refused():
    with pytest.raises(ValueError, match="3 training identities: cross-fitting needs at least 4"):
        folds(np.array([1, 1, 2, 3]), 0)
