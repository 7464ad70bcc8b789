"""Each way in which a planned study would leak or compare what cannot be compared fails the check that is about it."""

from dataclasses import replace

import pytest

from augment.study import DATA, Arm, Contrast, Control, Step, Study, lay_out
from augment.study_audit import audit_plan

GENERATOR = Step("train-generator", "--preset tiny", (DATA,))
SET = Step("synthesize", "--per-image 1", (DATA, GENERATOR))
SCORED = Step("score", "", (SET, DATA))
KEPT = Step("filter", "--top 0.5 --by identity_margin", (SET, SCORED))
FEW = Step("subset", "--portion 0.5", (DATA,))
FEWER = Step("subset", "--portion 0.25", (DATA,))
OTHER = Step("make-data", "--seed 9")
REAL, MIXED = Arm("real"), Arm("mixed", "--ratio 1", (SET,))


def study(*arms, against="real", **options):
    """Every further arm is compared with the first."""
    contrasts = tuple(Contrast(arm.name, against) for arm in arms[1:])
    return Study("T", "Q", arms, contrasts, data="--identities 8", seeds=2, **options)


def synthesized(data, seen, options=""):
    return Step("synthesize", f"--per-image 1 {options}", (data, Step("train-generator", "", (seen,))))


def failed(found):
    return [check.name for check in found if not check.passed]


def detail(found, name):
    (check,) = [check for check in found if check.name == name]
    return check.detail


GOOD = study(
    REAL,
    MIXED,
    Arm("kept", "--ratio 1", (KEPT,)),
    Arm("drawn", "--ratio 1", (Control(KEPT),)),
    Arm("copied", "--ratio 1", (Step("synthesize", "--generator copy", (DATA,)),)),
    reid="--epochs 3",
)


def test_a_good_plan_passes_and_says_what_it_counts():
    found = audit_plan(lay_out(GOOD))
    assert failed(found) == []
    assert detail(found, "plan: seeds") == "2 seeds (0, 1) in each of 5 arms, so differences are paired"
    assert detail(found, "plan: data of sets").startswith("the 4 sets of 4 arms")
    assert detail(found, "plan: controls").startswith("arms on a random subset: 1,")
    assert detail(found, "plan: scorers").startswith("filters: 1, by 1 runs of score")
    assert detail(found, "plan: test identities") == "none of 16 steps allows test identities"
    assert detail(found, "plan: foreign weights").startswith("no step")


def test_a_portion_beside_a_set_of_everything_is_labelled():
    full, subset = (
        Arm("full", "--portion 0.5 --portion-seed 0", (SET,)),
        Arm("subset", "", (synthesized(FEW, FEW),), data=FEW),
    )
    found = audit_plan(lay_out(study(Arm("real", "--portion=0.5 --portion-seed 0"), full, subset)))
    assert failed(found) == []
    assert detail(found, "plan: regimes") == (
        "regime G-full: the generator has seen the withheld images (arms 'full'); "
        "regime G-subset: no stage sees a withheld image (arms 'subset')"
    )
    assert detail(found, "plan: withheld images").endswith("2 of them")
    assert "no arm" in detail(audit_plan(lay_out(GOOD)), "plan: regimes")
    whole = Step("subset", "--portion 1", (DATA,))
    everything = study(Arm("real", data=whole), Arm("mixed", "", (synthesized(whole, whole),), data=whole))
    assert "no arm" in detail(audit_plan(lay_out(everything)), "plan: regimes")


def test_weights_of_elsewhere_are_named_and_allowed():
    init = Step("train-generator", "--init x.safetensors --foreign-init", (DATA,))
    arms = (
        Arm("init", "", (Step("synthesize", "", (DATA, init)),)),
        Arm("foreign", "--init imagenet", (synthesized(DATA, OTHER, "--foreign-generator"),)),
        Arm("less", "", (synthesized(DATA, FEW, "--foreign-generator"),)),
    )
    found = audit_plan(lay_out(study(REAL, *arms)))
    assert failed(found) == []
    said = detail(found, "plan: foreign weights")
    assert said.count("has seen other data") == 2
    assert said.endswith("re-ID networks start from imagenet")


