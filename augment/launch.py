"""Joining the other processes of a training, which torchrun or Slurm (with MASTER_ADDR and MASTER_PORT) started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from augment.devices import pick_device


def is_first() -> bool:
    """Whether this is the only process, or the first of those that were started together: the one that speaks."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) == 0


@contextmanager
def processes(device: str) -> Iterator[torch.device]:
    """This process's device; while the block runs, the processes that were started together form one group.

    A single process needs no group. With several, `auto` and `cuda` take the GPU of this process's local rank.

    Raises:
        ValueError: more processes than GPUs on this node, or no address of the first process.
    """
    world = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)
    if world == 1:
        yield pick_device(device)
        return
    compute = _own_device(device)
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise ValueError(
            f"{world} processes, but {' and '.join(missing)} not set; start them with torchrun, or export it"
        )
    backend = "cpu:gloo,cuda:nccl" if compute.type == "cuda" else "gloo"
    rank = int(os.environ.get("RANK") or os.environ["SLURM_PROCID"])
    dist.init_process_group(backend, rank=rank, world_size=world)
    try:
        yield compute
    finally:
        dist.destroy_process_group()


def _own_device(device: str) -> torch.device:
    picked = pick_device(device)
    if picked.type != "cuda" or picked.index is not None:
        return picked
    local = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"process {local} of this node finds {torch.cuda.device_count()} GPUs; start one process for each GPU"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
