"""Units as jobs of Slurm, through submitit; each has a GPU, cores and memory of its own.

Jobs outlive whoever submitted them: the next run finds theirs in the queue by the number in the unit's slurm.json.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import submitit
from submitit import helpers
from submitit.core.utils import FailedJobError, environment_variables

from augment import files, trial
from augment.executors import OPTION, Settings, configured
from augment.executors.slurm_queue import LocalQueue, Queue, SlurmQueue
from augment.trial import State

NOTE = "slurm.json"
SLOTS = 100  # jobs in the queue at a time, unless said otherwise
PATIENCE = 1.0  # seconds between two looks at the disk
STOP_TIME = 600.0  # seconds that units have for saving
LEAST = {"time": 1, "gpus_per_node": 0, "cpus_per_task": 1, "mem_gb": 1, "grace": 10, "requeues": 0}


@dataclass(frozen=True)
class SlurmOptions:
    """What each job asks for, in the words of sbatch."""

    cluster: str = "slurm"  # or local: submitit's stand-in, processes of this machine
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    reservation: str | None = None
    time: int = 240  # minutes
    gpus_per_node: int = 1
    cpus_per_task: int = 4
    mem_gb: int = 16
    grace: int = 120  # seconds before the end of its time at which a unit is told to save
    requeues: int = 20  # how often a job may run out of time

    def __post_init__(self) -> None:
        if self.cluster not in ("slurm", "local"):
            raise ValueError(f"{OPTION} cluster={self.cluster}: expected slurm or local")
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{OPTION} {name}={getattr(self, name)}: expected at least {least}")
        if 60 * self.time <= self.grace:
            raise ValueError(f"{OPTION} grace={self.grace}: seconds to save in, of {60 * self.time} that a job has")


@dataclass(frozen=True)
class Job:
    """One unit, as it is pickled for the node that runs it."""

    folder: Path
    threads: int

    def __call__(self) -> str:
        """Run the unit. Where its time is over (SIGUSR2) it saves first, and then the job queues up again."""
        requeue = signal.getsignal(signal.SIGUSR2)
        over = _time_over()
        found = trial.run(
            self.folder, {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(self.threads)}
        )
        if over.is_set() and found is State.INTERRUPTED and callable(requeue):
            requeue(signal.SIGUSR2, None)  # submitit's handler: it calls `checkpoint`, and leaves
        return found

    def checkpoint(self) -> helpers.DelayedSubmission:
        """What the requeued job does: the same, which continues."""
        return helpers.DelayedSubmission(self)


def _time_over() -> threading.Event:
    """Turn SIGUSR2 into SIGTERM for this process, and note that it came.

    Slurm may send it to the unit's command as well (unless it tracks processes by cgroups), which it would kill;
    blocked here, it is blocked there. A thread of its own therefore waits for it.
    """
    over = threading.Event()

    def tell() -> None:
        over.set()
        os.kill(os.getpid(), signal.SIGTERM)

    def watch() -> None:
        signal.sigwait({signal.SIGUSR2})
        tell()

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    signal.signal(signal.SIGUSR2, lambda number, frame: tell())  # where a thread of a library was given it
    threading.Thread(target=watch, daemon=True).start()
    return over


def start(jobs: int | None, settings: Settings, work: Path) -> "SlurmExecutor":
    """`jobs` units in the queue at a time, with the options of `SlurmOptions`; logs of Slurm lie in `work`.

    Raises:
        ValueError: an unknown option, or no Slurm here.
    """
    logging.getLogger("submitit").handlers.clear()  # it would speak on stdout, where results go
    return SlurmExecutor(jobs or SLOTS, configured(SlurmOptions, "slurm", settings), work.absolute())


def usual_slots(settings: Settings) -> int:
    """How many units are in the queue at a time where --jobs does not say."""
    configured(SlurmOptions, "slurm", settings)
    return SLOTS


@final
class SlurmExecutor:
    """A job for each unit. Whether it has ended is read from its folder, or from squeue where it was killed."""

    def __init__(self, slots: int, options: SlurmOptions, work: Path) -> None:
        self.slots = slots
        self._options = options
        self._jobs: dict[Path, str] = {}
        self._submitted: dict[str, float] = {}
        self._local = LocalQueue() if options.cluster == "local" else None
        self._queue: Queue = self._local or SlurmQueue()
        self._executor = _executor(options, work)

    def submit(self, folder: Path) -> None:
        """Submit the unit of this folder, unless its job of an earlier run is still in the queue.

        Raises:
            ValueError: Slurm refuses what the options ask for.
        """
        job = self._earlier(folder)
        if job is None:
            self._executor.update_parameters(name=folder.name)
            try:
                with _clean_environment():
                    made = self._executor.submit(Job(folder.absolute(), self._options.cpus_per_task))
            except FailedJobError as error:
                said = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
                raise ValueError(f"--executor slurm: {said}; see {OPTION} in `augment ablate --help`") from None
            job = made.job_id
            self._submitted[job] = time.monotonic()
            if self._local:
                self._local.add(made)
            else:
                files.write_json(folder / NOTE, {"schema": 1, "job": job})
        self._jobs[folder] = job

    def wait(self, seconds: float) -> list[Path]:
        """Folders whose unit is done or has failed, or whose job is gone."""
        until = time.monotonic() + seconds
        while True:
            left = self._left()
            over = [folder for folder, job in self._jobs.items() if job not in left or self._is_over(folder)]
            if over or time.monotonic() >= until:
                for folder in over:
                    del self._jobs[folder]
                return over
            time.sleep(min(PATIENCE, seconds))

    def stop(self) -> None:
        """SIGTERM to all that run, and wait until each has saved; those that have not after ten minutes are killed."""
        until = time.monotonic() + STOP_TIME
        while self._jobs and time.monotonic() < until:
            self._queue.stop(list(self._jobs.values()))
            self.wait(PATIENCE)
        self._queue.cancel(list(self._jobs.values()))
        self._jobs.clear()

    def close(self) -> None:
        self.stop()

    def _left(self) -> set[str]:
        return self._queue.left({job: self._submitted.get(job, 0.0) for job in self._jobs.values()})

    def _is_over(self, folder: Path) -> bool:
        """Without a question to Slurm. A process is waited for until it is gone."""
        return self._local is None and ((folder / trial.RESULT).exists() or (folder / trial.FAILED).exists())

    def _earlier(self, folder: Path) -> str | None:
        """The job that an earlier run submitted for this unit, while it waits or runs."""
        if self._local or not (folder / NOTE).exists():
            return None
        job = str(files.read_json(folder / NOTE)["job"])
        return job if job in self._queue.left({job: 0.0}) else None


def _executor(options: SlurmOptions, work: Path) -> submitit.AutoExecutor:
    """submitit's, with the options in its words."""
    try:
        executor = submitit.AutoExecutor(work, cluster=options.cluster, slurm_max_num_timeout=options.requeues)
    except RuntimeError:
        raise ValueError(
            "--executor slurm: there is no srun on this machine; run it where jobs are submitted, "
            f"or try it with {OPTION} cluster=local"
        ) from None
    executor.update_parameters(
        timeout_min=options.time, nodes=1, tasks_per_node=1, cpus_per_task=options.cpus_per_task,
        gpus_per_node=options.gpus_per_node or None, mem_gb=options.mem_gb,
    )  # fmt: skip
    if options.cluster == "slurm":
        executor.update_parameters(
            slurm_partition=options.partition, slurm_account=options.account, slurm_qos=options.qos,
            slurm_constraint=options.constraint, slurm_exclude=options.exclude, slurm_signal_delay_s=options.grace,
            slurm_additional_parameters={"reservation": options.reservation} if options.reservation else None,
            slurm_srun_args=[f"--cpus-per-task={options.cpus_per_task}"],  # srun takes it from sbatch no more
        )  # fmt: skip
    return executor


@contextlib.contextmanager
def _clean_environment() -> Iterator[None]:
    """What a job starts with: this very package, and nothing of the job that this process may itself be part of."""
    inside = helpers.clean_env() if "SLURM_JOB_ID" in os.environ else contextlib.nullcontext()
    path = trial.importable().get("PYTHONPATH")
    with inside, environment_variables(**({"PYTHONPATH": path} if path else {})):
        yield
