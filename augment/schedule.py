"""Units in the order of their needs, as many at a time as an executor takes; what became of each is on the disk."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from augment import trial
from augment.estimate import Remaining
from augment.executors import Executor
from augment.interruption import Flag
from augment.study import Unit
from augment.trial import State

ATTEMPTS = 2  # of a unit that something else ends, in one run
PATIENCE = 1.0  # seconds between two looks at what other processes do


@dataclass
class Schedule:
    """What is known of the units: `ended` are done, failed or, after the last attempt, interrupted."""

    units: Mapping[str, Unit]
    folder: Path  # of all units
    ended: dict[str, State] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)  # since when, on the clock of time.monotonic
    tried: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> frozenset[str]:
        return frozenset(name for name, state in self.ended.items() if state is State.DONE)

    @property
    def waiting(self) -> bool:
        """Whether something is left that can run."""
        return any(name not in self.ended and self.obstacle(name) is None for name in self.units)

    def rest(self) -> dict[str, Remaining]:
        """Every unit that runs or can run yet."""
        now = time.monotonic()
        names = [name for name in self.units if name not in self.ended and self.obstacle(name) is None]
        return {
            name: Remaining(self.units[name].command, self.units[name].needs, now - self.running.get(name, now))
            for name in names
        }

    def obstacle(self, name: str) -> str | None:
        """The unit at the root of it, where a unit cannot run because of what became of another."""
        for need in self.units[name].needs:
            if self.ended.get(need, State.DONE) is not State.DONE:
                return need
            if root := self.obstacle(need):
                return root
        return None


def work_off(
    schedule: Schedule,
    executor: Executor,
    flag: Flag,
    ended: Callable[[str, State], None],
    look: Callable[[], None] = lambda: None,
) -> bool:
    """Run until nothing more can be run, or `flag` is up; whether all that can has been.

    `ended` is called with each unit that ends, before another one is started; `look` about every second.
    """

    def end(name: str, state: State) -> None:
        schedule.ended[name] = state
        ended(name, state)

    while not flag.requested:
        free = executor.slots - len(schedule.running)
        elsewhere = False
        for name in _ready(schedule):
            if free == 0:
                break
            state = trial.state(schedule.folder / name)
            if state in (State.DONE, State.FAILED):  # by another runner
                end(name, state)
            elif state is State.RUNNING:
                elsewhere = True
            elif flag.requested:
                return False
            else:
                executor.submit(schedule.folder / name)
                schedule.running[name] = time.monotonic()
                schedule.tried[name] += 1
                free -= 1
        if not (schedule.running or elsewhere or any(_ready(schedule))):
            return True
        for path in executor.wait(PATIENCE):
            _settle(schedule, path.name, end)
        look()
    return False


def _ready(schedule: Schedule) -> Iterator[str]:
    """Those that nothing holds up, in their order."""
    for name, unit in schedule.units.items():
        known = name in schedule.ended or name in schedule.running
        if not known and all(schedule.ended.get(need) is State.DONE for need in unit.needs):
            yield name


def _settle(schedule: Schedule, name: str, end: Callable[[str, State], None]) -> None:
    """See what became of a unit that is no longer run."""
    del schedule.running[name]
    state = trial.state(schedule.folder / name)
    if state in (State.DONE, State.FAILED):
        end(name, state)
    elif schedule.tried[name] >= ATTEMPTS and state is not State.RUNNING:  # left alone, its command may yet end well
        end(name, State.INTERRUPTED)
