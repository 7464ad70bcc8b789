"""Each kind of leak, made in files of procedural pedestrians, fails the check that is about it; clean data passes."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from augment import store
from augment.audit import TEST_IDENTITIES
from augment.data.read import read_data
from augment.study_audit import audit_data, audit_set
from augment.subset import SubsetConfig
from augment.subset import run as subset
from tests import noise_sets

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
POINTS = {split: f"market-annotation-{split}.csv" for split in ("train", "test")}
PAIRS = {split: f"market-pairs-{split}.csv" for split in ("train", "test")}


@pytest.fixture
def root(pedestrians, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(pedestrians, tmp_path / "study" / "data")


def failed(found):
    return {check.name.partition(": ")[2] for check in found if not check.passed}


def details(found):
    return {check.name.partition(": ")[2]: check.detail for check in found}


def images(root, folder):
    return sorted(path for path in (root / folder).glob("*.jpg") if not path.name.startswith("-1"))


def people(root, folder):
    return [path for path in images(root, folder) if not path.name.startswith("0000")]


def rewrite(path, change):
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def pairs(path, names):
    path.write_text("\n".join(["from,to", *(f"{name},{name}" for name in names)]) + "\n")


# Data


def test_clean_data_passes_with_its_numbers(root):
    pairs(root / PAIRS["train"], [path.name for path in people(root, TRAIN)])
    pairs(root / PAIRS["test"], [path.name for path in people(root, GALLERY)])
    found = audit_data(root)
    assert failed(found) == set()
    assert {check.name.partition(":")[0] for check in found} == {"data study/data"}
    said, train = details(found), len(people(root, TRAIN))
    assert said["identities"] == "6 training and 4 test identities, none in both"
    assert said["queries"] == f"{len(images(root, QUERY))} queries, each has a match"
    assert f"{train} in {PAIRS['train']}" in said["pair lists"]
    assert f"{train} in {POINTS['train']}" in said["key points"]
    counts = [sum(name.startswith(start) for name in map(str, names(root, GALLERY))) for start in ("0000", "-1")]
    assert said["junk and distractors"] == "{} distractors, in the gallery only; {} junk images, left out".format(
        *counts
    )
    assert "subset" not in said


def names(root, folder):
    return [path.name for path in (root / folder).glob("*.jpg")]


def an_identity_on_both_sides(root):
    moved = people(root, TRAIN)[0]
    moved.rename(root / GALLERY / moved.name)
    lines = (root / POINTS["train"]).read_text().splitlines(keepends=True)
    own = [line for line in lines if line.startswith(moved.name)]
    rewrite(root / POINTS["train"], lambda lines: [line for line in lines if line not in own])
    rewrite(root / POINTS["test"], lambda lines: lines + own)


def a_copy_under_another_name(root):
    shutil.copy(people(root, TRAIN)[0], root / GALLERY / "0901_c1s1_000001_01.jpg")


def queries_without_matches(root):
    for path in people(root, GALLERY):
        path.rename(path.with_name(f"09{path.name[2:]}"))


def a_truncated_image(root):
    path = images(root, QUERY)[0]
    path.write_bytes(path.read_bytes()[:-200])


def key_points_of_test_images(root):
    more = (root / POINTS["test"]).read_text().splitlines(keepends=True)[-3:]
    rewrite(root / POINTS["train"], lambda lines: lines + more)


def key_points_of_training_images(root):
    shutil.copy(root / POINTS["train"], root / POINTS["test"])


def pairs_made_of_the_test_annotation(root):
    """What the widely copied script does."""
    lines = (root / POINTS["test"]).read_text().splitlines()[1:]
    pairs(root / PAIRS["train"], [line.partition(":")[0] for line in lines])


def pairs_of_another_name(root):
    pairs(root / "pairs.csv", [people(root, TRAIN)[0].name, people(root, GALLERY)[0].name])


def test_pairs_of_training_images(root):
    pairs(root / PAIRS["test"], [path.name for path in people(root, TRAIN)])


def a_wrong_name(root):
    people(root, TRAIN)[0].rename(root / TRAIN / "holiday.jpg")


def distractors_alone(root):
    for number, path in enumerate(people(root, GALLERY)):
        path.rename(path.with_name(f"0000_c1s1_{number:06d}_99.jpg"))


test_pairs_of_training_images.__test__ = False

SPOILT = {
    "identities": an_identity_on_both_sides,
    "copies": a_copy_under_another_name,
    "queries": queries_without_matches,
    "images": a_truncated_image,
    "key points": (key_points_of_test_images, key_points_of_training_images),
    "pair lists": (pairs_made_of_the_test_annotation, pairs_of_another_name, test_pairs_of_training_images),
    "layout": a_wrong_name,
}
CASES = [(name, spoil) for name, each in SPOILT.items() for spoil in (each if isinstance(each, tuple) else (each,))]


@pytest.mark.parametrize(("name", "spoil"), CASES)
def test_what_is_wrong_with_data_fails_its_own_check(root, name, spoil):
    spoil(root)
    assert failed(audit_data(root)) == {name}


def test_a_gallery_of_distractors_has_nobody_to_find(root):
    distractors_alone(root)
    assert failed(audit_data(root)) == {"junk and distractors", "queries"}


def test_nobody_is_trained_on(root):
    path = people(root, TRAIN)[0]
    path.rename(path.with_name(f"0000{path.name[4:]}"))
    assert failed(audit_data(root)) == {"junk and distractors", "layout"}


def test_the_details_name_numbers_and_an_example(root):
    pairs_made_of_the_test_annotation(root)
    key_points_of_test_images(root)
    said = details(audit_data(root))
    listed = [line for line in (root / POINTS["test"]).read_text().splitlines()[1:] if line]
    of_people = sum(not line.startswith("-1") for line in listed)
    assert f"{of_people} of its {len(listed)} pairs are of query or gallery images" in said["pair lists"]
    assert said["key points"].startswith(f"{POINTS['train']}: 3 of its ")


def test_what_cannot_be_read_is_one_failed_check(tmp_path):
    (check,) = audit_data(tmp_path / "nothing")
    assert not check.passed
    assert "no such folder" in check.detail


def test_a_subset_says_what_it_keeps_until_a_withheld_image_comes_back(root, tmp_path):
    out = subset(SubsetConfig(0.5), root, tmp_path / "study" / "half")
    found = audit_data(out)
    assert failed(found) == set()
    assert details(found)["subset"].endswith("training images (portion 0.5, seed 0)")
    withheld = sorted(set(names(root, TRAIN)) - set(names(out, TRAIN)))
    shutil.copy(root / TRAIN / withheld[0], out / TRAIN)
    assert failed(audit_data(out)) == {"subset"}


# Sets


@pytest.fixture(scope="module")
def plan(pedestrians):
    return noise_sets.planned(pedestrians)


def test_a_clean_set_passes_with_its_numbers(plan, pedestrians, tmp_path):
    found = audit_set(noise_sets.write_set(tmp_path / "set.h5", pedestrians, plan), pedestrians)
    assert failed(found) == set()
    said = details(found)
    assert said["complete"] == f"{len(plan)} images of 128x64, 1 file, whole"
    assert said["sources"] == f"{len(plan)} images, 6 identities, all of training"
    assert said["test identities"] == "none of query and gallery is a source or a target"
    assert said["generator"] == f"dptn was trained on these {len(read_data(pedestrians).train)} training images"
    assert said["scores"] == "not chosen by any score"


@pytest.fixture(scope="module")
def spoilt_plans(plan, pedestrians):
    """Plans that show what no set of training images does, and the checks that fail."""
    test = noise_sets.planned(pedestrians, test_too=True)
    names = {record.name for record in read_data(pedestrians).gallery}
    gallery = next(place for place, name in enumerate(test.files) if name in names)
    target = plan.target_index.copy()
    target[0] = len(plan.files)
    named, poses = (*plan.files, test.files[gallery]), np.concatenate([plan.poses, test.poses[[gallery]]])
    moved = plan.poses.copy()
    moved[plan.target_index[0], 2] += 3
    return {
        "people of query and gallery": (test, {"sources", "target poses", "test identities"}),
        "a pose of a test image": (
            replace(plan, files=named, poses=poses, target_index=target),
            {"target poses", "test identities"},
        ),
        "poses that are not the targets'": (replace(plan, poses=moved), {"target poses"}),
        "an image of nowhere": (
            noise_sets.renamed(plan, 0, "0002_c9s9_999999_01.jpg"),
            {"sources"},
        ),  # the first is no target
        "people under other numbers": (replace(plan, pid=np.where(plan.pid == 2, 4, plan.pid)), {"sources"}),
    }


@pytest.mark.parametrize(
    "name",
    [
        "people of query and gallery", "a pose of a test image", "poses that are not the targets'",
        "an image of nowhere", "people under other numbers",
    ],
)  # fmt: skip
def test_what_a_set_shows(spoilt_plans, pedestrians, tmp_path, name):
    spoilt, expected = spoilt_plans[name]
    assert failed(audit_set(noise_sets.write_set(tmp_path / "set.h5", pedestrians, spoilt), pedestrians)) == expected


GENERATOR = {"model": "dptn", "preset": "tiny", "weights_sha256": "1" * 64}
ELSEWHERE, FOREIGN = {**GENERATOR, "trained_on": "9" * 64}, {"seed": 0, "poses": "random", "foreign_generator": True}
SAID = {
    "data": ({"data_digest": "0" * 64}, {"points_digest": "0" * 64}),
    "test identities": ({TEST_IDENTITIES: True},),
    "generator": ({"generator": ELSEWHERE}, {"generator": GENERATOR}),
}


@pytest.mark.parametrize(("name", "changes"), [(name, changes) for name, each in SAID.items() for changes in each])
def test_what_a_set_says_of_itself(plan, pedestrians, tmp_path, name, changes):
    made = noise_sets.write_set(tmp_path / "set.h5", pedestrians, plan, **changes)
    assert failed(audit_set(made, pedestrians)) == {name}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator": ELSEWHERE, "config": FOREIGN}, "dptn has seen other data (--foreign-generator)"),
        ({"generator": {"model": "copy", "weights_sha256": None}}, "copy needs no training"),
        (
            {"generator": {"model": "dm", "preset": "imported", "weights_sha256": None}},
            "dm was imported, so what it has seen is not known",
        ),
    ],
)
def test_generators_that_have_not_seen_this_data_are_named(plan, pedestrians, tmp_path, changes, words):
    found = audit_set(noise_sets.write_set(tmp_path / "set.h5", pedestrians, plan, **changes), pedestrians)
    assert failed(found) == set()
    assert details(found)["generator"] == words


def test_weights_that_a_generator_started_from_are_named(plan, pedestrians, tmp_path):
    digest = read_data(pedestrians).digest
    for first, words in ((digest, "training images"), ("8" * 64, "weights that have seen other data")):
        earlier = {"weights_sha256": "2" * 64, "trained_on": first, "initialised_from": None}
        generator = {**GENERATOR, "trained_on": digest, "initialised_from": earlier}
        made = noise_sets.write_set(tmp_path / f"{first}.h5", pedestrians, plan, generator=generator)
        found = audit_set(made, pedestrians)
        assert failed(found) == set()
        assert details(found)["generator"].endswith(words)


@pytest.mark.parametrize("ancestor", [False, True])
def test_a_generator_that_knows_what_a_subset_withholds(pedestrians, tmp_path, ancestor):
    """Not even as the start of its training."""
    half, digest = subset(SubsetConfig(0.5), pedestrians, tmp_path / "half"), read_data(pedestrians).digest
    own = {**GENERATOR, "trained_on": read_data(half).digest, "initialised_from": None}
    knows = (
        {"initialised_from": {"weights_sha256": "2" * 64, "trained_on": digest}} if ancestor else {"trained_on": digest}
    )
    for number, (generator, expected) in enumerate(((own, set()), (own | knows, {"generator"}))):
        made = noise_sets.write_set(tmp_path / f"{number}.h5", half, generator=generator, config=FOREIGN)
        assert failed(audit_set(made, half)) == expected


def test_an_unfinished_set(plan, pedestrians, tmp_path):
    folder = tmp_path / "set.shards"
    attributes = store.begin(folder, plan, noise_sets.provenance(pedestrians))
    assert failed(audit_set(folder, pedestrians)) == {"complete"}
    pixels = np.zeros((len(plan), 128, 64, 3), np.uint8)
    store.write_shard(folder, 0, plan, pixels, attributes)
    assert failed(audit_set(folder, pedestrians)) == set()
    assert failed(audit_set(folder / "part-00000.h5", pedestrians)) == {"complete"}
    assert failed(audit_set(tmp_path / "nothing.h5", pedestrians)) == {"complete"}


def test_selections_go_by_the_judges_of_the_study(plan, pedestrians, tmp_path):
    judges = [tmp_path / "judges" / f"fold-{place}.safetensors" for place in (0, 1)]
    judges[0].parent.mkdir()
    for path in judges:
        path.write_bytes(path.name.encode())
    digests = [hashlib.sha256(path.name.encode()).hexdigest() for path in judges]
    reader = store.Reader(noise_sets.write_set(tmp_path / "set.h5", pedestrians, plan))
    scores = noise_sets.scores(pedestrians, reid={"networks_sha256": digests})
    store.write_selection(tmp_path / "kept.h5", reader, np.arange(0, len(reader), 2), {"top": 0.5, "scores": scores})
    assert failed(audit_set(tmp_path / "kept.h5", pedestrians, judges[0].parent)) == set()
    judges[1].write_bytes(b"another network")
    assert failed(audit_set(tmp_path / "kept.h5", pedestrians, judges[0].parent)) == {"judges"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"reid": {"networks_sha256": ["0" * 64]}}, {"scores"}),
        ({"reid": {"networks_sha256": ["0" * 64, "0" * 64]}}, {"scores"}),
        ({"judges": [{"rank1": 0.5, "chance": 0.25}]}, {"scores"}),
        ({"data_digest": "0" * 64}, {"scores"}),
        ({"definition": None}, {"scores"}),
        ({"judges": [{"rank1": 0.3, "chance": 0.25}] * 2}, set()),
    ],
)
def test_selections_go_by_cross_fitted_scores(plan, pedestrians, tmp_path, changes, expected):
    reader = store.Reader(noise_sets.write_set(tmp_path / "set.h5", pedestrians, plan))
    scores = noise_sets.scores(pedestrians, **changes)
    if changes == {"definition": None}:
        del scores["identity_margin"]["definition"]
    store.write_selection(tmp_path / "kept.h5", reader, np.arange(0, len(reader), 2), {"top": 0.5, "scores": scores})
    found = audit_set(tmp_path / "kept.h5", pedestrians)
    assert failed(found) == expected
    if not expected:
        said = details(found)["scores"]
        assert said.startswith("chosen by identity_margin; 2 judges")
        assert ("hardly better than chance" in said) == ("judges" in changes)
    json.dumps([check.__dict__ for check in found])
