"""Units as processes of this machine, several at a time; each has a GPU of its own as far as there are any."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from augment import trial
from augment.executors import Settings, configured

PATIENCE = 0.1  # seconds between two looks at the processes
QUESTION_TIME = 60.0  # seconds in which the driver has to list its GPUs


@dataclass(frozen=True)
class LocalOptions:
    """There are none: everything is said by --jobs and CUDA_VISIBLE_DEVICES."""


def start(jobs: int | None, settings: Settings, work: Path) -> "LocalExecutor":
    """`jobs` units at a time; by default one for each GPU, or one where there is none."""
    configured(LocalOptions, "local", settings)
    gpus = visible_gpus(os.environ)
    return LocalExecutor(jobs or _slots(gpus), gpus)


def usual_slots(settings: Settings) -> int:
    """How many units run at a time where --jobs does not say."""
    configured(LocalOptions, "local", settings)
    return _slots(visible_gpus(os.environ))


def _slots(gpus: Sequence[str]) -> int:
    return max(1, len(gpus))


@final
class LocalExecutor:
    """Starts `python -m augment.trial` for each unit, in a session of its own, which Ctrl-C in a terminal spares."""

    def __init__(self, slots: int, gpus: Sequence[str] = ()) -> None:
        self.slots = slots
        self._gpus = gpus
        self._running: dict[int, tuple[Path, subprocess.Popen[bytes]]] = {}  # by the slot

    def submit(self, folder: Path) -> None:
        """Start the unit of this folder in a free slot."""
        slot = min(set(range(self.slots)) - self._running.keys())
        with (folder / trial.LOG).open("ab") as log:  # for what goes wrong before the command begins
            process = subprocess.Popen(
                [sys.executable, "-m", "augment.trial", str(folder.absolute())], env=self._environment(slot),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._running[slot] = folder, process

    def wait(self, seconds: float) -> list[Path]:
        """Folders whose process has ended."""
        until = time.monotonic() + seconds
        while True:
            over = [slot for slot, (_, process) in self._running.items() if process.poll() is not None]
            if over or time.monotonic() >= until:
                return [self._running.pop(slot)[0] for slot in over]
            time.sleep(min(PATIENCE, seconds))

    def stop(self) -> None:
        """SIGTERM to all; each is waited for until its command has saved and left."""
        for _, process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for _, process in self._running.values():
            process.wait()
        self._running.clear()

    def close(self) -> None:
        """Nothing is held but the processes."""

    def _environment(self, slot: int) -> dict[str, str]:
        """CPU cores are shared out, GPUs handed round."""
        found = {"OMP_NUM_THREADS": str(max(1, _cores() // self.slots)), **trial.importable()}
        if self._gpus:
            found["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        return found


def visible_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES lists, or else all that nvidia-smi does, by number. CUDA itself is not started."""
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        names = [name.strip() for name in listed.split(",")]
        valid = [name not in ("", "-1") for name in names]  # as CUDA reads it: up to the first that is none
        return tuple(names[: valid.index(False)] if False in valid else names)
    if shutil.which("nvidia-smi") is None:
        return ()
    try:
        told = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=QUESTION_TIME
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(str(index) for index in range(sum(line.startswith("GPU ") for line in told.splitlines())))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
