"""Order, retries and what is not run, with an executor whose units end as a test says."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augment import trial
from augment.interruption import Flag
from augment.schedule import ATTEMPTS, Schedule, work_off
from augment.study import Unit
from augment.trial import State

LEAVES = {State.DONE: trial.RESULT, State.FAILED: trial.FAILED}


class Told:
    """Ends units in a random order, each as `fate` says at each attempt (the last one counts from then on)."""

    def __init__(self, slots, fates=None, seed=0):
        self.slots, self.fates, self.random = slots, fates or {}, random.Random(seed)
        self.running, self.submitted, self.waits = [], [], 0

    def submit(self, folder):
        assert len(self.running) < self.slots, "more than fit"
        assert folder not in self.running, "twice at once"
        self.running.append(folder)
        self.submitted.append(folder.name)

    def wait(self, seconds):
        self.waits += 1
        assert self.waits < 1000, "waits for ever"
        if not self.running:
            return []
        folder = self.running.pop(self.random.randrange(len(self.running)))
        fates = self.fates.get(folder.name, [State.DONE])
        fate = fates[min(self.submitted.count(folder.name), len(fates)) - 1]
        if fate in LEAVES:
            (folder / LEAVES[fate]).write_text("{}")
        else:
            attempt = {"host": "here", "started": 0.0, "seconds": 1.0, "code": -9}
            (folder / trial.ATTEMPTS).write_text(json.dumps([attempt]))
        return [folder]


def graph(folder: Path, needs: dict[str, list[str]]) -> Schedule:
    for name in needs:
        (folder / name).mkdir(parents=True)
    return Schedule({name: Unit(name, "filter", "", (), tuple(needs[name])) for name in needs}, folder)


CHAIN = {"data": [], "generator": ["data"], "set": ["data", "generator"], "real": ["data"], "mixed": ["data", "set"]}


def go(schedule, executor, flag=None):
    ended = []
    all_of_it = work_off(schedule, executor, flag or Flag(), lambda name, state: ended.append((name, state)))
    return all_of_it, ended


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), slots=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_unit_runs_after_what_it_needs_and_once(tmp_path_factory, data, slots, seed):
    names = [f"u{place}" for place in range(data.draw(st.integers(1, 8)))]
    needs = {name: data.draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else []
             for place, name in enumerate(names)}  # fmt: skip
    fates = {name: [data.draw(st.sampled_from([State.DONE, State.DONE, State.FAILED, State.INTERRUPTED]))]
             for name in names}  # fmt: skip
    schedule = graph(tmp_path_factory.mktemp("units"), needs)
    executor = Told(slots, fates, seed)
    all_of_it, ended = go(schedule, executor)
    assert all_of_it
    order = [name for name, _ in ended]
    for name in names:
        obstacles = [need for need in needs[name] if schedule.ended.get(need) is not State.DONE]
        assert (name in order) == (not obstacles)
        assert executor.submitted.count(name) == (
            0 if obstacles else ATTEMPTS if fates[name] == [State.INTERRUPTED] else 1
        )
        if obstacles:
            root = schedule.obstacle(name)
            assert schedule.ended[root] is not State.DONE
        else:
            assert schedule.ended[name] is fates[name][0]
            assert all(order.index(need) < order.index(name) for need in needs[name])
    assert not schedule.waiting


def test_what_can_run_at_once_does(tmp_path):
    schedule, executor = graph(tmp_path, {name: [] for name in "abcd"}), Told(3)
    most = []
    work_off(schedule, executor, Flag(), lambda *_: most.append(len(executor.running)))
    assert most[:2] == [2, 2], "a slot that is free is taken before the next wait"


def test_others_go_on_after_a_failure_and_its_dependants_do_not_run(tmp_path):
    schedule, executor = graph(tmp_path, CHAIN), Told(1, {"generator": [State.FAILED]})
    assert go(schedule, executor)[0]
    assert executor.submitted == ["data", "generator", "real"]
    assert {name: schedule.obstacle(name) for name in CHAIN} == {
        "data": None, "generator": None, "real": None, "set": "generator", "mixed": "generator",
    }  # fmt: skip


def test_an_interrupted_unit_has_one_more_chance(tmp_path):
    schedule, executor = graph(tmp_path, CHAIN), Told(1, {"generator": [State.INTERRUPTED, State.DONE]})
    assert go(schedule, executor)[0]
    assert executor.submitted.count("generator") == 2
    assert schedule.done == frozenset(CHAIN)


def test_one_that_is_interrupted_again_is_left_to_the_next_run(tmp_path):
    executor = Told(1, {"generator": [State.INTERRUPTED, State.INTERRUPTED, State.DONE]})
    schedule = graph(tmp_path, CHAIN)
    assert go(schedule, executor)[0]
    assert schedule.ended["generator"] is State.INTERRUPTED
    assert executor.submitted.count("generator") == ATTEMPTS
    again = Schedule(schedule.units, tmp_path, dict.fromkeys(schedule.done, State.DONE))
    assert go(again, executor)[0]
    assert again.done == frozenset(CHAIN)


@pytest.mark.parametrize("state", [State.DONE, State.FAILED])
def test_what_another_runner_ended_is_taken_up(tmp_path, state):
    schedule, executor = graph(tmp_path, CHAIN), Told(1)
    (tmp_path / "data" / LEAVES[state]).write_text("{}")
    _, ended = go(schedule, executor)
    assert ended[0] == ("data", state)
    assert "data" not in executor.submitted


def test_what_another_runner_works_at_is_left_to_it(tmp_path, monkeypatch):
    """No slot is spent on waiting for its lock; when it ends, what needs it is run."""
    schedule, executor = graph(tmp_path, CHAIN), Told(2)
    looks = []

    def state(folder, truth=trial.state):
        if folder.name == "generator" and not (folder / trial.RESULT).exists():
            looks.append(folder)
            if len(looks) > 5:
                (folder / trial.RESULT).write_text("{}")
                return State.DONE
            return State.RUNNING
        return truth(folder)

    monkeypatch.setattr(trial, "state", state)
    assert go(schedule, executor)[0]
    assert executor.submitted == ["data", "real", "set", "mixed"]
    assert schedule.done == frozenset(CHAIN)


def test_a_command_that_outlived_its_runner_is_not_given_up(tmp_path, monkeypatch):
    """Its last attempt ended, as the executor says, but its lock is held: it is waited for, and nothing submitted."""
    schedule, executor = graph(tmp_path, {"data": []}), Told(1, {"data": [State.INTERRUPTED]})
    states = iter([State.NEW, *[State.INTERRUPTED] * 2, *[State.RUNNING] * 3, State.DONE])
    monkeypatch.setattr(trial, "state", lambda folder: next(states))
    assert go(schedule, executor)[0]
    assert executor.submitted == ["data"] * ATTEMPTS
    assert schedule.done == {"data"}


def test_after_sigterm_nothing_more_is_submitted(tmp_path):
    schedule, executor, flag = graph(tmp_path, CHAIN), Told(1), Flag()

    def ended(name, state):
        flag.requested = name == "generator"

    assert work_off(schedule, executor, flag, ended) is False
    assert executor.submitted == ["data", "generator"]


def test_the_rest_is_what_can_still_run(tmp_path):
    schedule = graph(tmp_path, CHAIN)
    schedule.ended |= {"data": State.DONE, "generator": State.FAILED}
    assert {name: (unit.command, unit.needs) for name, unit in schedule.rest().items()} == {
        "real": ("filter", ("data",))
    }
    assert schedule.waiting
    schedule.ended["real"] = State.DONE
    assert not schedule.waiting
