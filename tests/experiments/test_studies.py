"""The studies of `experiments/`: every command line can be parsed, every comparison is fair."""

import importlib
import itertools
import shlex
from pathlib import Path

import pytest

from augment import cli
from augment.study import REID, Given, Study, lay_out
from experiments.scales import SCALES

NAMES = (
    "augmentation_benefit", "synthetic_ratio", "real_portion", "generators", "pose_policy", "filter", "label_policy",
    "backbones", "generator_losses",
)  # fmt: skip
GIVEN = Given(Path("data"), "0" * 64)


def studies(name: str) -> dict[str, Study]:
    return importlib.import_module(f"experiments.{name}").STUDIES


def laid_out(study: Study, seeds: int = 2):
    return lay_out(study, seeds, None if study.data else GIVEN)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_says_its_question_its_cost_and_its_result(name):
    text = importlib.import_module(f"experiments.{name}").__doc__ or ""
    assert text.splitlines()[0].endswith("?") or "?" in text.split("\n\n")[0]
    assert f"augment ablate {name} --out DIR" in text
    assert "Expected cost: " in text
    assert "\nResult: " in text
    assert set(studies(name)) == set(SCALES)


@pytest.mark.parametrize(("name", "scale"), list(itertools.product(NAMES, SCALES)))
def test_every_command_line_is_one_that_augment_takes(name, scale, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    study = studies(name)[scale]
    for unit in laid_out(study, 1).units.values():
        for word in unit.argv:  # what options demand to be there
            if word.startswith("make-data-") or word.endswith((".h5", "/run", "/data")):
                Path(word).mkdir(parents=True, exist_ok=True)
        whole = cli.group.make_context("augment", ["doctor"])
        command = cli.group.get_command(whole, unit.command)
        assert command is not None
        command.make_context(unit.command, list(unit.argv[1:]), parent=whole)


@pytest.mark.parametrize("name", NAMES)
def test_every_trial_names_its_epochs_and_compares_within_the_study(name):
    study = studies(name)["procedural"]
    for unit in laid_out(study).units.values():
        if unit.command == REID:
            assert unit.argv.count("--epochs") == 1
            assert unit.argv.count("--seed") == 1
    assert study.seeds >= 5
    assert all(each.arm != each.against for each in study.contrasts)
    pairs = [(each.arm, each.against) for each in study.contrasts]
    assert len(set(pairs)) == len(pairs)


def updates(words: tuple[str, ...], real: int) -> float:
    """Draws of a training: epochs times what an epoch draws."""
    options = dict(itertools.pairwise(words))
    kept = float(options.get("--portion", 1))
    ratio = float(options.get("--ratio", 0)) if "--synthetic" in options else 0.0
    listed = real if "--replace" in words else real * kept * (1 if "--match" in options else 1 + ratio)
    return int(options["--epochs"]) * listed


@pytest.mark.parametrize("name", NAMES)
def test_headlines_compare_arms_of_equal_updates(name):
    study = studies(name)["procedural"]
    layout = laid_out(study, 1)
    first = study.contrasts[0]
    real = 10_000
    drawn = []
    for arm in (first.arm, first.against):
        argv = layout.units[layout.trials[arm, 0]].argv
        subset = [layout.units[need] for need in layout.units[layout.trials[arm, 0]].needs if need.startswith("subset")]
        share = float(dict(itertools.pairwise(subset[0].argv))["--portion"]) if subset else 1.0
        drawn.append(updates(argv, round(real * share)))
    assert drawn[0] == pytest.approx(drawn[1], rel=0.03)


def test_the_benefit_study_has_every_arm_of_the_protocol_with_and_without_erasing():
    protocol = {
        "real", "real_matched", "real_duplicated", "mixed", "mixed_matched", "self_pose", "mixed_filtered",
        "mixed_random_subset",
    }  # fmt: skip
    study = studies("augmentation_benefit")["procedural"]
    assert {arm.name for arm in study.arms} == protocol | {f"{name}, erasing" for name in protocol}
    for plain in (arm for arm in study.arms if arm.name in protocol):
        erased = next(arm for arm in study.arms if arm.name == f"{plain.name}, erasing")
        assert shlex.split(erased.options) == [*shlex.split(plain.options), "--erase", "0.5"]
        assert erased.sets == plain.sets
    assert (study.contrasts[0].arm, study.contrasts[0].against) == ("mixed, erasing", "real_matched, erasing")
    assert study.erasing is not None


def test_in_the_scarce_regime_no_stage_sees_a_withheld_image():
    study = studies("real_portion")["procedural"]
    layout = laid_out(study, 1)
    whole = layout.data
    for (arm, _), name in layout.trials.items():
        if not arm.startswith("G-subset"):
            continue
        reached, queue = set(), [name]
        while queue:
            unit = layout.units[queue.pop()]
            reached.add(unit.name)
            if unit.command != "subset":
                queue += unit.needs
        words = {word for each in reached for word in layout.units[each].argv if layout.units[each].command != "subset"}
        assert whole not in words
        assert {layout.units[each].command for each in reached} == {REID, "synthesize", "train-generator", "subset"}


def test_one_generator_serves_all_seeds_and_arms():
    layout = laid_out(studies("augmentation_benefit")["procedural"], 5)
    made = [unit.command for unit in layout.units.values()]
    assert (made.count("make-data"), made.count("train-generator"), made.count("score")) == (1, 1, 1)
    assert (made.count("synthesize"), made.count("filter"), made.count(REID)) == (2, 1, 80)
