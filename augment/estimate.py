"""How long the rest of a study will take: as its file expects, then as its own commands have shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from augment.study import COMMANDS


@dataclass(frozen=True)
class Remaining:
    """A unit that is not done: its command, the names of the units that it waits for, and how long it runs already."""

    command: str
    needs: tuple[str, ...] = ()
    gone: float = 0.0  # seconds


class Estimate:
    """Seconds of each command: the mean of those that were seen, or what is expected as long as there are none."""

    def __init__(self, expected: Mapping[str, float]) -> None:
        self._expected = expected
        self._seen: dict[str, list[float]] = {}

    def add(self, command: str, seconds: float) -> None:
        self._seen.setdefault(command, []).append(seconds)

    def of(self, command: str) -> float | None:
        """None: nobody knows. What computes nothing is taken for short."""
        if command in self._seen:
            return fmean(self._seen[command])
        return self._expected.get(command, None if COMMANDS[command].computes else 0.0)

    def left(self, rest: Mapping[str, Remaining], slots: int) -> str:
        """Time for the rest, units by name, each after those that it needs, `slots` of them at a time."""
        ends: dict[str, float] = {}
        known, work = True, 0.0
        for name, unit in rest.items():
            seconds = self.of(unit.command)
            known = known and seconds is not None
            own = max(0.0, (seconds or 0.0) - unit.gone)
            work += own
            ends[name] = own + max((ends.get(need, 0.0) for need in unit.needs), default=0.0)
        if not ends:
            return "nothing left"
        if not known and not work:
            return "time left unknown"
        least = "about " if known else "at least "
        return f"{least}{duration(max(work / slots, *ends.values()))} left"


def duration(seconds: float) -> str:
    """Short, and as exact as an estimate is."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
