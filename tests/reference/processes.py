"""Several forked processes, as torchrun would start them, that report by JSON."""

import json
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

# Seconds after which processes that wait for each other are a failure.
DEADLINE = 120.0

# How long a process waits for another one in the group: they share the machine with other work.
PATIENCE = timedelta(seconds=60)


def forked(work: Callable[[int], Any], folder: Path, world: int = 2) -> list[Any]:
    """What `work(rank)` returns in each of `world` processes, which have torchrun's variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(world)}
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ |= address | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                (folder / f"{rank}.json").write_text(json.dumps(work(rank)))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    assert ends(children) == [0] * world
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


def ends(children: Sequence[int], deadline: float = DEADLINE) -> list[int | None]:
    """How each of the processes ended, as `os.waitpid` says it; None where it had to be killed at the deadline."""
    last, statuses = time.monotonic() + deadline, dict.fromkeys(children)
    while None in statuses.values() and time.monotonic() < last:
        for child in [child for child, status in statuses.items() if status is None]:
            ended, status = os.waitpid(child, os.WNOHANG)
            statuses[child] = status if ended else None
        time.sleep(0.01)
    for child in [child for child, status in statuses.items() if status is None]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return list(statuses.values())


def in_group(work: Callable[[], Any], folder: Path, world: int = 2) -> list[Any]:
    """What `work` returns in each of `world` processes that form one group."""

    def joined(rank: int) -> Any:
        dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world, timeout=PATIENCE)
        try:
            return work()
        finally:
            dist.destroy_process_group()

    return forked(joined, folder, world)
