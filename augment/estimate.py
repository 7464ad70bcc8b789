"""How long the rest of a study will take: as its file expects, then as its own commands have shown."""

from collections.abc import Iterable, Mapping
from statistics import fmean

from augment.study import COMMANDS


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

    def left(self, rest: Iterable[tuple[str, float]], slots: int) -> str:
        """Time for the rest, pairs of a command and the seconds that it runs already, `slots` at a time."""
        pairs = [(self.of(command), gone) for command, gone in rest]
        each = [max(0.0, seconds - gone) for seconds, gone in pairs if seconds is not None]
        known = len(each) == len(pairs)
        if not pairs:
            return "nothing left"
        if not known and not any(each):
            return "time left unknown"
        least = "about " if known else "at least "
        return f"{least}{duration(max(sum(each) / slots, *each))} left"


def duration(seconds: float) -> str:
    """Short, and as exact as an estimate is."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
