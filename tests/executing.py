"""Units for the tests of executors, whose workers are other processes than the test's."""

import json
import time
from collections.abc import Iterable
from pathlib import Path

from augment import trial
from augment.executors import Executor
from augment.study import COMMANDS
from augment.trial import State
from tests.standing_in import STAND_IN, make_unit

PROOFS = {"STAND_IN_PROOFS": json.dumps({name: command.proof for name, command in COMMANDS.items()})}


def make_units(folder: Path, *options: str) -> list[Path]:
    """A unit of the stand-in for each of these options; needs `PROOFS` in the environment.

    `python -m augment` finds the stand-in because it looks in its working directory first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "augment.py").write_text(STAND_IN)
    return [make_unit(folder, each, name=f"unit-{index}") for index, each in enumerate(options)]


def work_off(executor: Executor, folders: Iterable[Path], seconds: float = 300) -> list[State]:
    """Submit each as there is room, and wait for all; their states as the executor says that they have ended."""
    todo, running, states = list(folders), set(), {}
    end = time.monotonic() + seconds
    while todo or running:
        assert time.monotonic() < end, f"waited in vain for {running}"
        while todo and len(running) < executor.slots:
            running.add(todo[0])
            executor.submit(todo.pop(0))
        for folder in executor.wait(0.5):
            running.remove(folder)
            states[folder] = trial.state(folder)
    return [states[folder] for folder in sorted(states)]


def progress(folder: Path) -> int:
    """Steps that the stand-in has taken."""
    path = folder / "progress"
    return int(path.read_text() or 0) if path.exists() else 0
