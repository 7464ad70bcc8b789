"""Jobs of Slurm: through submitit's stand-in for a cluster, and with commands of Slurm that only take notes."""

import os
import signal
import stat
import sys
from pathlib import Path

import pytest

pytest.importorskip("submitit")

from augment import files, trial
from augment.executors import open_executor, slurm, slurm_queue
from augment.executors.slurm import Job
from augment.trial import State
from tests import executing
from tests.executing import make_units, progress, work_off
from tests.killing import start
from tests.standing_in import said, until

NOTED = """#!/bin/sh
echo "$(basename "$0") $*" >> "$NOTES/calls"
case "$(basename "$0")" in
    sbatch)
        test -e "$NOTES/refused" && { echo "sbatch: error: Invalid partition name specified" >&2; exit 1; }
        cp "$1" "$NOTES/script"
        echo "$(( $(cat "$NOTES/queue" | wc -l) + 41 ))" >> "$NOTES/queue"
        echo "Submitted batch job $(tail -n 1 "$NOTES/queue")" ;;
    squeue) test ! -e "$NOTES/away" && cat "$NOTES/queue" ;;
    scancel) test "${1#--state}" = "$1" || : > "$NOTES/queue" ;;
esac
"""


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch):
    for name, value in executing.PROOFS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def notes(monkeypatch, tmp_path):
    """Stand-ins for Slurm's commands: jobs queue up and never start; any that wait go when told."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name in ("sbatch", "squeue", "scancel", "srun"):
        (folder / name).write_text(NOTED)
        (folder / name).chmod(stat.S_IRWXU)
    (folder / "queue").touch()
    monkeypatch.setenv("NOTES", str(folder))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_queue, "REFRESH", 0.0)
    return folder


def calls(notes: Path) -> list[str]:
    return (notes / "calls").read_text().splitlines()


def opened(tmp_path, **settings):
    return open_executor("slurm", 2, settings, tmp_path / "work")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cluster": "pbs"}, "cluster=pbs: expected slurm or local"),
        ({"partitions": "gpu"}, "partitions=gpu: no option of --executor slurm; expected some of cluster, partition"),
        ({"time": 0}, "time=0: expected at least 1"),
        ({"gpus_per_node": -1}, "gpus_per_node=-1: expected at least 0"),
        ({"time": 1, "grace": 60}, "grace=60: seconds to save in, of 60 that a job has"),
    ],
)
def test_options_are_checked(settings, message, tmp_path):
    with pytest.raises(ValueError, match=f"^--executor-option {message}"):
        open_executor("slurm", None, settings, tmp_path)


def test_without_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"^--executor slurm: there is no srun on this machine"):
        open_executor("slurm", None, {}, tmp_path)


def test_units_end_as_they_do_anywhere(tmp_path, capfd):
    folders = make_units(tmp_path / "units", "", "--code 3", "--signal 9")
    executor = opened(tmp_path, cluster="local")
    assert work_off(executor, folders) == [State.DONE, State.FAILED, State.INTERRUPTED]
    assert work_off(executor, folders[2:]) == [State.DONE]
    executor.close()
    assert capfd.readouterr().out == "", "stdout is for results"


def test_stopped_units_have_saved(tmp_path):
    (folder,) = make_units(tmp_path / "units", "--sleep 60 --obeys")
    executor = opened(tmp_path, cluster="local")
    executor.submit(folder)
    until(lambda: (folder / "pids").exists())
    executor.stop()
    assert trial.state(folder) is State.INTERRUPTED
    assert "saved" in said(folder)
    assert executor.wait(0) == []


def test_when_its_time_is_over_a_job_saves_and_queues_up_again(tmp_path):
    """Slurm sends SIGUSR2 to the job and, where it tracks no cgroups, to the unit's command, which it must not kill."""
    (folder,) = make_units(tmp_path / "units", "--sleep 20 --obeys")

    def job():
        signal.signal(signal.SIGUSR2, lambda *_: (tmp_path / "requeued").touch())
        sys.exit(0 if Job(folder, 1)() == State.INTERRUPTED else 1)

    runner = start(job)
    until(lambda: progress(folder))
    os.kill(int((folder / "pids").read_text().split()[0]), signal.SIGUSR2)
    os.kill(runner, signal.SIGUSR2)
    os.waitpid(runner, 0)
    assert [attempt.code for attempt in trial.attempts(folder)] == [75]
    assert "saved" in said(folder)
    assert (tmp_path / "requeued").exists()


def test_a_requeued_job_does_the_same(tmp_path):
    job = Job(tmp_path, 3)
    again = job.checkpoint()
    assert (again.function, again.args, again.kwargs) == (job, (), {})


