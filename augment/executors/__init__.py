"""Where the units of a study run: here, on a cluster. Folders in, folders whose unit has ended out.

An executor knows nothing of studies. It starts `python -m augment.trial FOLDER` (or calls `trial.run`) somewhere that
sees the same files; what came of a unit is read from the disk by whoever asked for it.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

Settings = Mapping[str, int | float | bool | str]  # --executor-option KEY=VALUE
Options = TypeVar("Options")

OPTION = "--executor-option"
LIBRARIES = {"slurm": "submitit", "ray": "ray"}  # what an executor needs; the extra has the executor's name


class Executor(Protocol):
    """Runs units, several at a time."""

    @property
    def slots(self) -> int:
        """How many units may be submitted and unfinished at a time."""
        ...

    def submit(self, folder: Path) -> None:
        """Start the unit of this folder somewhere."""
        ...

    def wait(self, seconds: float) -> list[Path]:
        """Folders whose unit has ended since the last call, in whatever state; at once if some did, else in time."""
        ...

    def stop(self) -> None:
        """Ask all that run to save and stop (SIGTERM), and wait for them."""
        ...

    def close(self) -> None:
        """Give back what it holds; nothing runs any more."""
        ...


def _local(jobs: int | None, settings: Settings, work: Path) -> Executor:
    from augment.executors import local

    return local.start(jobs, settings, work)


def _slurm(jobs: int | None, settings: Settings, work: Path) -> Executor:
    from augment.executors import slurm

    return slurm.start(jobs, settings, work)


def _ray(jobs: int | None, settings: Settings, work: Path) -> Executor:
    from augment.executors import ray

    return ray.start(jobs, settings, work)


EXECUTORS: dict[str, Callable[[int | None, Settings, Path], Executor]] = {"local": _local, "slurm": _slurm, "ray": _ray}


def require(name: str) -> None:
    """Say before anything else what an executor lacks.

    Raises:
        ValueError: no such executor, or an absent library.
    """
    if name not in EXECUTORS:
        raise ValueError(f"--executor {name}: expected {', '.join(EXECUTORS)}")
    library = LIBRARIES.get(name)
    if library is not None and importlib.util.find_spec(library) is None:
        raise ValueError(f"--executor {name}: needs {library}: pip install 'reid-augment[{name}]'")


def open_executor(name: str, jobs: int | None, settings: Settings, work: Path) -> Executor:
    """The executor of this name for `jobs` units at a time (None: as many as it finds room for).

    `work` is a folder for files of its own, such as a scheduler's logs; it need not exist, and may never.

    Raises:
        ValueError: as `require`, or an option that it does not know.
    """
    require(name)
    return EXECUTORS[name](jobs, settings, work)


def _local_slots(settings: Settings) -> int | None:
    from augment.executors import local

    return local.usual_slots(settings)


def _slurm_slots(settings: Settings) -> int | None:
    from augment.executors import slurm

    return slurm.usual_slots(settings)


def _ray_slots(settings: Settings) -> int | None:
    from augment.executors import ray

    return ray.usual_slots(settings)


SLOTS: dict[str, Callable[[Settings], int | None]] = {"local": _local_slots, "slurm": _slurm_slots, "ray": _ray_slots}


def usual_slots(name: str, settings: Settings) -> int | None:
    """How many units an executor runs at a time where --jobs does not say; None: only its cluster knows.

    Nothing is started, and nobody asked but the driver of this machine's GPUs.

    Raises:
        ValueError: as `require`, or an option that it does not know.
    """
    require(name)
    return SLOTS[name](settings)


def configured(kind: type[Options], executor: str, settings: Settings) -> Options:
    """The options of an executor, a frozen dataclass whose fields all have defaults, with these of them set.

    Raises:
        ValueError: an option that it does not have, or a value of another type than the default's.
    """
    known: dict[str, Any] = {field.name: field.default for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    for key, value in settings.items():
        if key not in known:
            expected = f"expected some of {', '.join(known)}" if known else "there are none"
            raise ValueError(f"{OPTION} {key}={value}: no option of --executor {executor}; {expected}")
        if known[key] is not None and type(value) is not type(known[key]):
            wanted = type(known[key]).__name__
            raise ValueError(f"{OPTION} {key}={value}: expected {wanted}, as in {key}={known[key]}")
    return kind(**settings)
