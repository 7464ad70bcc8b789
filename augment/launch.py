"""Joining the other processes of a training, which torchrun or Slurm (with MASTER_ADDR and MASTER_PORT) started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from augment.devices import pick_device


@dataclass(frozen=True)
class Rank:
    """Which of the processes that were started together this is."""

    index: int = 0
    world: int = 1


def rank() -> Rank:
    """This process's rank, from the variables of torchrun or Slurm.

    Raises:
        ValueError: one of them is no number.
    """
    try:
        index = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)
        world = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)
    except ValueError as error:
        raise ValueError(f"RANK, WORLD_SIZE, SLURM_PROCID or SLURM_STEP_NUM_TASKS: {error}; unset them") from None
    return Rank(index, world)


def is_first() -> bool:
    """Whether this is the only process, or the first of those that were started together: the one that speaks."""
    return rank().index == 0


@contextmanager
def processes(device: str) -> Iterator[torch.device]:
    """This process's device; while the block runs, the processes that were started together form one group.

    A single process needs no group. With several, `auto` and `cuda` take the GPU of this process's local rank.

    Raises:
        ValueError: more processes than GPUs on this node, or no address of the first process.
    """
    here = rank()
    if here.world == 1:
        yield pick_device(device)
        return
    compute = own_device(device)
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise ValueError(
            f"{here.world} processes, but {' and '.join(missing)} not set; start them with torchrun, or export it"
        )
    backend = "cpu:gloo,cuda:nccl" if compute.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=here.index, world_size=here.world)
    try:
        yield compute
    finally:
        dist.destroy_process_group()


def own_device(device: str) -> torch.device:
    """The device of this process where several share a node: `auto` and `cuda` take the GPU of its local rank.

    Raises:
        ValueError: more processes than GPUs on this node.
    """
    picked = pick_device(device)
    if picked.type != "cuda" or picked.index is not None or rank().world == 1:
        return picked
    local = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"process {local} of this node finds {torch.cuda.device_count()} GPUs; start one process for each GPU"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
