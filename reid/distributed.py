"""Several processes, one training: each computes its part of every batch, and all take the loss of the whole.

A process passes its part through the network and gathers what the network says of the others. The gradient that it then
finds is the one through its own part; the sum over the processes is that of a single process. One process needs none of
this, and all functions then leave what they are given as it is.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Shaped, UInt8
from torch import Tensor

Made = TypeVar("Made")

# Batch normalisation takes its statistics over the images of a process, where it is not synchronised.
LEAST_PART = 2

# What torch's backends say, in one place or another of the message, where a process of the group has gone.
LOST = ("closed by peer", "reset by peer", "broken pipe", "connection closed", "timed out", "timeout", "remote process")


class Reported(ValueError):
    """A failure that another process reports: this one may end without a word."""


class PeerLost(RuntimeError):
    """Another process of the group ended, or cannot be reached any more."""


def failure(text: str) -> ValueError:
    """The error of all processes, which meet it together: the first one has to report it."""
    return ValueError(text) if rank() == 0 else Reported(text)


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def part_size(batch: int, processes: int, reason: str = "") -> int:
    """How many images of a batch each process has; `reason` says why the batch is not the one that was asked for.

    Raises:
        ValueError: they cannot have equally many, or have too few.
    """
    if processes > 1 and (batch % processes or batch < LEAST_PART * processes):
        raise ValueError(
            f"batch: {batch} images{reason} do not divide among {processes} processes with {LEAST_PART} or more each; "
            f"choose a multiple of {processes} from {LEAST_PART * processes} {f'to {batch}' if reason else 'on'}, or "
            "fewer processes"
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
    with _exchange():
        dist.all_gather(parts, rows.detach().contiguous())
    parts[rank()] = rows
    return torch.cat(parts)


@torch.no_grad()
def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over the processes, in one exchange."""
    if world() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with _exchange():
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
        ValueError: it failed; in the first process also an OSError, in the others `Reported`.
    """
    made, failed = None, None
    if rank() == 0:
        try:
            made = work()
        except (ValueError, OSError) as error:
            failed = error
    if anywhere(failed is not None):
        raise failed or Reported("the first process could not go on; its message says why")
    return made


def in_all(work: Callable[[], Made]) -> Made:
    """What `work` makes in this process, once it has succeeded in all.

    Raises:
        ValueError: it failed in this process (also an OSError) and in no earlier one for the same reason; `Reported` in
            the others.
    """
    if world() == 1:
        return work()
    made, failed = [], None
    try:
        made.append(work())
    except (ValueError, OSError) as error:
        failed = error
    reasons = gather(_digest(f"{type(failed).__name__}: {failed}")[None])
    first_alike = int((reasons == reasons[rank()]).all(1).nonzero()[0])
    if anywhere(failed is not None):
        report = failed if first_alike == rank() else None
        raise report or Reported("another process could not go on; its message says why")
    return made[0]


def require_same(texts: Mapping[str, str]) -> None:
    """Refuse to train together what is not the same training; the keys say of what each text tells.

    Raises:
        ValueError: in every process, where a text differs.
    """
    digests = torch.stack([_digest(text) for text in texts.values()])
    gathered = gather(digests[None])
    same = (gathered == gathered[0]).all(2).all(0)
    differing = [name for name, alike in zip(texts, same.tolist(), strict=True) if not alike]
    if differing:
        raise failure(
            f"the processes differ in {', '.join(differing)}: start all of them by the same command, on folders and "
            "files that are the same for all of them"
        )


@contextmanager
def _exchange() -> Iterator[None]:
    """Tell the end of another process from other failures."""
    try:
        yield
    except RuntimeError as error:
        if any(words in str(error).lower() for words in LOST):
            raise PeerLost(str(error).partition("\n")[0]) from error
        raise


def _digest(text: str) -> UInt8[Tensor, "32"]:
    return torch.frombuffer(bytearray(hashlib.sha256(text.encode()).digest()), dtype=torch.uint8)
