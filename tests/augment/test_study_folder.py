"""What a study's folder holds, and what it refuses to mix."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from augment import files, runs, study_folder, trial
from augment.results_audit import COMPUTING
from augment.study import DATA, Arm, Contrast, Step, Study, lay_out
from augment.study_folder import Plan, given_data, publish, refuse_to_mix, units_folder

SET = Step("synthesize", "--per-image 2", (DATA,))
STUDY = Study("A study", "?", (Arm("real"), Arm("mixed", "", (SET,))), (Contrast("mixed", "real"),), data="", seeds=2)


def plan(out, study=STUDY, name="benefit", scale="tiny", given=None, units=None):
    return Plan(name, scale, lay_out(study, given=given), out, units_folder(out, units), given)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def published(*given, **options):
    log = []
    made = plan(*given, **options)
    refuse_to_mix(made)
    publish(made, log.append)
    return made, log


def test_what_is_published(out):
    made, log = published(out)
    assert log == []
    held = files.read_json(out / "study.json")
    assert (held["schema"], held["study"], held["scale"], held["units_folder"]) == (1, "benefit", "tiny", "units")
    assert held["versions"] == runs.versions()
    assert held.items() >= json.loads(json.dumps(made.layout.description())).items()
    for name, unit in made.units.items():
        assert trial.read_unit(out / "units" / name) == unit
        assert files.read_json(out / "units" / name / "unit.json")["schema"] == 1


def test_publishing_again_writes_nothing(out):
    made, _ = published(out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert study_folder.is_published(made)
    assert published(out)[1] == []
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_what_is_new_is_said(out):
    created = files.read_json(published(out)[0].out / "study.json")["created"]
    more = replace(STUDY, seeds=3, arms=(*STUDY.arms[::-1], Arm("erased", "--erase 0.5")))
    assert not study_folder.is_published(plan(out, more))
    assert published(out, more)[1] == ["added arms: erased", "seeds 2 -> 3"]
    assert files.read_json(out / "study.json")["created"] == created
    assert published(out)[1] == ["arms left out this time: erased", "seeds 3 -> 2"]
    longer = replace(STUDY, arms=(STUDY.arms[0], replace(STUDY.arms[1], options="--epochs 9")))
    assert published(out, longer)[1] == ["arms that are other trials than before: mixed"]
    assert study_folder.changes(out) == [], "no trial was begun"


def test_changes_after_the_first_trial_stay_on_record(out):
    third = Arm("erased", "--erase 0.5")
    first = replace(STUDY, arms=(*STUDY.arms, third), contrasts=(Contrast("mixed", "real"), Contrast("erased", "real")))
    made, _ = published(out, first)
    files.write_json(made.folder(made.layout.trials["real", 0]) / "attempts.json", [{"host": "h", "started": 0.0}])
    other = replace(first, contrasts=(first.contrasts[1], Contrast("mixed", "erased")), question="Why?", seeds=5)
    _, log = published(out, other)
    assert log == [
        "question: was '?'", "another headline: 'erased' against 'real' in place of 'mixed' against 'real'",
        "added comparisons: 'mixed' against 'erased'", "comparisons left out this time: 'mixed' against 'real'",
        "seeds 2 -> 5",
    ]  # fmt: skip
    assert [each["what"] for each in study_folder.changes(out)] == [f"{line}, after trials had begun" for line in log]
    assert all(each["when"].startswith("20") for each in study_folder.changes(out))
    assert study_folder.is_published(plan(out, other))

    result = {"versions": runs.versions()}
    files.write_json(made.folder(made.layout.trials["real", 0]) / "result.json", result)
    fewer = replace(other, arms=(*STUDY.arms,), contrasts=(Contrast("mixed", "real"),))
    published(out, fewer)
    published(out, fewer)
    told = [each["what"] for each in study_folder.changes(out)]
    assert len(told) == len(log) + 4
    assert told[-1] == "arms left out this time: erased, after results were there"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "filter"}, r"study \(benefit there, filter asked\)"),
        ({"scale": "large"}, r"scale \(tiny there, large asked\)"),
        (
            {"study": replace(STUDY, data="--identities 9")},
            r"data_digest \(make-data-\w{12} there, make-data-\w{12} asked\)",
        ),
    ],
)
def test_another_study_in_the_folder_is_refused(out, options, words):
    published(out)
    with pytest.raises(ValueError, match=f"holds another study: {words}; choose another --out"):
        refuse_to_mix(plan(out, **options))


def test_files_of_something_else_are_refused(out):
    out.mkdir()
    refuse_to_mix(plan(out))
    (out / ".study.json.host.1.part").touch()
    refuse_to_mix(plan(out))
    (out / "photo.jpg").touch()
    with pytest.raises(ValueError, match=r"holds files but no study\.json, so it is no study; choose another --out"):
        refuse_to_mix(plan(out))
    (out / "study.json").write_text("[]")
    with pytest.raises(ValueError, match=r"study\.json: it is a list, and should be a table, so it is no study"):
        plan(out)


def test_given_data_may_move_but_not_change(out, pedestrians, tmp_path):
    given = given_data(pedestrians)
    assert given == given_data(Path(pedestrians))
    published(out, given=given)
    moved = shutil.copytree(pedestrians, tmp_path / "moved")
    again = given_data(moved)
    assert again.digest == given.digest
    refuse_to_mix(plan(out, given=again))
    points = moved / "market-annotation-train.csv"
    points.write_text(points.read_text().replace("1", "2", 1))
    assert given_data(moved).digest != given.digest, "key points count: generators read them"
    with pytest.raises(ValueError, match=r"holds another study: data_digest"):
        refuse_to_mix(plan(out, given=given_data(moved)))
    with pytest.raises(ValueError, match=r"holds another study: data_digest"):
        refuse_to_mix(plan(out))


def test_query_images_count(pedestrians, tmp_path):
    moved = shutil.copytree(pedestrians, tmp_path / "moved")
    next((moved / "query").glob("*.jpg")).unlink()
    assert given_data(moved).digest != given_data(pedestrians).digest


@pytest.mark.parametrize("name", COMPUTING)
def test_units_of_other_versions_are_refused(out, monkeypatch, name):
    made, _ = published(out)
    folder = made.folder(next(iter(made.units)))
    files.write_json(folder / "result.json", {"versions": runs.versions() | {name: "0.0.1"}})
    with pytest.raises(ValueError, match=rf"{folder.name}: made with {name} 0\.0\.1 \(here [\w.+-]+\); choose another"):
        refuse_to_mix(made)
    files.write_json(folder / "result.json", {"versions": runs.versions() | {"h5py": "0.0.1"}})
    refuse_to_mix(made)


def test_units_that_were_begun_with_other_versions_are_refused(out):
    made, _ = published(out)
    header = files.read_json(out / "study.json")
    files.write_json(out / "study.json", header | {"versions": header["versions"] | {"torch": "1.0"}})
    refuse_to_mix(made)
    files.write_json(made.folder(next(iter(made.units))) / "attempts.json", [{"host": "h", "started": 0.0}])
    with pytest.raises(ValueError, match=r"out: made with torch 1\.0"):
        refuse_to_mix(made)


def test_where_units_lie(out, tmp_path):
    assert units_folder(out, None) == out / "units"
    shared = tmp_path / "shared"
    made, _ = published(out, units=shared)
    assert files.read_json(out / "study.json")["units_folder"] == str(shared)
    assert trial.read_unit(shared / next(iter(made.units)))
    assert units_folder(out, None) == shared, "it is remembered"
    with pytest.raises(ValueError, match=r"--units .*elsewhere: the units of .*out lie in .*shared; leave it out"):
        units_folder(out, tmp_path / "elsewhere")


def test_a_study_may_be_moved(out, tmp_path, monkeypatch):
    published(out)
    out.rename(tmp_path / "moved")
    assert units_folder(tmp_path / "moved", None) == tmp_path / "moved" / "units"
    monkeypatch.chdir(tmp_path)
    refuse_to_mix(plan(Path("moved")))
    assert published(Path("moved"))[1] == []
    assert files.read_json(tmp_path / "moved" / "study.json")["units_folder"] == "units"


def test_states_are_those_on_the_disk(out):
    made, _ = published(out)
    first, second, *others = made.units
    files.write_json(made.folder(first) / "result.json", {})
    files.write_json(made.folder(second) / "failed.json", {})
    assert made.states() == {first: "done", second: "failed", **dict.fromkeys(others, "new")}
