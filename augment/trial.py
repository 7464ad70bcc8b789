"""The unit of work of a study: one command in a folder of its own, under a lock, until it has made what it makes.

    python -m augment.trial FOLDER

FOLDER/unit.json      the command (augment.study.Unit); FOLDER's parent is its working directory
FOLDER/lock           locked (flock) by whoever runs it and by the command itself, which may outlive its runner
FOLDER/attempts.json  when it was begun, for how long it ran, how it ended
FOLDER/log.txt        what it said, all attempts
FOLDER/result.json    appears last: it is done
FOLDER/failed.json    its command ended with an error of its own; it is not run again until this file is removed

A command that a signal ended, or that saved and left (exit codes 75 and 130), is interrupted: running the unit again
continues it.
"""

import contextlib
import errno
import fcntl
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from augment import files, interruption, runs
from augment.interruption import PREEMPTED_EXIT_CODE
from augment.study import Unit

UNIT, RESULT, FAILED, ATTEMPTS, LOG, LOCK = (
    "unit.json", "result.json", "failed.json", "attempts.json", "log.txt", "lock",
)  # fmt: skip
INTERRUPTED_EXIT_CODES = (PREEMPTED_EXIT_CODE, 130)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
PATIENCE = 0.2  # seconds between two looks at a lock or a process
AUGMENT = (sys.executable, "-m", "augment")
TAIL = 20  # lines of the log that tell of a failure
QUIET = {"TQDM_MININTERVAL": "30"}  # bars go into a file
RANKS = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS",
)  # fmt: skip


class State(StrEnum):
    NEW = "new"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    DONE = "done"


@dataclass
class Attempt:
    """One start of the command. `code` is None until its end is seen: it runs, or its runner was killed."""

    host: str
    started: float  # seconds since 1970
    seconds: float = 0.0
    code: int | None = None  # negative: the signal that ended it


def state(folder: Path) -> State:
    """What has become of a unit, as the disk tells."""
    if ended := _ended(folder):
        return ended
    if is_locked(folder):
        return _ended(folder) or State.RUNNING
    return State.INTERRUPTED if attempts(folder) else State.NEW


def _ended(folder: Path) -> State | None:
    if (folder / RESULT).exists():
        return State.DONE
    return State.FAILED if (folder / FAILED).exists() else None


def attempts(folder: Path) -> list[Attempt]:
    path = folder / ATTEMPTS
    return [Attempt(**entry) for entry in files.read_json(path)] if path.exists() else []


def read_unit(folder: Path) -> Unit:
    """The command of a folder.

    Raises:
        ValueError: none, or one that this version cannot read.
    """
    path = folder / UNIT
    if not path.exists():
        raise ValueError(f"{folder}: holds no {UNIT}, so it is no unit of a study; see `augment ablate --help`")
    found = files.read_json(path)
    try:
        words, needs = tuple(found["argv"]), tuple(found["needs"])
        return Unit(found["name"], found["command"], found["label"], words, needs)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a unit of a study ({error!r}); run `augment ablate` again") from None


