"""What a study is taken apart into: each unit once, after its needs, in a folder named after all that determines it."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.study import CONTROL, DATA, REID, Arm, Contrast, Control, Given, Step, Study, lay_out

GENERATOR = Step("train-generator", "--model dptn", (DATA,))
SET = Step("synthesize", "--per-image 2", (DATA, GENERATOR))
SCORED = Step("score", "--epochs 10", (SET, DATA))
KEPT = Step("filter", "--top 0.7", (SET, SCORED))
ARMS = (
    Arm("real"),
    Arm("mixed", "--ratio 1", (SET,)),
    Arm("filtered", "--ratio 1", (KEPT,)),
    Arm("subset", "--ratio 1", (Control(KEPT),)),
)


def study(*arms: Arm, **options) -> Study:
    contrasts = (Contrast(arms[-1].name, arms[0].name),)
    return Study("A study", "?", arms, contrasts, **{"data": "--identities 4", "seeds": 2} | options)


WHOLE = study(*ARMS, reid="--epochs 3")


def of(layout, command):
    return [unit for unit in layout.units.values() if unit.command == command]


def test_what_arms_share_is_made_once():
    layout = lay_out(WHOLE)
    shared = dict.fromkeys(("make-data", "train-generator", "synthesize", "score", "filter"), 1)
    assert Counter(unit.command for unit in layout.units.values()) == {**shared, REID: len(ARMS) * 2}
    assert layout.trials.keys() == {(arm.name, seed) for arm in ARMS for seed in (0, 1)}
    assert set(layout.trials.values()) == {unit.name for unit in of(layout, REID)}


def test_the_words_of_each_command():
    layout = lay_out(WHOLE, extra=("--device", "cpu"))
    data, generator, made, scored, kept = (
        of(layout, command)[0] for command in ("make-data", "train-generator", "synthesize", "score", "filter")
    )
    assert data.argv == ("make-data", data.out, "--identities", "4"), "what computes nothing takes no device"
    assert generator.argv == (
        "train-generator", data.out, "--out", generator.out, "--model", "dptn", "--device", "cpu"
    )  # fmt: skip
    assert made.argv == (
        "synthesize", data.out, "--generator", generator.out, "--out", made.out, "--per-image", "2", "--device", "cpu"
    )  # fmt: skip
    assert scored.argv == ("score", made.out, data.out, "--reid", scored.out, "--epochs", "10", "--device", "cpu")
    assert kept.argv == ("filter", made.out, "--out", kept.out, "--top", "0.7")
    trial = layout.units[layout.trials["subset", 1]]
    assert trial.argv == (
        REID, data.out, "--out", trial.out, "--synthetic", f"{kept.name}/{CONTROL}", "--epochs", "3", "--ratio", "1",
        "--seed", "1", "--device", "cpu",
    )  # fmt: skip
    assert (trial.out, trial.proof) == (f"{trial.name}/run", f"{trial.name}/run/results.json")
    assert trial.label == "subset, seed 1"
    assert layout.data == data.out
    assert layout.sets == {
        "real": (), "mixed": (made.out,), "filtered": (kept.out,), "subset": (f"{kept.name}/{CONTROL}",),
    }  # fmt: skip


steps = st.recursive(
    st.just(DATA),
    lambda made: st.builds(
        Step,
        st.sampled_from(["subset", "synthesize", "filter"]),
        st.sampled_from(["", "--a 1", "--b 2"]),
        st.lists(made, min_size=1, max_size=2).map(tuple),
        st.booleans(),
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps.filter(lambda step: step != DATA), max_size=3), st.integers(1, 3))
def test_units_come_after_what_they_need(sets, seeds):
    layout = lay_out(study(Arm("real"), Arm("mixed", "--ratio 1", tuple(sets))), seeds)
    before = set()
    for name, unit in layout.units.items():
        assert unit.name == name
        assert set(unit.needs) <= before
        read = {word.partition("/")[0] for word in unit.argv if "/" in word} - {name}
        assert read <= set(unit.needs)
        before.add(name)
    assert len({unit.argv for unit in layout.units.values()}) == len(layout.units)


def changed(**options):
    return {unit.name for unit in lay_out(replace(WHOLE, **options)).units.values()}


def test_a_name_holds_all_that_determines_the_result():
    """Of what an option changes, and of what is made from that, all names differ; the others stay."""
    layout = lay_out(WHOLE)
    names = set(layout.units)
    assert changed() == names
    assert changed(title="Another", note="...", seeds=2, question="??", seconds={REID: 1}) == names
    trials = set(layout.trials.values())
    assert names & changed(reid="--epochs 4") == names - trials
    assert not names & changed(data="--identities 5")
    other = replace(SET, options="--per-image 3")
    arms = (ARMS[0], replace(ARMS[1], sets=(other,)), *ARMS[2:])
    kept = names - {layout.trials["mixed", seed] for seed in (0, 1)}
    assert names & changed(arms=arms) == kept, "the set that others still use stays as well"


def test_the_name_of_an_arm_is_not_part_of_the_address():
    renamed = lay_out(replace(WHOLE, arms=(replace(ARMS[0], name="baseline"), *ARMS[1:]),
                              contrasts=(Contrast("mixed", "baseline"),)))  # fmt: skip
    assert renamed.trials["baseline", 0] == lay_out(WHOLE).trials["real", 0]


def test_the_device_is_not_part_of_the_address():
    assert lay_out(WHOLE, extra=("--device", "cpu")).trials == lay_out(WHOLE, extra=("--device", "cuda")).trials


def test_more_seeds_keep_the_first_ones():
    two, three = lay_out(WHOLE), lay_out(WHOLE, 3)
    assert two.trials.items() <= three.trials.items()
    assert two.units.keys() <= three.units.keys()
    assert [trial for trial in three.trials if trial not in two.trials] == [(arm.name, 2) for arm in ARMS]
    assert len(set(three.trials.values())) == len(ARMS) * 3, "each seed is a trial of its own"


def test_trials_come_seed_by_seed():
    """So that a study which is stopped early can be compared."""
    assert list(lay_out(WHOLE).trials) == [(arm.name, seed) for seed in (0, 1) for arm in ARMS]


def test_seeded_steps_are_made_for_every_seed():
    seeded = replace(SET, seeded=True)
    layout = lay_out(study(Arm("real"), Arm("mixed", "", (seeded,))))
    first, second = of(layout, "synthesize")
    assert first.argv[-2:] == ("--seed", "0")
    assert second.argv[-2:] == ("--seed", "1")
    for seed, made in ((0, first), (1, second)):
        assert made.out in layout.units[layout.trials["mixed", seed]].argv
    assert layout.sets["mixed"] == (first.out,)
    assert len(of(layout, "train-generator")) == 1


def test_selection_and_control_are_one_unit_and_two_trials():
    layout = lay_out(WHOLE)
    assert len(of(layout, "filter")) == 1
    assert layout.trials["filtered", 0] != layout.trials["subset", 0]
    needs = [layout.units[layout.trials[arm, 0]].needs for arm in ("filtered", "subset")]
    assert needs[0] == needs[1]


def test_files_count_by_what_they_hold(tmp_path):
    first, copy = tmp_path / "weights.bin", tmp_path / "elsewhere" / "other.bin"
    first.write_bytes(b"weights")
    copy.parent.mkdir()
    shutil.copy(first, copy)

    def name(path: Path) -> str:
        made = replace(GENERATOR, options=f"--init {path}")
        return of(lay_out(study(Arm("a", "", (replace(SET, inputs=(DATA, made)),)))), "train-generator")[0].name

    assert name(first) == name(copy)
    before = name(first)
    first.write_bytes(b"other weights")
    assert name(first) != before


@pytest.mark.parametrize("form", ["--init {}", "--init={}"])
def test_folders_count_by_what_tells_them_apart(tmp_path, form):
    folder = tmp_path / "run"
    folder.mkdir()

    def name() -> str:
        made = Step("train-generator", form.format(folder), (DATA,))
        return of(lay_out(study(Arm("a", "", (replace(SET, inputs=(DATA, made)),)))), "train-generator")[0].name

    with pytest.raises(ValueError, match=r"train-generator --init.*run holds none of generator.safetensors.*give a f"):
        name()
    (folder / "generator.safetensors").write_bytes(b"weights")
    before = name()
    (folder / "losses.csv").write_text("1")
    assert name() == before
    (folder / "generator.safetensors").write_bytes(b"other weights")
    assert name() != before


def test_a_file_in_one_word_with_its_option_counts_by_what_it_holds(tmp_path):
    weights = tmp_path / "weights.bin"

    def name(content: bytes) -> str:
        weights.write_bytes(content)
        return lay_out(study(Arm("a", f"--init={weights}"))).trials["a", 0]

    assert name(b"one") == name(b"one") != name(b"two")


@pytest.mark.parametrize("scored", [SET, Step("filter", "--top 0.9", (SET,)), Control(Step("filter", "", (SET,)))])
def test_a_set_is_scored_by_one_step(scored):
    """A selection has no pixels of its own, and its scores lie beside the set that has."""
    other = Step("filter", "--top 0.5", (scored, Step("score", "--epochs 20", (scored, DATA))))
    asked = study(Arm("a", "", (KEPT,)), Arm("b", "", (other,)))
    with pytest.raises(ValueError, match=r"score-\w+ \(score --epochs 10\) and score-\w+ .*--epochs 20\): two score"):
        lay_out(asked)
    again = replace(SET, options="--per-image 3")
    lay_out(
        study(Arm("a", "", (KEPT,)), Arm("b", "", (replace(KEPT, inputs=(again, Step("score", "", (again, DATA)))),)))
    )


def test_labels_name_the_share_of_the_images():
    part = Step("subset", "--portion 0.2", (DATA,))
    made = Step("synthesize", "--per-image 2", (part, Step("train-generator", "--model dptn", (part,))))
    kept = Step("filter", "--top 0.7", (made,))
    units = lay_out(study(Arm("a", "", (kept,), data=part))).units.values()
    labels = {unit.command: unit.label for unit in units if unit.command != REID}
    assert labels == {
        "make-data": "--identities 4", "subset": "--portion 0.2", "train-generator": "20 % subset: --model dptn",
        "synthesize": "20 % subset: --per-image 2", "filter": "20 % subset: --top 0.7",
    }  # fmt: skip


def test_options_are_split_as_a_shell_does():
    kept = Step("filter", "--keep 'identity_margin > 0'", (SET,))
    layout = lay_out(study(Arm("a", "", (kept,))))
    assert of(layout, "filter")[0].argv[-2:] == ("--keep", "identity_margin > 0")


def test_given_data_count_by_their_digest(tmp_path):
    data = Given(tmp_path / "data", "1" * 64)
    layout = lay_out(WHOLE, given=data)
    assert not of(layout, "make-data")
    assert layout.data == str(tmp_path / "data")
    assert of(layout, "train-generator")[0].argv[1] == str(tmp_path / "data")
    assert of(layout, "train-generator")[0].needs == ()
    assert lay_out(WHOLE, given=replace(data, path=tmp_path / "moved")).units.keys() == layout.units.keys()
    assert not lay_out(WHOLE, given=replace(data, digest="2" * 64)).units.keys() & layout.units.keys()
    with pytest.raises(ValueError, match=r"--data: A study brings no data of its own at this scale; give a data set"):
        lay_out(replace(WHOLE, data=None))


def test_an_arm_with_data_of_its_own(tmp_path):
    part = Step("subset", "--portion 0.2", (DATA,))
    layout = lay_out(study(Arm("real"), Arm("part", data=part)))
    (subset,) = of(layout, "subset")
    assert layout.units[layout.trials["part", 0]].argv[1] == subset.out
    assert layout.units[layout.trials["real", 0]].argv[1] == layout.data


def test_the_description_is_json_and_names_every_trial():
    layout = lay_out(replace(WHOLE, erasing=Contrast("mixed", "real"), axis="ratio"))
    found = json.loads(json.dumps(layout.description()))
    assert found["seeds"] == [0, 1]
    assert {arm["name"]: arm["trials"] for arm in found["arms"]} == {
        arm.name: {str(seed): layout.trials[arm.name, seed] for seed in (0, 1)} for arm in ARMS
    }
    assert found["units"].keys() == layout.units.keys()
    assert (found["contrasts"], found["erasing"]) == (
        [{"arm": "subset", "against": "real", "asks": ""}], {"arm": "mixed", "against": "real", "asks": ""},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Step("trian-reid"), "step 'trian-reid': a study is made of make-data, subset"),
        (lambda: Step("train-reid", "--seed 3"), "the study itself gives it --seed"),
        (lambda: Step("synthesize", "--seed 3", seeded=True), "the study itself gives it --seed"),
        (lambda: study(Arm("a"), Arm("a")), "two arms are called a"),
        (lambda: Study("S", "?", (Arm("a"),), (Contrast("b", "a"),)), "compares b, of which there is no arm"),
        (lambda: Study("S", "?", (Arm("a"),), (Contrast("a", "a"),), erasing=Contrast("c", "a")), "compares c"),
        (lambda: Study("S", "?", (Arm("a"),), ()), "compares nothing"),
    ],
)
def test_mistakes_in_a_study(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_an_unseeded_step_may_have_a_seed_of_its_own():
    assert Step("synthesize", "--seed 3", (DATA,)).words == ("--seed", "3")
