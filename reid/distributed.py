"""Several processes, one training: each computes its part of every batch, and all take the loss of the whole.

A process passes its part through the network and gathers what the network says of the others. The gradient that it then
finds is the one through its own part; the sum over the processes is that of a single process. One process needs none of
this, and all functions then leave what they are given as it is.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor

Made = TypeVar("Made")

# Batch normalisation takes its statistics over the images of a process, where it is not synchronised.
LEAST_PART = 2


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def part_size(batch: int, processes: int) -> int:
    """How many images of a batch each process has.

    Raises:
        ValueError: they cannot have equally many, or have too few.
    """
    if processes > 1 and (batch % processes or batch < LEAST_PART * processes):
        raise ValueError(
            f"batch: {batch} images do not divide among {processes} processes with {LEAST_PART} or more each; choose a "
            f"multiple of {processes} from {LEAST_PART * processes} on, or fewer processes"
        )
    return batch // processes


def part(batch: int) -> slice:
    """This process's part of a batch.

    Raises:
        ValueError: see `part_size`.
    """
    size = part_size(batch, world())
    return slice(rank() * size, (rank() + 1) * size)


def gather(rows: Shaped[Tensor, "part *rest"]) -> Shaped[Tensor, "batch *rest"]:
    """The rows of all processes, in the order of the batch; gradients flow into this process's own."""
    if world() == 1:
        return rows
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format, requires_grad=False) for _ in range(world())]
    dist.all_gather(parts, rows.detach().contiguous())
    parts[rank()] = rows
    return torch.cat(parts)


@torch.no_grad()
def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over the processes, in one exchange."""
    if world() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over the processes."""
    add_up(tensors)
    for tensor in tensors if world() > 1 else ():
        tensor /= world()


def anywhere(flag: bool) -> bool:
    """Whether any process says so."""
    votes = torch.tensor(int(flag))
    add_up([votes])
    return bool(votes)


def in_first(work: Callable[[], Made]) -> Made | None:
    """What `work` makes in the first process, for which all wait; None in the others.

    Raises:
        ValueError: it failed; in the first process also an OSError.
    """
    made, failure = None, None
    if rank() == 0:
        try:
            made = work()
        except (ValueError, OSError) as error:
            failure = error
    if anywhere(failure is not None):
        raise failure or ValueError("the first process could not go on; its message says why")
    return made


def require_same(text: str) -> None:
    """Refuse to train together what is not the same training.

    Raises:
        ValueError: in every process, where the texts differ.
    """
    digest = torch.frombuffer(bytearray(hashlib.sha256(text.encode()).digest()), dtype=torch.uint8)
    if not bool((gather(digest[None]) == digest).all()):
        raise ValueError(
            "the processes differ in options, images or epochs done: start all of them by the same command, on folders "
            "that all of them see"
        )
