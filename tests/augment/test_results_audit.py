"""Results that may not be compared fail the check that says why. The results here are what two tiny trainings leave."""

import copy

import pytest

from augment.study_audit import audit_results
from augment.train_reid import TrainReidConfig
from reid.configuration import ReidConfig
from reid.mixing import MixPolicy

DIGEST, SUBSET = "a" * 64, "b" * 64
VERSIONS = {"reid-augment": "1", "torch": "2", "python": "3.11.1"}


def result(seed, *, match="epochs", synthetic=(), iterations=30, portion=1.0, epochs=3):
    """The parts of a results.json that are looked at."""
    mixing = vars(MixPolicy(portion=portion, seed=seed))
    config = vars(TrainReidConfig(match=match)) | {
        "mixing": mixing,
        "training": vars(ReidConfig(epochs=epochs, seed=seed)),
    }
    return {
        "mAP": 0.5,
        "mINP": 0.25,
        "cmc": {"1": 0.5, "5": 1.0},
        "per_query": {"pid": [1, 3, 3], "camid": [1, 1, 2], "ap": [0.25, 0.75, None], "rank1": [0, 1, None]},
        "num_query": 3,
        "num_gallery": 20,
        "config": config,
        "provenance": {
            "data_digest": DIGEST,
            "test_digest": "c" * 64,
            "subset": None,
            "synthetic": list(synthetic),
            "versions": dict(VERSIONS),
        },
        "iterations": iterations,
    }


@pytest.fixture
def results():
    """Two arms with two seeds each."""
    made = {("real", seed): result(seed) for seed in (0, 1)}
    return made | {("mixed", seed): result(seed, match="iterations", synthetic=["x.h5"]) for seed in (0, 1)}


def failed(found):
    return {check.name.removeprefix("results: ") for check in found if not check.passed}


def details(found):
    return {check.name.removeprefix("results: "): check.detail for check in found}


def test_results_that_may_be_compared(results):
    found = audit_results(results)
    assert failed(found) == set()
    said = details(found)
    assert said["seeds"] == "2 seeds in each of 2 arms"
    assert said["queries"] == "3 queries and 20 gallery images, the same in all results"
    assert said["data"] == "one training split (aaaaaaaaaaaa...)"
    assert said["updates"] == "iterations: real 30, mixed 30"
    assert "reid-augment 1, torch 2," in said["versions"]


@pytest.mark.parametrize(
    ("place", "value", "name"),
    [
        (("per_query", "pid", 0), 5, "queries"),
        (("per_query", "camid", 0), 5, "queries"),
        (("num_gallery",), 21, "queries"),
        (("provenance", "test_digest"), "d" * 64, "queries"),
        (("provenance", "data_digest"), "d" * 64, "data"),
        (("provenance", "versions", "torch"), "3", "versions"),
        (("provenance", "versions", "reid-augment"), "2", "versions"),
        (("mAP",), float("nan"), "values"),
        (("mAP",), 0.51, "values"),
        (("cmc", "5"), 1.5, "values"),
        (("per_query", "rank1", 0), float("inf"), "values"),
        (("config", "training", "seed"), 7, "seeds"),
        (("config", "mixing", "seed"), 7, "seeds"),
        (("iterations",), 31, "updates"),
    ],
)
@pytest.mark.parametrize("trial", [("real", 0), ("real", 1), ("mixed", 1)])
def test_what_differs_fails_its_own_check(results, place, value, name, trial):
    changed = copy.deepcopy(results)
    *outer, last = place
    inner = changed[trial]
    for key in outer:
        inner = inner[key]
    inner[last] = value
    assert failed(audit_results(changed)) == {name}


def test_queries_that_are_scored_in_one_trial_alone(results):
    results["mixed", 1]["per_query"] |= {"ap": [0.25, 0.75, 0.5], "rank1": [0, 1, 1]}
    assert failed(audit_results(results)) == {"values"}


def test_a_trial_that_crashed_is_named_and_no_results_are_nothing(results):
    del results["mixed", 1]
    found = audit_results(results)
    assert failed(found) == set()
    assert details(found)["seeds"] == (
        "3 trials of 2 arms; 'mixed' lacks seed 1: compared are the seeds that both arms have"
    )
    assert audit_results({}) == []


