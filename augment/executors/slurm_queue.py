"""What an executor asks of Slurm about jobs that it has submitted: which are left, save and stop, go away."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from typing import Protocol, final

import submitit

QUESTION_TIME = 60.0  # seconds in which Slurm has to answer
REFRESH = 15.0  # seconds at least between two questions for the queue, whatever the number of jobs
REMINDER = 10.0  # seconds between two signals to jobs that shall stop: one that was just starting heard nothing


class Queue(Protocol):
    """Jobs by their ids."""

    def left(self, jobs: Mapping[str, float]) -> set[str]:
        """Those that wait or run, of jobs submitted at these times (on the clock of time.monotonic)."""
        ...

    def stop(self, jobs: Collection[str]) -> None:
        """Those that wait go away; those that run are told to save and leave."""
        ...

    def cancel(self, jobs: Collection[str]) -> None:
        """All go away, saved or not."""
        ...


@final
class SlurmQueue:
    """Slurm's own commands. squeue needs no accounting data base, which sacct does and many clusters lack."""

    def __init__(self) -> None:
        self._listed: set[str] = set()
        self._when = -REFRESH
        self._silent = False
        self._reminded = -REMINDER

    def left(self, jobs: Mapping[str, float]) -> set[str]:
        """One question for all jobs of the user, at most every `REFRESH` seconds; where it fails, all count as left."""
        if jobs and time.monotonic() - self._when >= REFRESH:
            asked = time.monotonic()
            answer = _ask("squeue", "--me", "--noheader", "--format=%i")
            self._silent = answer is None
            self._listed = set((answer or "").split())
            self._when = asked
        if self._silent:
            return set(jobs)
        return {job for job, submitted in jobs.items() if job in self._listed or submitted >= self._when}

    def stop(self, jobs: Collection[str]) -> None:
        """SIGTERM to the units alone, which then have all the time they need; plain scancel would kill them soon."""
        if jobs and time.monotonic() - self._reminded >= REMINDER:
            self._reminded = time.monotonic()
            _ask("scancel", "--state=PENDING", *jobs)
            _ask("scancel", "--signal=TERM", *jobs)
            self._when = -REFRESH

    def cancel(self, jobs: Collection[str]) -> None:
        if jobs:
            _ask("scancel", *jobs)


def _ask(*words: str) -> str | None:
    """What a command of Slurm says, or None where it fails: the controller is busy or away for a while."""
    try:
        answer = subprocess.run(words, capture_output=True, text=True, check=False, timeout=QUESTION_TIME)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{words[0]}: {error}", file=sys.stderr)
        return None
    return answer.stdout if answer.returncode == 0 else None


@final
class LocalQueue:
    """submitit's own stand-in for a cluster: a job is a process of this machine, and its id that of the process."""

    def __init__(self) -> None:
        self._jobs: dict[str, submitit.Job] = {}

    def add(self, job: submitit.Job) -> None:
        self._jobs[job.job_id] = job

    def left(self, jobs: Mapping[str, float]) -> set[str]:
        return {job for job in jobs if not self._jobs[job].done()}

    def stop(self, jobs: Collection[str]) -> None:
        self._signal(jobs, signal.SIGTERM)

    def cancel(self, jobs: Collection[str]) -> None:
        self._signal(jobs, signal.SIGKILL)

    def _signal(self, jobs: Collection[str], number: signal.Signals) -> None:
        for job in jobs:
            with contextlib.suppress(ProcessLookupError):
                if not self._jobs[job].done():
                    os.kill(int(job), number)
