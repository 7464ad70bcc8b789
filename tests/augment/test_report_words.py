"""The sentence that a report begins with: true to its numbers, and plain where there is no effect."""

from pathlib import Path

import pytest

from augment.comparison import Difference
from augment.report_study import Compared, Found
from augment.report_words import headline, points

SETS = {"real": [], "real+erasing": [], "mixed+erasing": ["a/set.h5"], "filtered": ["b/kept.h5"]}
ALONE = {"arm": "real+erasing", "against": "real", "asks": ""}


def found(done=10, erasing=True):
    arms = [{"name": name, "sets": sets, "trials": {"0": name, "1": name}} for name, sets in SETS.items()]
    results = {(arm["name"], seed): {} for arm in arms for seed in (0, 1)}
    described = {"arms": arms, "erasing": ALONE if erasing else None}
    return Found(Path(), described, {}, dict(list(results.items())[:done]), None)


def compared(mean, low, high, arm="mixed+erasing", against="real+erasing", seeds=5):
    gain = Difference(mean, low, high, (mean,) * seeds, 0.0, 0.5, 0.041)
    return Compared(arm, against, "", tuple(range(seeds)), {"mAP": gain}, {})


def erasing(mean, low, high):
    return compared(mean, low, high, "real+erasing", "real")


def test_a_gain_in_the_words_of_the_issue():
    said = headline(found(), [compared(0.021, 0.012, 0.030), erasing(0.030, 0.020, 0.040)])
    assert said == ("Synthetic images add 2.1 mAP (95 % interval 1.2 to 3.0, 5 seeds); random erasing alone adds 3.0.")


def test_a_loss_is_called_one():
    said = headline(found(), [compared(-0.021, -0.030, -0.012), erasing(-0.030, -0.040, -0.020)])
    assert said == (
        "Synthetic images cost 2.1 mAP (95 % interval -3.0 to -1.2, 5 seeds); random erasing alone costs 3.0."
    )


def test_no_evidence_names_the_effect_that_could_have_been_seen():
    said = headline(found(), [compared(0.004, -0.011, 0.019), erasing(0.003, -0.01, 0.016)])
    assert said == (
        "There is no evidence of an effect of synthetic images: +0.4 mAP (95 % interval -1.1 to 1.9, 5 seeds); this "
        "study could have seen an effect of 4.1 with a chance of 80 %; random erasing alone: +0.3 (95 % interval -1.0 "
        "to 1.6, no evidence of an effect)."
    )


@pytest.mark.parametrize("bounds", [(0.0, 0.01), (-0.01, 0.0), (0.0, 0.0)])
def test_an_interval_that_touches_zero_is_no_evidence(bounds):
    assert "no evidence" in headline(found(erasing=False), [compared(0.005, *bounds)])


def test_arms_that_both_have_sets_are_named():
    said = headline(found(erasing=False), [compared(0.02, 0.01, 0.03, "filtered", "mixed+erasing")])
    assert said == "filtered, against mixed+erasing, adds 2.0 mAP (95 % interval 1.0 to 3.0, 5 seeds)."
    said = headline(found(erasing=False), [compared(0.02, -0.01, 0.05, "filtered", "mixed+erasing")])
    assert said.startswith("There is no evidence of an effect of filtered, against mixed+erasing: +2.0 mAP")


def test_one_seed_and_what_is_missing_are_said():
    said = headline(found(done=3, erasing=False), [compared(0.02, 0.01, 0.03, seeds=1)])
    assert said.startswith("Incomplete: 3 of 8 trials. Synthetic images add 2.0 mAP (95 % interval 1.0 to 3.0, 1 seed")
    assert "noise of training is in no interval" in said
    nothing = Compared("mixed+erasing", "real+erasing", "", (), {}, {})
    said = headline(found(done=1, erasing=False), [nothing])
    assert said.endswith("There is no seed yet for which both mixed+erasing and real+erasing are done.")


def test_zero_has_no_sign():
    assert [points(value, signed=True) for value in (-0.0001, 0.0, 0.0001, -0.0006, 0.0006)] == [
        "0.0", "0.0", "0.0", "-0.1", "+0.1",
    ]  # fmt: skip