def test_another_python_computes_the_same(results):
    results["mixed", 1]["provenance"]["versions"]["python"] = "3.12.0"
    assert failed(audit_results(results)) == set()


@pytest.mark.parametrize(("whole", "expected"), [(DIGEST, set()), ("d" * 64, {"data"})])
def test_an_arm_may_train_on_a_subset_of_the_others_data(results, whole, expected):
    origin = {"portion": 0.5, "seed": 0, "images": 5, "of_images": 10, "data_digest": whole}
    for seed in (0, 1):
        results["subset", seed] = result(seed, iterations=15)
        results["subset", seed]["provenance"] |= {"data_digest": SUBSET, "subset": origin}
    found = audit_results(results)
    assert failed(found) == expected
    if not expected:
        assert details(found)["data"].endswith("; subsets of it: 1")


def test_comparisons_of_unequal_updates_are_named(results):
    for seed in (0, 1):
        results["longer", seed] = result(seed, epochs=6, iterations=60)
        results["unmatched", seed] = result(seed, synthetic=["x.h5"], iterations=60)
        results["scarce", seed] = result(seed, portion=0.5, iterations=15)
    found = audit_results(results)
    assert failed(found) == set()
    counts = "iterations: real 30, mixed 30, longer 60, unmatched 60, scarce 15"
    assert details(found)["updates"] == counts
    pairs = [("mixed", "real"), ("unmatched", "longer"), ("absent", "real")]
    told = details(audit_results(results, pairs))["updates"]
    assert told == f"{counts}; in each of 2 comparisons both arms have as many, within 5%"
    found = audit_results(results, [*pairs, ("unmatched", "real")])
    assert failed(found) == set()
    assert details(found)["updates"] == (
        f"{counts}; NOT of equal updates (more than 5% apart) are 1 of 3 comparisons: "
        "'unmatched' against 'real' (60 and 30)"
    )


@pytest.mark.parametrize(("iterations", "equal"), [(1050, True), (1051, False)])
def test_five_percent_of_updates_are_the_limit(iterations, equal):
    found = {("a", 0): result(0, iterations=iterations), ("b", 0): result(0, iterations=1000)}
    for pair in (("a", "b"), ("b", "a")):
        assert ("NOT" not in details(audit_results(found, [pair]))["updates"]) == equal


def recorded(results, devices):
    """Results whose trials say these devices, in their order; None: written before that was recorded."""
    for found, names in zip(results.values(), devices, strict=True):
        found["provenance"] |= {} if names is None else {"devices": names}
    return audit_results(results)


H200, A100 = "cuda: NVIDIA H200", "cuda: NVIDIA A100"


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ([None] * 4, "not recorded in any of 4 trials"),
        ([["cpu"]] * 4, "cpu in 4 trials"),
        ([[H200], [A100, H200], [H200], [H200]], f"{A100} in 1 trials, {H200} in 4 trials"),
        (
            [None, ["cpu"], ["cpu", "not recorded"], ["cpu"]],
            "cpu in 3 trials; not recorded, or not from the first epoch on, in 2",
        ),
    ],
)
def test_one_type_of_device_and_results_of_before_that_was_recorded(results, devices, said):
    found = recorded(results, devices)
    assert failed(found) == set()
    assert details(found)["devices"] == said


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        (
            [[H200], ["cpu"], [A100], [H200]],
            "1 of 4 trials were not trained on cuda alone: arm 'real', seed 1 on cpu; ",
        ),
        (
            [["cpu"], None, ["cpu", H200], [H200, "cpu"]],
            "2 of 4 trials were not trained on cpu alone: arm 'mixed', seed 0 on cpu and cuda; "
            "arm 'mixed', seed 1 on cpu and cuda; ",
        ),
        ([["cpu", H200]] * 4, "4 of 4 trials were not trained on cpu alone: "),
    ],
)
def test_trials_on_another_type_of_device_are_named(results, devices, said):
    found = recorded(results, devices)
    assert failed(found) == {"devices"}
    assert details(found)["devices"].startswith(said)
    usual = "cuda" if "cuda alone" in said else "cpu"
    assert details(found)["devices"].endswith(
        f"remove the folders of their units, which the table of trials names, and run the study again with "
        f"--device {usual}"
    )
