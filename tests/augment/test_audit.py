"""Leakage and provenance checks."""

from pathlib import Path

import pytest

from augment import audit
from augment.data.records import DISTRACTOR, DataSet, Record


def dataset(train, query, gallery):
    splits = (
        [Record(Path(f"{pid:04d}_c1_{i}.jpg"), pid, 1) for i, pid in enumerate(s)] for s in (train, query, gallery)
    )
    return DataSet(Path("root"), *map(tuple, splits))


def test_disjoint_splits_pass_and_distractors_are_nobody():
    audit.require_disjoint(dataset([2, 4, DISTRACTOR], [1, 3], [1, 3, DISTRACTOR]))


@pytest.mark.parametrize(("query", "gallery"), [([2], [1]), ([1], [2])])
def test_an_identity_in_both_splits_is_named(query, gallery):
    found = dataset([2, 4], query, gallery)
    assert audit.identity_overlap(found) == [2]
    with pytest.raises(ValueError, match=r"root: 1 identities .*\(2; for example 0002_c1_0\.jpg\)"):
        audit.require_disjoint(found)


def test_only_a_few_of_many_identities_are_listed():
    with pytest.raises(ValueError, match=r"9 identities .*\(1, 2, 3, 4, 5, \.\.\.;"):
        audit.require_disjoint(dataset(range(1, 10), range(1, 10), []))


def test_test_identities_among_sources_are_refused():
    found = dataset([2, 4], [1], [3])
    audit.require_training_only(found.train, found, "sources")
    with pytest.raises(ValueError, match=r"sources: 1 identities of query or gallery \(3\)"):
        audit.require_training_only([*found.train, *found.gallery], found, "sources")


def test_contradicting_provenance_names_the_keys_nested_ones_too():
    audit.require_same("x.h5", {"a": 1, "extra": 2}, {"a": 1}, "remake it")
    audit.require_same("x.h5", {"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}, "remake it")
    with pytest.raises(ValueError, match=r"x\.h5: .*: a\.c \(2 there, 3 here\); remake it") as caught:
        audit.require_same("x.h5", {"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, "remake it")
    assert "a.b" not in str(caught.value)
    with pytest.raises(ValueError, match="digest"):
        audit.require_same("x.h5", {}, {"digest": "0"}, "remake it")


def test_a_check_says_what_was_found_or_what_is_wrong():
    def wrong():
        raise ValueError("one\n  two")

    assert audit.checked("x", lambda: "fine") == audit.Check("x", True, "fine")
    assert audit.checked("x", wrong) == audit.Check("x", False, "one two")
    assert not audit.checked("x", lambda: Path("nowhere/at/all").read_text()).passed


def test_names_of_test_images_among_poses_are_refused():
    found = dataset([2, 4], [1], [3, DISTRACTOR])
    audit.require_no_test_images(["0002_c1_0.jpg", "somewhere-else.jpg"], found, "--poses x.csv")
    for name in ("0001_c1_0.jpg", "0003_c1_0.jpg", "0000_c1_1.jpg"):
        with pytest.raises(ValueError, match=rf"--poses x\.csv: 1 poses are .*{name}.*--allow-test-identities"):
            audit.require_no_test_images(["0002_c1_0.jpg", name], found, "--poses x.csv")
