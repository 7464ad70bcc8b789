"""Units as tasks of Ray, on whatever machines have joined its cluster; Ray core alone, no Tune, no Train.

A task whose worker or node is lost runs again elsewhere. What the lost one left running still holds the unit's lock,
for which the new one waits.
"""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import ray
from ray.exceptions import RayError

from augment import trial
from augment.executors import OPTION, Settings, configured
from augment.trial import State

PATIENCE = 0.2  # seconds between two looks at the disk
STOP_TIME = 600.0  # seconds that units have for saving
ANSWER_TIME = 10.0  # seconds in which a cluster has to accept a connection


@dataclass(frozen=True)
class RayOptions:
    """Which cluster, and what a unit needs of a node."""

    address: str = "auto"  # HOST:PORT; local: one of this machine alone; auto: the one that runs here, else local
    cpus: int = 1
    gpus: float | None = None  # None: 1 where the cluster has any; a fraction shares one
    retries: int = 3  # after a lost worker or node, or a command that a signal ended

    def __post_init__(self) -> None:
        for name, least in {"cpus": 1, "retries": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{OPTION} {name}={getattr(self, name)}: expected at least {least}")
        if self.gpus is not None and (isinstance(self.gpus, str) or self.gpus < 0):
            raise ValueError(f"{OPTION} gpus={self.gpus}: expected a number of GPUs, such as 1 or 0.5")


class Interrupted(Exception):
    """The command of a unit was ended by a signal that this run did not send: Ray tries it again."""


def run_unit(folder: str) -> str:
    """What a worker does. Cancelled, it gets KeyboardInterrupt, whereupon the command is told to save.

    Raises:
        Interrupted: the command was ended from outside.
    """
    found = trial.run(Path(folder))
    if found is State.INTERRUPTED:
        raise Interrupted(folder)
    return found


def start(jobs: int | None, settings: Settings, work: Path) -> "RayExecutor":
    """`jobs` units at a time, by default as many as the cluster has room for, with the options of `RayOptions`.

    Raises:
        ValueError: an unknown option, no cluster at the address, or no node that is large enough.
    """
    options = configured(RayOptions, "ray", settings)
    connect(options.address, jobs * options.cpus if jobs else None)
    try:
        gpus = _gpus(options)
        room = _room(options.cpus, gpus)
    except BaseException:
        ray.shutdown()
        raise
    return RayExecutor(jobs or room, options, gpus)


def usual_slots(settings: Settings) -> None:
    """Not known: as many as the cluster has room for, which is not joined to ask it."""
    configured(RayOptions, "ray", settings)


def connect(address: str, cpus: int | None) -> None:
    """Join the cluster at `address`, or start one on this machine.

    Raises:
        ValueError: nobody answers there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address not in ("auto", "local"):
        _knock(address)
    try:
        if address != "local":
            ray.init(address=address, log_to_driver=False)
            return
    except ConnectionError as error:
        if address != "auto":
            raise ValueError(f"{OPTION} address={address}: {error}") from None
        print("no Ray cluster runs here (`ray start --head` starts one): using this machine alone", file=sys.stderr)
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False)


def _knock(address: str) -> None:
    """Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdigit()):
        raise ValueError(f"{OPTION} address={address}: expected auto, local or HOST:PORT, as `ray start` prints it")
    try:
        socket.create_connection((host, int(port)), ANSWER_TIME).close()
    except OSError as error:
        raise ValueError(f"{OPTION} address={address}: {error}; is Ray's head node up?") from None


def _gpus(options: RayOptions) -> float:
    if options.gpus is not None:
        return options.gpus
    return 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0


def _room(cpus: int, gpus: float) -> int:
    """How many units the nodes that are up run at a time."""
    found = 0
    for node in ray.nodes():
        if node["Alive"]:
            held = node["Resources"]
            fits = [held.get("CPU", 0) // cpus, *([held.get("GPU", 0) // gpus] if gpus else [])]
            found += int(min(fits))
    if not found:
        raise ValueError(
            f"{OPTION} cpus={cpus}, gpus={gpus}: no node of the cluster has so many; ask for less, or start a node"
        )
    return found


@final
class RayExecutor:
    """A task for each unit, spread over the nodes."""

    def __init__(self, slots: int, options: RayOptions, gpus: float) -> None:
        self.slots = slots
        self._task = ray.remote(run_unit).options(
            num_cpus=options.cpus, num_gpus=gpus, scheduling_strategy="SPREAD",
            max_retries=options.retries, retry_exceptions=[Interrupted],
        )  # fmt: skip
        self._running: dict[Any, Path] = {}
        self._aside = contextlib.redirect_stdout(sys.stderr)
        self._aside.__enter__()  # Ray tells of lost nodes on stdout, where results go

    def submit(self, folder: Path) -> None:
        """Hand the unit of this folder to Ray."""
        self._running[self._task.remote(str(folder.absolute()))] = folder

    def wait(self, seconds: float) -> list[Path]:
        """Folders whose task has ended, for good."""
        if not self._running:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(list(self._running), timeout=seconds)
        if ready:
            ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [self._ended(task) for task in ready]

    def stop(self) -> None:
        """Cancel all, which lets commands save, and wait for them; those left after ten minutes are left alone."""
        for task in self._running:
            ray.cancel(task)
        folders = list(self._running.values())
        if self._running:
            ray.wait(list(self._running), num_returns=len(self._running), timeout=STOP_TIME)
        _wait_for(folders)
        self._running.clear()

    def close(self) -> None:
        if ray.is_initialized():
            self.stop()
            ray.shutdown()
            self._aside.__exit__(None, None, None)

    def _ended(self, task: Any) -> Path:
        folder = self._running.pop(task)
        try:
            ray.get(task)
        except RayError as error:
            print(f"{folder.name}: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return folder


def _wait_for(folders: Collection[Path]) -> None:
    """Until no command is left in any of them."""
    until = time.monotonic() + STOP_TIME
    while any(trial.is_locked(folder) for folder in folders) and time.monotonic() < until:
        time.sleep(PATIENCE)
