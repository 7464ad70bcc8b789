"""A study.json that was edited, cut off or is something else is refused in a line that says where."""

import copy
import json

import pytest

from augment import study_file
from tests import studying
from tests.command_line import caller

REMEDY = "restore it from a backup, or run the study with another --out and, to keep what is made, its units as --units"


@pytest.fixture
def described(pedestrians):
    return json.loads(json.dumps(studying.described(studying.lay_out(pedestrians))))


def read(folder, content):
    path = folder / "study.json"
    studying.write_json(path, content)
    return study_file.read(path)


def test_what_a_study_holds_is_read_back(tmp_path, described):
    assert read(tmp_path, described) == described
    older = {key: value for key, value in described.items() if key not in ("seconds", "changes")}
    assert read(tmp_path, older) == older


@pytest.mark.parametrize(
    "place",
    [
        ("schema",), ("title",), ("arms",), ("units_folder",), ("contrasts",), ("created",), ("erasing",),
        ("arms", 1, "trials"), ("arms", 0, "options"), ("contrasts", 0, "against"), ("erasing", "asks"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(tmp_path, described, place):
    *outer, last = place
    inner = described
    for key in outer:
        inner = inner[key]
    del inner[last]
    where = {(): "it", ("erasing",): "erasing"}.get(tuple(outer)) or f"{outer[0]}[{outer[1]}]"
    with pytest.raises(ValueError, match=r"study\.json: ") as caught:
        read(tmp_path, described)
    said = f"{where} has no {last!r}, so it is no study, or a damaged one; {REMEDY}"
    assert str(caught.value) == f"{tmp_path / 'study.json'}: {said}"


def wrong(described, change):
    changed = copy.deepcopy(described)
    change(changed)
    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(arms={}), "arms is a table, and should be a list"),
        (lambda d: d.update(arms=[]), "arms is empty"),
        (lambda d: d.update(contrasts=[]), "contrasts is empty"),
        (lambda d: d.update(seeds=[0, 1.5, 2]), "seeds[1] is 1.5, and should be a whole number"),
        (lambda d: d.update(erasing=[]), "erasing is a list, and should be a table or null"),
        (lambda d: d.update(changes=["more seeds"]), "changes[0] is a text, and should be a table"),
        (lambda d: d["contrasts"][0].update(arm="gone"), "it compares 'gone', of which there is no arm"),
        (
            lambda d: d["arms"][0].update(curve=["plain"]),
            "the curve of arm 'real' is ['plain'], and should be a line's",
        ),
        (lambda d: d["arms"][0]["trials"].update({"7": "x"}), "arm 'real' has a trial of '7', which is none of its"),
        (lambda d: d["arms"][0]["trials"].update({"0": "x"}), "arm 'real' needs 'x', of which there is no unit"),
        (lambda d: next(iter(d["units"].values())).update(needs=["x"]), "needs 'x', of which there is no unit"),
        (lambda d: next(iter(d["units"].values())).pop("argv"), " has no 'argv'"),
    ],
)
def test_what_is_of_another_form_or_leads_nowhere_is_named(tmp_path, described, change, said):
    with pytest.raises(ValueError, match=r"study\.json: ") as caught:
        read(tmp_path, wrong(described, change))
    assert said in str(caught.value)
    assert str(caught.value).endswith(REMEDY)


def test_a_study_of_another_version(tmp_path, described):
    with pytest.raises(ValueError, match=r"study\.json: schema 2, and this version reads 1; use the one that made it"):
        read(tmp_path, described | {"schema": 2})


STUDY = """
from augment.study import Arm, Contrast, Study
STUDIES = {"tiny": Study("t", "?", (Arm("a"), Arm("b", "--erase 0.5")), (Contrast("a", "b"),), data="")}
"""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not a JSON file, or a part of one"),
        ("[]", "it is a list, and should be a table, so it is no study, or a damaged one"),
        ('{"schema": 1, "units_folder": "units"}', "it has no 'study', so it is no study, or a damaged one"),
    ],
)
def test_both_commands_say_it_in_one_line(tmp_path, monkeypatch, capsys, content, said):
    augment = caller(monkeypatch, capsys)
    (tmp_path / "tiny.py").write_text(STUDY)
    out = tmp_path / "out"
    out.mkdir()
    (out / "study.json").write_text(content)
    for words in (["report", out], ["ablate", tmp_path / "tiny.py", "--out", out]):
        outcome = augment(*words)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == f"Error: {out / 'study.json'}: {said}; {REMEDY}\n"