def is_locked(folder: Path) -> bool:
    """Whether some process is at work in a folder, as far as the file system tells."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that look do not meet each other
    except OSError as error:
        return error.errno == errno.EWOULDBLOCK
    finally:
        os.close(descriptor)
    return False


def run(folder: Path, environment: Mapping[str, str] | None = None) -> State:
    """Run the unit of this folder, unless it is done or has failed before; wait for another process that runs it.

    `environment` adds to this process's. SIGTERM (in the main thread) is passed on to the command, which saves.

    Raises:
        ValueError: the folder holds no unit.
    """
    folder = folder.absolute()
    unit = read_unit(folder)
    with interruption.on_sigterm() as flag, _lock(folder, flag) as descriptor:
        if ended := _ended(folder):
            return ended
        if flag.requested:
            return State.INTERRUPTED
        files.remove_parts(folder)
        code, since = _attempt(folder, unit, descriptor, importable(environment), flag)
        if code == 0 and (folder.parent / unit.proof).exists():
            return _succeed(folder, unit)
        if code < 0 or code in INTERRUPTED_EXIT_CODES or (code and flag.requested):
            return State.INTERRUPTED
        return _fail(folder, unit, code, since)


def importable(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment and more, such that `python -m augment` is this very package in any folder.

    What tells a process that it is one of several is left out: under `srun` or torchrun, a unit would wait for others.
    """
    alone = {name: value for name, value in os.environ.items() if name not in RANKS}
    found = {**QUIET, **alone, **(environment or {})}
    root = Path(__file__).parents[1]
    if root.name not in ("site-packages", "dist-packages"):
        found["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [found.get("PYTHONPATH")])])
    return found


@contextlib.contextmanager
def _lock(folder: Path, flag: interruption.Flag) -> Iterator[int]:
    """Hold the folder's lock while the block runs, or go on without where the file system has none.

    The block is also entered, without the lock, after SIGTERM.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        waiting = False
        while not flag.requested:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in NO_LOCKS:
                    _say(folder, f"no locks here ({error.strerror}): see to it that nobody else runs this unit")
                    break
                if error.errno != errno.EWOULDBLOCK:
                    raise
            if not waiting:
                _say(folder, f"process {os.getpid()} of {socket.gethostname()} waits for another one")
                waiting = True
            time.sleep(PATIENCE)
        yield descriptor
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for what the command left running
    finally:
        os.close(descriptor)


def _attempt(
    folder: Path, unit: Unit, lock: int, environment: Mapping[str, str], flag: interruption.Flag
) -> tuple[int, int]:
    """Run the command to its end; its exit code, and where in the log its words begin."""
    tried = attempts(folder)
    if tried and tried[-1].code is None:  # killed together with its runner; it spoke as long as it lived
        tried[-1].seconds = max(0.0, (folder / LOG).stat().st_mtime - tried[-1].started)
    this = Attempt(socket.gethostname(), time.time())
    tried.append(this)
    _write_attempts(folder, tried)
    begun = time.monotonic()
    with (folder / LOG).open("ab") as output:
        since = output.tell()
        output.write(f"== attempt {len(tried)}, {_now()}, {this.host}: augment {shlex.join(unit.argv)}\n".encode())
        output.flush()
        process = subprocess.Popen(
            [*AUGMENT, *unit.argv], cwd=folder.parent, env=environment, pass_fds=(lock,),
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            this.code = _wait(process, flag)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    this.seconds = time.monotonic() - begun
    _write_attempts(folder, tried)
    return this.code, since


def _wait(process: "subprocess.Popen[bytes]", flag: interruption.Flag) -> int:
    told = False
    while True:
        if flag.requested and not told:
            process.terminate()
            told = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(PATIENCE)


def _succeed(folder: Path, unit: Unit) -> State:
    found = {"schema": 1, "out": unit.out, **_spent(folder), "host": socket.gethostname()}
    files.write_json(folder / RESULT, found | {"finished": _now(), "versions": runs.versions()})
    return State.DONE


def _fail(folder: Path, unit: Unit, code: int, since: int) -> State:
    tail = _last_words(folder, since)
    if code == 0:
        tail.append(f"ended with code 0, but left no {unit.proof}")
    files.write_json(folder / FAILED, {"schema": 1, "code": code, "tail": tail, "finished": _now(), **_spent(folder)})
    return State.FAILED


def _spent(folder: Path) -> dict[str, Any]:
    tried = attempts(folder)
    return {"seconds": round(sum(attempt.seconds for attempt in tried), 1), "attempts": len(tried)}


def _last_words(folder: Path, since: int) -> list[str]:
    """The end of the log from byte `since` on; what a bar drew over is a line."""
    with (folder / LOG).open("rb") as file:
        file.seek(max(since, file.seek(0, os.SEEK_END) - 2**14))
        text = file.read().decode(errors="replace").replace("\r", "\n")
    return [line.rstrip() for line in text.splitlines() if line.strip()][-TAIL:]


def _write_attempts(folder: Path, tried: Sequence[Attempt]) -> None:
    files.write_json(folder / ATTEMPTS, [asdict(attempt) for attempt in tried])


def _say(folder: Path, line: str) -> None:
    with (folder / LOG).open("a", encoding="utf-8") as log:
        log.write(f"== {_now()}: {line}\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def main(words: Sequence[str]) -> int:
    """The exit code: 0 done, 1 failed, 75 interrupted, 2 for what is no unit."""
    if len(words) != 1 or words[0].startswith("-"):
        print("Usage: python -m augment.trial FOLDER", file=sys.stderr)
        return 2
    try:
        found = run(Path(words[0]))
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return {State.DONE: 0, State.FAILED: 1}.get(found, PREEMPTED_EXIT_CODE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
