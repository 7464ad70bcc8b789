"""Tasks of Ray. Ray itself runs in a process of its own, on loopback: its threads would stay in that of the tests."""

import json
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")

from augment import trial
from augment.executors import open_executor
from augment.executors.local import LocalExecutor
from augment.trial import State
from tests import executing
from tests.executing import make_units, work_off
from tests.standing_in import said

OPEN = """
import json, sys, time
from pathlib import Path
from augment import trial
from augment.executors import open_executor
from tests.executing import progress, work_off
from tests.standing_in import until
units = Path(sys.argv[1])
folders = sorted(units.glob("unit-*"))
"""
ONE_MACHINE = """
executor = open_executor("ray", 2, {"address": "local"}, units.parent / "work")
states = work_off(executor, folders[:3])
executor.submit(folders[3])
until(lambda: progress(folders[3]))
executor.stop()
stopped = trial.state(folders[3])
executor.close()
print(json.dumps([*states, stopped]))
"""
TWO_NODES = """
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
cluster.wait_for_nodes()
executor = open_executor("ray", None, {"address": cluster.address}, units.parent / "work")
slots = executor.slots
for folder in folders[:2]:
    executor.submit(folder)
until(lambda: all(progress(folder) >= 2 for folder in folders[:2]))
before = [progress(folder) for folder in folders[:2]]
cluster.remove_node(nodes[0], allow_graceful=False)
todo, waiting = folders[2:], set(folders[:2])
while waiting or todo:
    while todo and len(waiting) < slots:
        waiting.add(todo[0])
        executor.submit(todo.pop(0))
    waiting -= set(executor.wait(1.0))
executor.close()
cluster.shutdown()
print(json.dumps({"slots": slots, "before": before, "states": [trial.state(folder) for folder in folders]}))
"""


def driven(code: str, units: Path, tmp_path: Path):
    """What a driver prints that has Ray for itself."""
    ray = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # the latter: 127.0.0.1 only
    ray |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    environment = {**trial.importable(), **executing.PROOFS, **ray}
    ended = subprocess.run(
        [sys.executable, "-c", OPEN + code, str(units)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout), ended.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cpu": 2}, "cpu=2: no option of --executor ray; expected some of address, cpus, gpus, retries"),
        ({"cpus": 0}, "cpus=0: expected at least 1"),
        ({"retries": -1}, "retries=-1: expected at least 0"),
        ({"gpus": "two"}, "gpus=two: expected a number of GPUs, such as 1 or 0.5"),
        ({"address": "head"}, "address=head: expected auto, local or HOST:PORT"),
    ],
)
def test_options_are_checked(settings, message, tmp_path):
    with pytest.raises(ValueError, match=f"^--executor-option {message}"):
        open_executor("ray", None, settings, tmp_path)


def test_nobody_at_the_address(tmp_path):
    """Ray itself tries for minutes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"^--executor-option address={address}: .*; is Ray's head node up"):
            open_executor("ray", None, {"address": address}, tmp_path)


@pytest.mark.slow
def test_units_end_as_they_do_anywhere(tmp_path):
    """A command that a signal ends is tried again by Ray; one that fails is not; a cancelled one has saved."""
    folders = make_units(tmp_path / "units", "", "--code 3", "--signal 9", "--sleep 60 --obeys")
    states, told = driven(ONE_MACHINE, tmp_path / "units", tmp_path)
    assert states == [State.DONE, State.FAILED, State.DONE, State.INTERRUPTED]
    assert [attempt.code for attempt in trial.attempts(folders[2])] == [-9, 0]
    assert len(trial.attempts(folders[1])) == 1
    assert "saved" in said(folders[3])
    assert "Task run_unit failed" in told, "Ray's own words are no results"


@pytest.mark.slow
def test_one_of_two_nodes_is_killed_midway(tmp_path, monkeypatch):
    for name, value in executing.PROOFS.items():
        monkeypatch.setenv(name, value)
    options = ["--sleep 8"] * 2 + ["--sleep 1"] * 2
    folders = make_units(tmp_path / "two" / "units", *options)
    found, _ = driven(TWO_NODES, tmp_path / "two" / "units", tmp_path)
    assert found["slots"] == 2
    assert found["states"] == [State.DONE] * 4
    assert all(2 <= steps < 10 for steps in found["before"]), "both were at work when the node was lost"
    lost = [folder for folder in folders if len(trial.attempts(folder)) == 2]
    assert len(lost) == 1
    assert trial.attempts(lost[0])[-1].code == 0

    undisturbed = make_units(tmp_path / "one" / "units", *options)
    assert work_off(LocalExecutor(2), undisturbed) == [State.DONE] * 4
    for one, two in zip(undisturbed, folders, strict=True):
        assert (one / "run" / "results.json").read_bytes() == (two / "run" / "results.json").read_bytes()
