"""Processes of this machine: slots, GPUs and cores shared out, an orderly stop."""

import os
import signal
import stat

import pytest

from augment import trial
from augment.executors import local
from augment.executors.local import LocalExecutor, visible_gpus
from augment.trial import State
from tests.standing_in import make_unit, until

PROBE = """#!/bin/sh
test "$1 $2" = "-m augment.trial" || exit 9
echo "$CUDA_VISIBLE_DEVICES|$OMP_NUM_THREADS" > "$3/seen"
trap 'touch "$3/told"; exit 75' TERM
while test ! -e "$3/go"; do sleep 0.05; done
"""


@pytest.fixture
def probe(monkeypatch, tmp_path):
    """A stand-in for python that tells what it is called with and waits for a sign."""
    path = tmp_path / "python"
    path.write_text(PROBE)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(local.sys, "executable", str(path))


def folders(tmp_path, count):
    made = [tmp_path / "units" / name for name in "abcdef"[:count]]
    for folder in made:
        folder.mkdir(parents=True)
    return made


def seen(folder):
    until((folder / "seen").exists)
    until(lambda: (folder / "seen").read_text())
    return (folder / "seen").read_text().strip().split("|")


@pytest.mark.usefixtures("probe")
def test_each_slot_has_its_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    first, second, third, fourth = folders(tmp_path, 4)
    executor = LocalExecutor(3, ("2", "GPU-7"))
    for folder in (first, second, third):
        executor.submit(folder)
    assert [seen(folder)[0] for folder in (first, second, third)] == ["2", "GPU-7", "2"]
    assert seen(first)[1] == "3", "what the user sets is kept"
    (second / "go").touch()
    until(lambda: executor.wait(0.1) == [second])
    executor.submit(fourth)
    assert seen(fourth)[0] == "GPU-7", "that of the slot which was free"
    assert executor.wait(0) == []
    executor.stop()
    assert [(folder / "told").exists() for folder in (first, second, third, fourth)] == [True, False, True, True]


@pytest.mark.usefixtures("probe")
def test_cores_are_shared_out(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(local, "_cores", lambda: 7)
    (folder,) = folders(tmp_path, 1)
    executor = LocalExecutor(3)
    executor.submit(folder)
    assert seen(folder) == ["", "2"]
    executor.stop()
    assert LocalExecutor(20)._environment(0)["OMP_NUM_THREADS"] == "1"


@pytest.mark.usefixtures("probe")
def test_ctrl_c_in_a_terminal_spares_the_units(tmp_path):
    (folder,) = folders(tmp_path, 1)
    executor = LocalExecutor(1)
    executor.submit(folder)
    seen(folder)
    ((_, process),) = executor._running.values()
    assert os.getpgid(process.pid) != os.getpgid(0)
    executor.stop()


@pytest.mark.parametrize(
    ("listed", "gpus"),
    [("0,3", ("0", "3")), ("GPU-a, GPU-b", ("GPU-a", "GPU-b")), ("", ()), ("-1", ()), ("1,-1,2", ("1",))],
)
def test_the_users_list_of_gpus_counts(listed, gpus):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": listed}) == gpus


@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        ("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'; echo '  MIG 1g: Device 0'; echo 'GPU 1: NVIDIA H200'", ("0", "1")),
        ("echo 'No devices were found'", ()),
        ("exit 9", ()),
    ],
)
def test_gpus_are_counted_without_cuda(tmp_path, monkeypatch, script, gpus):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert visible_gpus({}) == gpus


def test_without_a_driver_there_are_no_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus({}) == ()
    assert local.start(None, {}, tmp_path).slots == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert local.start(None, {}, tmp_path).slots == 3
    assert local.start(2, {}, tmp_path).slots == 2


def test_real_units_end_and_stop(tmp_path):
    """One that is done, one that is stopped while it works, one whose process is killed."""
    small = "--identities 2 --test-identities 1 --cameras 2 --per-camera 1 --size 32x32"
    done = make_unit(tmp_path, small, "make-data", "done")
    endless = [make_unit(tmp_path, "--identities 4000", "make-data", name) for name in ("stopped", "killed")]
    executor = LocalExecutor(3)
    for folder in (done, *endless):
        executor.submit(folder)
    until(lambda: executor.wait(0.1) == [done])
    until(lambda: all(trial.state(folder) is State.RUNNING and trial.attempts(folder) for folder in endless))
    (_, killed) = (process for _, process in executor._running.values())
    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: executor.wait(0.1) == [endless[1]])
    executor.stop()
    executor.close()
    assert [trial.state(folder) for folder in (done, endless[0])] == [State.DONE, State.INTERRUPTED]
    assert trial.state(endless[1]) is State.RUNNING, "its command goes on by itself"
    os.killpg(killed.pid, signal.SIGTERM)
    until(lambda: trial.state(endless[1]) is State.INTERRUPTED)