def test_a_job_asks_for_what_the_options_say(tmp_path, notes):
    (folder,) = make_units(tmp_path / "units", "")
    settings = {"partition": "gpu", "account": 7, "time": 90, "gpus_per_node": 2, "cpus_per_task": 6, "mem_gb": 30}
    executor = opened(tmp_path, grace=300, reservation="mine", **settings)
    executor.submit(folder)
    lines = (notes / "script").read_text().splitlines()
    asked = dict(line.removeprefix("#SBATCH --").split("=", 1) for line in lines if line.startswith("#SBATCH"))
    expected = {
        "partition": "gpu", "account": "7", "time": "90", "gpus-per-node": "2", "cpus-per-task": "6", "mem": "30GB",
        "signal": "USR2@300", "reservation": "mine", "job-name": "unit-0", "nodes": "1", "ntasks-per-node": "1",
    }  # fmt: skip
    assert expected.items() <= asked.items()
    assert any(line.startswith("srun") and "--cpus-per-task=6" in line for line in lines)
    assert files.read_json(folder / "slurm.json") == {"schema": 1, "job": "41"}


def test_a_refusal_is_told(tmp_path, notes):
    (folder,) = make_units(tmp_path / "units", "")
    executor = opened(tmp_path)
    (notes / "refused").touch()
    with pytest.raises(ValueError, match=r"^--executor slurm: sbatch: error: Invalid partition name specified"):
        executor.submit(folder)


def test_a_job_of_an_earlier_run_is_found_in_the_queue(tmp_path, notes):
    folders = make_units(tmp_path / "units", "", "")
    first = opened(tmp_path)
    for folder in folders:
        first.submit(folder)
    (notes / "queue").write_text("41\n")  # the other one is gone
    second = opened(tmp_path)
    for folder in folders:
        second.submit(folder)
    assert sum(call.startswith("sbatch") for call in calls(notes)) == 3
    assert [files.read_json(folder / "slurm.json")["job"] for folder in folders] == ["41", "42"]


def test_a_killed_job_has_ended_and_one_that_cannot_be_seen_has_not(tmp_path, notes):
    folders = make_units(tmp_path / "units", "", "")
    executor = opened(tmp_path)
    for folder in folders:
        executor.submit(folder)
    assert executor.wait(0) == []
    (notes / "queue").write_text("42\n")
    (notes / "away").touch()
    assert executor.wait(0) == [], "the controller does not answer"
    (notes / "away").unlink()
    assert executor.wait(0) == [folders[0]]
    (folders[1] / trial.RESULT).touch()
    assert executor.wait(0) == [folders[1]], "its result is there"


def test_one_question_for_all_jobs_and_not_often(tmp_path, notes, monkeypatch):
    monkeypatch.setattr(slurm_queue, "REFRESH", 60.0)
    folders = make_units(tmp_path / "units", *[""] * 5)
    executor = opened(tmp_path)
    for folder in folders:
        executor.submit(folder)
    for _ in range(20):
        assert executor.wait(0) == []
    assert sum(call.startswith("squeue") for call in calls(notes)) == 1


def test_stop_lets_those_that_run_save(tmp_path, notes):
    folders = make_units(tmp_path / "units", "", "")
    executor = opened(tmp_path)
    for folder in folders:
        executor.submit(folder)
    executor.stop()
    assert [call for call in calls(notes) if call.startswith("scancel")] == [
        "scancel --state=PENDING 41 42",
        "scancel --signal=TERM 41 42",
    ]
    assert not executor._jobs


def test_a_job_starts_with_a_clean_environment(tmp_path, notes, monkeypatch):
    """A driver that is itself a job: what it was given does not hold for those that it submits."""
    (notes / "sbatch").write_text('#!/bin/sh\nenv > "$NOTES/environment"\necho Submitted batch job 5\n')
    for name, value in {"SLURM_JOB_ID": "3", "SLURM_MEM_PER_CPU": "1", "RANK": "2", "PYTHONPATH": "/mine"}.items():
        monkeypatch.setenv(name, value)
    (folder,) = make_units(tmp_path / "units", "")
    opened(tmp_path).submit(folder)
    seen = dict(line.split("=", 1) for line in (notes / "environment").read_text().splitlines() if "=" in line)
    assert not {"SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "RANK"} & set(seen)
    assert seen["PYTHONPATH"] == f"{Path(slurm.__file__).parents[2]}:/mine"
    assert os.environ["SLURM_MEM_PER_CPU"] == "1"
