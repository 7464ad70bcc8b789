"""What `augment inspect` says of a set, also where something beside it is not of it."""

import json

import numpy as np
import pytest

from augment import store
from augment.inspection import summary
from augment.plan import Plan
from tests.command_line import caller

ROWS = 6
PLAN = Plan(
    files=("a.jpg", "b.jpg"),
    poses=np.zeros((2, 18, 2), np.float32),
    pid=np.repeat([3, 8], [2, 4]),
    camid=np.tile([1, 2], 3),
    source_index=np.repeat([0, 1], [2, 4]),
    target_index=np.zeros(ROWS, np.int64),
    seed=np.zeros(ROWS, np.uint64),
)
PROVENANCE = {"tool": "test", "config": {}, "generator": {"model": "none"}, "versions": {}}


def make(path, value):
    return store.write_set(path, PLAN, PROVENANCE, [np.full((ROWS, 4, 2, 3), value, np.uint8)])


@pytest.fixture
def scored(tmp_path):
    path = make(tmp_path / "x.h5", 10)
    column = np.array([0, 1, 2, 3, 4, np.nan], np.float32)
    store.write_scores(store.Reader(path), {"sharpness": store.Score(column, {})})
    return path


def test_counts_and_scores(scored):
    found = summary(store.Reader(scored))
    assert (found["images"], found["size"], found["identities"], found["cameras"]) == (ROWS, "4x2", 2, [1, 2])
    assert found["images_per_identity"] == [2, 4]
    assert found["scores"] == {"sharpness": {"images": 5, "5%": pytest.approx(0.2), "median": 2, "95%": 3.8}}
    assert "scores" not in summary(store.Reader(make(scored.with_name("y.h5"), 0)))


def test_scores_of_another_set_are_said_and_stop_nothing(scored, monkeypatch, capsys):
    beside = store.scores_path(scored)
    held = beside.read_bytes()
    make(scored, 20)
    beside.write_bytes(held)
    augment = caller(monkeypatch, capsys)
    outcome = augment("inspect", scored, "--json", "--checksums")
    assert outcome.code == 0, outcome
    assert json.loads(outcome.out)["scores"] == "of another set (x.scores.h5); score again"
    assert "of another set (x.scores.h5)" in augment("inspect", scored).out


def test_damaged_scores_are_an_error(scored):
    beside = store.scores_path(scored)
    content = bytearray(beside.read_bytes())
    place = content.index(np.array([1, 2, 3], "<f4").tobytes())
    content[place] ^= 1
    beside.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"x\.scores\.h5: damaged"):
        summary(store.Reader(scored))