LEAKS = {
    "a set of another data set": (Arm("x", "", (synthesized(OTHER, OTHER),)), "plan: data of sets"),
    "a set of more images than the arm's": (Arm("x", "", (SET,), data=FEW), "plan: data of sets"),
    "a set of fewer images than the arm's": (Arm("x", "", (synthesized(FEW, FEW),)), "plan: data of sets"),
    "a generator that has seen all": (
        Arm("x", "", (synthesized(FEW, DATA, "--foreign-generator"),), data=FEW),
        "plan: data of sets",
    ),
    "a generator that has seen another subset": (
        Arm("x", "", (synthesized(FEWER, FEW, "--foreign-generator"),), data=FEWER),
        "plan: data of sets",
    ),
    "a generator of elsewhere that is not named": (Arm("x", "", (synthesized(DATA, OTHER),)), "plan: data of sets"),
    "another gallery": (Arm("x", data=OTHER), "plan: test data"),
    "a gallery of elsewhere": (Arm("x", "--test somewhere"), "plan: test data"),
    "test identities": (Arm("x", "", (synthesized(DATA, DATA, "--allow-test-identities"),)), "plan: test identities"),
    "a trial compared with itself": (Arm("x", ""), "plan: seeds"),
    "a control without its filter": (Arm("x", "", (Control(KEPT),)), "plan: controls"),
    "a control that is not written": (
        Arm("x", "", (Control(Step("filter", "--keep pid>1 --no-control", (SET,))),)),
        "plan: controls",
    ),
    "a control of what is no filter": (Arm("x", "", (Control(SET),)), "plan: controls"),
    "scores by a network of the user's": (
        Arm("x", "", (replace(KEPT, inputs=(SET, Step("score", "--reid runs/real", (SET, DATA)))),)),
        "plan: scorers",
    ),
    "scores by a re-ID network": (
        Arm("x", "", (replace(KEPT, inputs=(SET, Step("train-reid", "", (DATA,)))),)),
        "plan: scorers",
    ),
    "scores of another set": (
        Arm("x", "", (replace(KEPT, inputs=(replace(SET, options="--per-image 2"), SCORED)),)),
        "plan: scorers",
    ),
    "scores beside other data": (
        Arm("x", "", (replace(KEPT, inputs=(SET, Step("score", "", (SET, OTHER)))),)),
        "plan: scorers",
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_each_leak_fails_its_own_check(name):
    arm, expected = LEAKS[name]
    found = audit_plan(lay_out(study(REAL, arm)))
    assert failed(found) == [expected]
    assert "'x'" in detail(found, expected) or expected in ("plan: test identities", "plan: scorers")


def test_a_selection_beside_the_control_of_another_filter():
    other = replace(KEPT, options="--top 0.5 --by sharpness")
    arms = (Arm("kept", "", (KEPT,)), Arm("other", "", (other,)), Arm("drawn", "", (Control(KEPT),)))
    assert failed(audit_plan(lay_out(study(*arms[1:], arms[0], against="other")))) == ["plan: controls"]
    assert failed(audit_plan(lay_out(study(*arms, against="kept")))) == []


@pytest.mark.parametrize(
    "options", ["--portion 0.5 --portion-seed 1", "--portion 0.5 --portion-seed 1 --portion-seed 2", "--portion 0.5"]
)
def test_arms_of_one_portion_withhold_the_same_images(options):
    """The subset's own seed is 0."""
    found = audit_plan(lay_out(study(Arm("real", options), Arm("subset", data=FEW))))
    assert failed(found) == ["plan: withheld images"]
    other = audit_plan(lay_out(study(Arm("real", "--portion 0.4"), Arm("subset", data=FEW))))
    assert failed(other) == []


def test_random_erasing_alone_is_a_comparison_too():
    erasing = Contrast("erased", "real")
    found = audit_plan(lay_out(study(REAL, Arm("erased"), MIXED, erasing=erasing)))
    assert failed(found) == ["plan: seeds"]


def test_a_missing_trial_and_one_of_another_seed():
    layout = lay_out(GOOD)
    trials = {key: name for key, name in layout.trials.items() if key != ("mixed", 1)}
    found = audit_plan(replace(layout, trials=trials))
    assert "plan: seeds" in failed(found)
    assert "'mixed': no trial of seed 1" in detail(found, "plan: seeds")
    swapped = layout.trials | {("mixed", 1): layout.trials["mixed", 0]}
    found = audit_plan(replace(layout, trials=swapped))
    assert failed(found) == ["plan: seeds"]
    assert "is not run with --seed 1" in detail(found, "plan: seeds")
