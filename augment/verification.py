"""Stage: all that can be checked of a synthetic set, in a process of its own that a hostile file may hang or crash."""

import json
import math
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from augment import agreement, integrity
from augment.integrity import NotCheckedError, Progress, Subject

OK, WRONG, NOT_CHECKED = "ok", "wrong", "not checked"
SILENCE_SECONDS = 120.0  # that a check may take without a sign of life
SECONDS, BYTES_PER_SECOND = 60.0, 1e7  # altogether
MEMORY = 4 * 2**30  # bytes of addresses beside those of the interpreter and its libraries
LONGEST = 400  # characters of what is said of a check

# name -> (check of a set, the checks that must hold before it)
OF_ITSELF: dict[str, tuple[Callable[[Subject], str | None], tuple[str, ...]]] = {
    "structure": (integrity.structure, ()),
    "shards": (integrity.whole, ("structure",)),
    "plan": (integrity.planned, ("structure",)),
    "checksums": (integrity.checksums, ("structure",)),
    "names": (integrity.names, ("structure",)),
    "provenance": (integrity.provenance, ("structure",)),
    "scores": (integrity.scored, ("structure", "shards", "checksums")),
    "selection": (integrity.selected, ("structure", "shards", "checksums")),
}
# the same of checks beside the data
WITH_DATA: dict[str, tuple[Callable[[Subject, agreement.Data], str], tuple[str, ...]]] = {
    "data": (agreement.same_data, ("plan", "provenance")),
    "sources": (agreement.sources, ("plan", "names")),
    "test identities": (agreement.no_leak, ("plan", "names")),
    "target poses": (agreement.poses, ("plan", "names", "provenance")),
}


@dataclass(frozen=True)
class Check:
    """A property of a set: whether it holds, and what was found."""

    name: str
    state: str
    said: str


@dataclass(frozen=True)
class Report:
    """All checks of a set, in the order in which they were made."""

    path: Path
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> list[str]:
        return [check.name for check in self.checks if check.state == WRONG]

    def as_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "holds": self.holds, "checks": [asdict(check) for check in self.checks]}

    def __str__(self) -> str:
        rows = [f"{check.name:>16}  {check.state:<11}  {check.said}" for check in self.checks]
        last = "all of this holds" if self.holds else f"do not use it: {', '.join(self.failed)} wrong"
        return "\n".join([*rows, last])


