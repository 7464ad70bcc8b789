"""Several forked processes, as torchrun would start them, that report by JSON."""

import json
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist


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
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * world
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


def in_group(work: Callable[[], Any], folder: Path, world: int = 2) -> list[Any]:
    """What `work` returns in each of `world` processes that form one group."""

    def joined(rank: int) -> Any:
        dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world)
        try:
            return work()
        finally:
            dist.destroy_process_group()

    return forked(joined, folder, world)
