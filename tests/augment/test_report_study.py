"""What the report reads of a study's folder: whatever is done, paired by seed, and clear words for what is no study."""

import json
from pathlib import Path

import pytest

from augment import report_results, study
from augment.comparison import holm
from augment.report_study import _labels, comparisons, erasing_alone, level, read
from augment.study import DATA, Arm, Contrast, Control, Given, Step, Study
from tests import studying


@pytest.fixture
def folder(tmp_path, pedestrians):
    return tmp_path / "study"


def test_a_finished_study(folder, pedestrians):
    studying.make(folder, pedestrians)
    found = read(folder)
    assert (found.complete, found.trials, found.failed) == (True, 12, [])
    assert found.seeds("mixed") == [0, 1, 2]
    (place,) = found.sets()
    assert found.sets()[place] == ["mixed", "mixed+erasing"]
    assert found.path(place).exists()
    assert found.path(found.described["data"]) == pedestrians


def test_gains_are_those_that_were_put_in(folder, pedestrians):
    studying.make(folder, pedestrians)
    first, second, alone = compared = comparisons(read(folder))
    assert [(each.arm, each.against) for each in compared] == [
        ("mixed+erasing", "real+erasing"),
        ("mixed", "real"),
        ("real+erasing", "real"),
    ]
    expected = studying.GAINS["mixed+erasing"] - studying.GAINS["real+erasing"]
    assert first.gains["mAP"].mean == pytest.approx(expected)
    assert first.gains["mAP"].per_seed == pytest.approx((expected,) * 3)
    assert second.gains["rank-1"].mean == pytest.approx(1.0), "0.40 is below 0.42, which 0.45 is above"
    assert erasing_alone(read(folder), compared) is alone


def test_holm_counts_all_contrasts_and_erasing_alone_is_none(folder, pedestrians):
    layout = studying.make(folder, pedestrians, noise=0.02)
    compared = comparisons(read(folder))
    family = {place: each.gains["mAP"].p for place, each in enumerate(compared[:2])}
    assert max(each.gains["mAP"].p for each in compared) < 1 / 3, "so that no correction ends at 1"
    assert {place: each.adjusted["mAP"] for place, each in enumerate(compared[:2])} == pytest.approx(holm(family))
    assert compared[2].adjusted == {"mAP": None, "rank-1": None}
    for seed in layout.seeds:  # no result of the second contrast yet
        (folder / "units" / layout.trials["mixed", seed] / "result.json").unlink()
    first, second, _ = comparisons(read(folder))
    assert (second.seeds, second.gains, second.adjusted["mAP"]) == ((), {}, None)
    assert first.adjusted["mAP"] == pytest.approx(2 * first.gains["mAP"].p)


def test_a_comparison_uses_the_seeds_that_both_arms_have(folder, pedestrians):
    layout = studying.make(folder, pedestrians)
    studying.fail(folder, layout.trials["mixed", 0], "Traceback", "ValueError: broken")
    (folder / "units" / layout.trials["real", 2] / "result.json").unlink()
    found = read(folder)
    seeds = {(each.arm, each.against): each.seeds for each in comparisons(found)}
    assert seeds == {
        ("mixed+erasing", "real+erasing"): (0, 1, 2),
        ("mixed", "real"): (1,),
        ("real+erasing", "real"): (0, 1),
    }
    (failed,) = found.failed
    assert (failed.label, failed.said, failed.attempts) == ("mixed, seed 0", "exit code 1: ValueError: broken", 2)
    assert (found.complete, len(found.results)) == (False, 10)


def test_results_of_a_trial_that_is_not_done_do_not_count(folder, pedestrians):
    layout = studying.make(folder, pedestrians)
    name = layout.trials["real", 0]
    (folder / "units" / name / "result.json").unlink()
    assert (folder / "units" / name / "run" / "results.json").exists()
    assert ("real", 0) not in read(folder).results


def test_the_level_of_an_arm_is_its_mean(folder, pedestrians):
    studying.make(folder, pedestrians, noise=0.2)
    results = [read(folder).results["real", seed] for seed in (0, 1, 2)]
    found = level(results, "mAP")
    assert found.mean == pytest.approx(sum(each["mAP"] for each in results) / 3)
    assert found.low < found.mean < found.high


def test_what_is_no_study_is_refused_in_words(tmp_path, folder, pedestrians):
    with pytest.raises(ValueError, match="no such folder; give the folder that `augment ablate"):
        read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no study\.json in it"):
        read(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"stage": "demo"}))
    with pytest.raises(ValueError, match=r"holds a demo; its page is .*report\.html"):
        read(tmp_path)
    studying.make(folder, pedestrians)
    described = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(described | {"schema": 2}))
    with pytest.raises(ValueError, match=r"study.json: schema 2, and this version reads 1"):
        read(folder)
    (folder / "study.json").write_text("{")
    with pytest.raises(ValueError, match=r"study.json: not a JSON file"):
        read(folder)


def test_steps_whose_options_are_alike_are_told_apart_by_what_they_are_made_from():
    generators = [Step("train-generator", f"--images {images}", (DATA,)) for images in (8, 9)]
    arms = tuple(
        Arm(f"arm{number}", "", (Step("synthesize", "--per-image 2", (DATA, generator)),))
        for number, generator in enumerate(generators)
    )
    asked = Study("title", "question", arms, (Contrast("arm0", "arm1"),))
    units = study.lay_out(asked, seeds=1, given=Given(Path("data"), "d" * 64)).description()["units"]
    labels = [label for name, label in _labels(units).items() if name.startswith("synthesize")]
    assert labels == [f"--per-image 2, from train-generator --images {images}" for images in (8, 9)]
    assert len(set(_labels(units).values())) == len(units)


def test_a_set_of_real_images_in_its_place_and_a_random_subset_are_called_so(folder, pedestrians):
    kept = Step("filter", "--top 0.7", (studying.SYNTHESIZE,))
    arms = (
        Arm("copies", "--ratio 1 --control real-duplicated", (kept,)),
        Arm("filtered", "--ratio 1", (kept,)),
        Arm("random", "--ratio 1", (Control(kept),)),
    )
    layout = studying.lay_out(pedestrians, Study("title", "question", arms, (Contrast("filtered", "random"),)))
    studying.write_json(folder / "study.json", studying.described(layout))
    found = read(folder)
    assert [found.trains(arm.name) for arm in arms] == [False, True, True]
    assert [row[1] for row in report_results.sets(found).texts] == ["filtered, copies (count only)", "random"]
    first, second = found.sets()
    assert found.made_by(first) == "filter --top 0.7"
    assert found.made_by(second) == "a random subset of the same count as: filter --top 0.7"