def run(
    synthetic: Path,
    data: Path | None = None,
    *,
    annotation: Path | None = None,
    timeout: float | None = None,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Check a set (a file, a folder of shards, one of them, a selection); with DATA also what it was made of.

    Nothing is written, and the files cannot harm this process: another one reads them, which has `timeout` seconds
    (None: 60, and one for each 10 MB), 120 of them at most without a sign of life, and some GB of memory.

    Raises:
        ValueError: there is no such set, or the data cannot be read.
    """
    if not os.path.lexists(synthetic):
        raise ValueError(f"{synthetic}: no such file or folder; give a synthetic set")
    if annotation is not None and data is None:
        raise ValueError(f"--annotation {annotation}: belongs to DATA, which is not given")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"--timeout {timeout:g}: expected seconds, more than 0")
    receiving, sending = cast("tuple[Connection, Connection]", multiprocessing.Pipe(duplex=False))
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(sending, synthetic, data, annotation, timeout), daemon=True
    )
    process.start()
    sending.close()
    try:
        answers = _Answers(receiving, timeout, progress)
        complaint = answers.collect()
        process.join(timeout=1)
    finally:
        process.kill()
        process.join()
        receiving.close()
    if complaint is not None:
        said = complaint or _ending(process.exitcode)
        answers.checks.append(Check(answers.doing, WRONG, f"{said}: damaged or hostile, do not use it"))
    return Report(synthetic, tuple(answers.checks))


def examine(
    subject: Subject, data: agreement.Data | None = None, doing: Callable[[str], None] = lambda name: None
) -> Iterator[Check]:
    """Make all checks in this process, but for those that rest on one that does not hold; `doing` hears of each."""
    held: dict[str, bool] = {}
    for name, (check, needed) in OF_ITSELF.items():
        doing(name)
        yield from _made(name, needed, held, lambda check=check: check(subject))
    if data is None:
        yield Check("data", NOT_CHECKED, "give DATA to compare sources and target poses with it")
        return
    for name, (check, needed) in WITH_DATA.items():
        doing(name)
        yield from _made(name, needed, held, lambda check=check: check(subject, data))


def _made(
    name: str, needed: tuple[str, ...], held: dict[str, bool], check: Callable[[], str | None]
) -> Iterator[Check]:
    """The outcome of a check; none where there is nothing of the kind."""
    if missing := [other for other in needed if not held[other]]:
        held[name] = False
        yield Check(name, NOT_CHECKED, f"rests on {missing[0]}")
        return
    try:
        said, state = check(), OK
    except NotCheckedError as error:
        said, state = str(error), NOT_CHECKED
    except (ValueError, OSError) as error:
        said, state = str(error), WRONG
    except Exception as error:  # what a forged file may make of a reader is not to be foreseen
        said, state = f"cannot be checked, {type(error).__name__}: {error}", WRONG
    held[name] = state != WRONG
    if said is not None:
        yield Check(name, state, _printable(said))


@dataclass
class _Answers:
    """What the other process says, as long as it is in time."""

    receiving: Connection
    timeout: float | None
    progress: Progress
    doing: str = "structure"
    checks: list[Check] = field(default_factory=list)

    def collect(self) -> str | None:
        """None when all is said; else what is wrong with the process, "" where it has ended.

        Raises:
            ValueError: the data cannot be read.
        """
        limit, ends = self.timeout or SECONDS, math.inf  # the clock starts when the process has
        while True:
            patience = max(0.0, min(ends - time.monotonic(), SILENCE_SECONDS))
            if not self.receiving.poll(patience):
                return f"gave no answer within {limit if patience < SILENCE_SECONDS else SILENCE_SECONDS:g} s"
            try:
                kind, value = json.loads(self.receiving.recv_bytes())
            except EOFError:
                return ""
            ends = min(ends, time.monotonic() + limit)
            if kind == "done":
                return None
            if kind == "mistake":
                raise ValueError(value)
            if kind == "bytes" and self.timeout is None:
                limit += value / BYTES_PER_SECOND
                ends += value / BYTES_PER_SECOND
            elif kind == "progress":
                self.progress(*value)
            elif kind == "doing":
                self.doing = value
            elif kind == "check":
                self.checks.append(Check(**value))


def _serve(
    sending: Connection, synthetic: Path, data: Path | None, annotation: Path | None, timeout: float | None
) -> None:
    """What the other process does: it may be crashed, but neither write files nor take all memory."""

    def say(kind: str, value: Any = None) -> None:
        sending.send_bytes(json.dumps([kind, value]).encode())

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    _confine()
    say("doing", "structure")
    try:
        opened = None if data is None else agreement.open_data(data, annotation)
    except (ValueError, OSError) as error:
        say("mistake", str(error))
        return
    subject = Subject(synthetic, lambda done, total: say("progress", [done, total]), lambda: say("alive"))
    for check in examine(subject, opened, lambda name: say("doing", name)):
        say("check", asdict(check))
        if (check.name, check.state) == ("structure", OK):
            say("bytes", sum(path.stat().st_size for path in subject.parts))
    say("done")


def _confine() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    statistics = Path("/proc/self/statm")
    if statistics.exists():  # elsewhere addresses are not limited
        used = int(statistics.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = used + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _ending(code: int | None) -> str:
    name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
    return f"reading it ended the process ({name})"


def _printable(text: str) -> str:
    """Text out of a file, without what would command a terminal."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return plain if len(plain) <= LONGEST else plain[:LONGEST] + "..."
