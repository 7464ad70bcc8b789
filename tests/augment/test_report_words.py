"""The sentence that a report begins with: true to its numbers, and plain where there is no effect."""

from pathlib import Path

import pytest

from augment.comparison import Difference
from augment.report_study import Compared, Found
from augment.report_words import detectable, headline, interval, points

SETS = {"real": [], "real+erasing": [], "mixed+erasing": ["a/set.h5"], "filtered": ["b/kept.h5"]}
ALONE = {"arm": "real+erasing", "against": "real", "asks": ""}


def found(done=10, erasing=True, audit=None):
    arms = [{"name": name, "sets": sets, "trials": {"0": name, "1": name}} for name, sets in SETS.items()]
    results = {(arm["name"], seed): {} for arm in arms for seed in (0, 1)}
    described = {"arms": arms, "erasing": ALONE if erasing else None}
    return Found(Path(), described, {}, dict(list(results.items())[:done]), audit)


def compared(mean, low, high, arm="mixed+erasing", against="real+erasing", seeds=5, p: float | None = 0.012, mde=0.041):
    gain = Difference(mean, low, high, (mean,) * seeds, 0.0, p, mde)
    return Compared(arm, against, "", tuple(range(seeds)), {"mAP": gain}, {"mAP": p and 2 * p})


def erasing(mean, low, high):
    return compared(mean, low, high, "real+erasing", "real")


def test_a_gain_in_the_words_of_the_issue():
    said = headline(found(), [compared(0.021, 0.012, 0.030), erasing(0.030, 0.020, 0.040)])
    assert said == (
        "Synthetic images add 2.1 mAP (95 % interval 1.2 to 3.0, p 0.012, Holm p 0.024, 5 seeds); random erasing alone "
        "adds 3.0 (95 % interval 2.0 to 4.0, 5 seeds)."
    )


def test_a_loss_is_called_one():
    said = headline(found(), [compared(-0.021, -0.030, -0.012), erasing(-0.030, -0.040, -0.020)])
    assert said == (
        "Synthetic images cost 2.1 mAP (95 % interval -3.0 to -1.2, p 0.012, Holm p 0.024, 5 seeds); random erasing "
        "alone costs 3.0 (95 % interval -4.0 to -2.0, 5 seeds)."
    )


def test_no_evidence_names_the_effect_that_could_have_been_seen():
    said = headline(found(), [compared(0.004, -0.011, 0.019), erasing(0.003, -0.01, 0.016)])
    assert said == (
        "There is no evidence of an effect of synthetic images: +0.4 mAP (95 % interval -1.1 to 1.9, p 0.012, 5 "
        "seeds); this study could have seen an effect of 4.1 with a chance of 80 %; random erasing alone: +0.3 (95 % "
        "interval -1.0 to 1.6, 5 seeds, no evidence of an effect)."
    )


@pytest.mark.parametrize("bounds", [(0.0, 0.01), (-0.01, 0.0), (0.0, 0.0)])
def test_an_interval_that_touches_zero_is_no_evidence(bounds):
    assert "no evidence" in headline(found(erasing=False), [compared(0.005, *bounds)])


def test_arms_that_both_have_sets_are_named():
    said = headline(found(erasing=False), [compared(0.02, 0.01, 0.03, "filtered", "mixed+erasing", p=1e-7)])
    assert said == (
        "filtered, against mixed+erasing, adds 2.0 mAP (95 % interval 1.0 to 3.0, p < 0.001, Holm p < 0.001, 5 seeds)."
    )
    said = headline(found(erasing=False), [compared(0.02, -0.01, 0.05, "filtered", "mixed+erasing")])
    assert said.startswith("There is no evidence of an effect of filtered, against mixed+erasing: +2.0 mAP")


def test_one_seed_and_what_is_missing_are_said():
    said = headline(found(done=3, erasing=False), [compared(0.02, 0.01, 0.03, seeds=1, p=None, mde=None)])
    assert said == (
        "Incomplete: 3 of 8 trials. No effect of synthetic images is claimed: +2.0 mAP (95 % interval 1.0 to 3.0, 1 "
        "seed); one seed: no interval holds the noise of training."
    )
    nothing = Compared("mixed+erasing", "real+erasing", "", (), {}, {})
    said = headline(found(done=1, erasing=False), [nothing])
    assert said.endswith("There is no seed yet for which both mixed+erasing and real+erasing are done.")


def test_zero_has_no_sign():
    assert [points(value, signed=True) for value in (-0.0001, 0.0, 0.0001, -0.0006, 0.0006)] == [
        "0.0", "0.0", "0.0", "-0.1", "+0.1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "mde"), [(-1.0, 1.0, None), (-0.4, 0.6, 1.01), (0.1, 1.0, 0.5), (-0.4, 0.6, None)]
)
def test_what_cannot_be_estimated_is_no_number(low, high, mde):
    each = compared(0.2, low, high, seeds=2, mde=mde)
    gain = each.gains["mAP"]
    assert (interval(gain) == "not estimable") == (high == 1)
    assert (detectable(gain) == "not estimable") == (mde != 0.5)
    said = headline(found(erasing=False), [each])
    assert said.startswith("There is no evidence")
    assert "the effect that this study could have seen is not estimable" in said


def test_the_same_trials_are_called_so():
    each = compared(0.0, 0.0, 0.0, p=1.0, mde=0.0)
    assert headline(found(erasing=False), [each]) == (
        "There is no evidence of an effect of synthetic images: the trials of both arms are identical."
    )
    assert detectable(each.gains["mAP"]) == "–"


def test_a_failed_audit_is_all_that_is_said():
    checks = [("plan", "well", True), ("leakage", "identity 7 is in both.", False), ("seeds", "not paired", False)]
    audit = {"passed": False, "checks": [dict(zip(("name", "detail", "passed"), each, strict=True)) for each in checks]}
    assert headline(found(audit=audit), [compared(0.02, 0.01, 0.03)]) == (
        "The audit failed: leakage: identity 7 is in both (and 1 more); no result is claimed."
    )
