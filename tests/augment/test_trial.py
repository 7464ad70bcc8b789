"""The unit of work: what it leaves whatever ends it, and that two of them never run the same command at once."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from augment import files, trial
from augment.trial import State
from tests import standing_in
from tests.killing import start
from tests.standing_in import make_unit, said, until


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch, tmp_path):
    standing_in.stand_in(monkeypatch, tmp_path)


@pytest.fixture
def units(tmp_path):
    return tmp_path / "units"


def test_a_unit_is_done_when_its_result_is_there(units):
    folder = make_unit(units)
    assert trial.state(folder) is State.NEW
    assert trial.run(folder) is State.DONE
    assert trial.state(folder) is State.DONE
    assert (folder / "run" / "results.json").exists()
    result = files.read_json(folder / trial.RESULT)
    assert (result["schema"], result["out"], result["attempts"]) == (1, "unit/run", 1)
    assert result["versions"]["reid-augment"]
    assert result["seconds"] >= 0
    heading, words = said(folder).splitlines()
    assert heading.startswith("== attempt 1, ")
    assert heading.endswith("augment train-reid data --out unit/run")
    assert words == "working on unit/run"

    before = said(folder)
    assert trial.run(folder) is State.DONE
    assert said(folder) == before, "it does not run twice"


def test_a_failure_is_kept_until_it_is_removed(units, tmp_path):
    folder = make_unit(units, f"--code 3 --unless {tmp_path / 'mended'}")
    assert trial.run(folder) is State.FAILED
    failed = files.read_json(folder / trial.FAILED)
    assert (failed["schema"], failed["code"], failed["attempts"]) == (1, 3, 1)
    assert failed["tail"][-2:] == ["going wrong", "badly"], "what a bar drew over is a line"
    assert trial.run(folder) is State.FAILED
    assert said(folder).count("== attempt") == 1

    (folder / trial.FAILED).unlink()
    assert trial.state(folder) is State.INTERRUPTED
    (tmp_path / "mended").touch()
    assert trial.run(folder) is State.DONE
    assert files.read_json(folder / trial.RESULT)["attempts"] == 2


def test_the_tail_is_of_this_attempt(units):
    folder = make_unit(units, "--code 3")
    trial.run(folder)
    (folder / trial.FAILED).unlink()
    trial.run(folder)
    assert sum(line.startswith("== attempt") for line in files.read_json(folder / trial.FAILED)["tail"]) == 1


def test_success_without_its_proof_is_a_failure(units):
    folder = make_unit(units, "--leaves nothing")
    assert trial.run(folder) is State.FAILED
    failed = files.read_json(folder / trial.FAILED)
    assert failed["code"] == 0
    assert failed["tail"][-1] == "ended with code 0, but left no unit/run/results.json"


@pytest.mark.parametrize("options", ["--code 75", "--code 130", "--signal 9", "--signal 11"])
def test_what_is_stopped_from_outside_is_no_failure(units, options):
    folder = make_unit(units, options)
    assert trial.run(folder) is State.INTERRUPTED
    assert trial.state(folder) is State.INTERRUPTED
    assert not (folder / trial.FAILED).exists()
    assert [attempt.code for attempt in trial.attempts(folder)] == [
        -int(options.split()[1]) if "signal" in options else int(options.split()[1])
    ]


def test_seconds_and_attempts_are_of_all_attempts(units):
    folder = make_unit(units, "--sleep 0.3 --signal 9")
    assert trial.run(folder) is State.INTERRUPTED
    first = trial.attempts(folder)[0].seconds
    assert first >= 0.3
    assert trial.run(folder) is State.DONE
    result = files.read_json(folder / trial.RESULT)
    assert result["attempts"] == 2
    assert result["seconds"] == pytest.approx(sum(each.seconds for each in trial.attempts(folder)), abs=0.051)
    assert result["seconds"] > first


def test_sigterm_lets_the_command_save_and_it_goes_on(units):
    folder = make_unit(units, "--sleep 2 --obeys")
    runner = start(lambda: trial.run(folder))
    until(lambda: (folder / "progress").exists())
    os.kill(runner, signal.SIGTERM)
    assert os.waitpid(runner, 0)[1] == 0
    assert trial.state(folder) is State.INTERRUPTED
    assert "saved" in said(folder)
    reached = int((folder / "progress").read_text())
    assert reached < 10
    assert [attempt.code for attempt in trial.attempts(folder)] == [75]

    (folder / trial.UNIT).write_text((folder / trial.UNIT).read_text().replace('"2"', '"0"'))
    assert trial.run(folder) is State.DONE


def test_a_command_that_sigterm_breaks_is_no_failure(units):
    folder = make_unit(units, "--sleep 2 --obeys --leaves-with 1")
    runner = start(lambda: trial.run(folder))
    until(lambda: (folder / "progress").exists())
    os.kill(runner, signal.SIGTERM)
    assert os.waitpid(runner, 0)[1] == 0
    assert [attempt.code for attempt in trial.attempts(folder)] == [1]
    assert trial.state(folder) is State.INTERRUPTED


def test_a_command_that_outlives_its_runner_is_waited_for(units, tmp_path):
    """kill -9 of the runner alone: its command holds the lock, and no second one is begun beside it."""
    folder = make_unit(units, f"--sleep 1 --count {tmp_path / 'starts'}")
    runner = start(lambda: trial.run(folder))
    until(lambda: (folder / "progress").exists())
    os.kill(runner, signal.SIGKILL)
    os.waitpid(runner, 0)
    assert trial.state(folder) is State.RUNNING
    assert trial.run(folder) is State.DONE
    assert "waits for another one" in said(folder)
    first, second = trial.attempts(folder)
    assert (first.code, second.code) == (None, 0)
    assert first.seconds >= 0
    assert said(folder).index("waits") < said(folder).index("== attempt 2"), "the second began after the first's end"


def test_the_seconds_of_a_killed_attempt_are_those_that_it_spoke(units):
    folder = make_unit(units)
    held = {"host": "another", "started": 1000.0, "seconds": 0.0, "code": None}
    (folder / trial.ATTEMPTS).write_text(json.dumps([held]))
    (folder / trial.LOG).touch()
    os.utime(folder / trial.LOG, (1060.0, 1060.0))
    assert trial.run(folder) is State.DONE
    assert trial.attempts(folder)[0].seconds == pytest.approx(60)
    assert files.read_json(folder / trial.RESULT)["seconds"] == pytest.approx(60, abs=10)


def test_two_runners_make_it_once(units, tmp_path):
    folder = make_unit(units, f"--sleep 0.5 --count {tmp_path / 'starts'}")
    runners = [start(lambda: trial.run(folder)) for _ in range(3)]
    assert [os.waitpid(runner, 0)[1] for runner in runners] == [0, 0, 0]
    assert (tmp_path / "starts").read_text().count("\n") == 1
    assert trial.state(folder) is State.DONE


def test_a_runner_that_waits_can_be_stopped(units):
    folder = make_unit(units)
    with (folder / trial.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        runner = start(lambda: trial.run(folder))
        until(lambda: (folder / trial.LOG).exists())
        os.kill(runner, signal.SIGTERM)
        assert os.waitpid(runner, 0)[1] == 0
        assert trial.state(folder) is State.RUNNING
    assert trial.state(folder) is State.NEW


def test_two_that_look_do_not_take_each_other_for_a_runner(units):
    folder = make_unit(units)
    with (folder / trial.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert trial.state(folder) is State.NEW


def test_without_locks_it_goes_on_and_says_so(units, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = make_unit(units)
    assert trial.run(folder) is State.DONE
    assert "no locks here" in said(folder)


def test_an_exception_in_the_runner_stops_its_command(units, monkeypatch):
    folder = make_unit(units, "--sleep 5 --obeys")

    def cancelled(process, flag):
        until(lambda: (folder / "progress").exists())
        raise KeyboardInterrupt

    monkeypatch.setattr(trial, "_wait", cancelled)
    with pytest.raises(KeyboardInterrupt):
        trial.run(folder)
    assert trial.state(folder) is State.INTERRUPTED
    assert "saved" in said(folder)


@pytest.mark.parametrize("name", [trial.RESULT, trial.FAILED, trial.ATTEMPTS])
def test_files_appear_whole(units, monkeypatch, name):
    """Killed while a file is published: there is none, and the next run makes it."""
    folder = make_unit(units, "--code 3" if name == trial.FAILED else "")

    def die(path, target):
        if Path(target).name == name:
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace(path, target)  # noqa: PTH105 (Path.replace is what is replaced)

    def killed():
        monkeypatch.setattr(Path, "replace", die)
        trial.run(folder)

    assert os.waitstatus_to_exitcode(os.waitpid(start(killed), 0)[1]) == -signal.SIGKILL
    assert not (folder / name).exists()
    assert trial.run(folder) is (State.FAILED if name == trial.FAILED else State.DONE)
    assert (folder / name).exists()
    assert not list(folder.glob(".*.part"))


def test_a_unit_is_the_real_command(units):
    """`python -m augment.trial` from any folder finds this package, and its command does."""
    made = make_unit(units, "--identities 2 --test-identities 1 --cameras 2 --per-camera 1 --size 32x32", "make-data")
    calls = [sys.executable, "-m", "augment.trial"]
    environment = trial.importable()
    ended = subprocess.run([*calls, made], cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (made / "data" / "query").is_dir()

    wrong = make_unit(units, "--identities 0", "make-data", "wrong")
    ended = subprocess.run([*calls, wrong], cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    failed = files.read_json(wrong / trial.FAILED)
    assert failed["code"] == 2
    assert failed["tail"][-1].startswith("Error: --identities: 0 is not in the range")


def test_a_folder_without_a_unit(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"holds no unit\.json"):
        trial.run(tmp_path)
    assert trial.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("Error: ")
    assert trial.main([]) == 2
    (tmp_path / trial.UNIT).write_text('{"schema": 1}')
    with pytest.raises(ValueError, match=r"unit\.json: not a unit of a study"):
        trial.run(tmp_path)


def test_the_runner_starts_without_torch():
    code = "import sys, augment.trial; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "h5py", "click"} & set(done.stdout.split())
