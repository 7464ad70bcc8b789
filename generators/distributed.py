"""Several processes, one training: gradients averaged after each backward, as in StyleGAN3, the rest replicated.

Every process holds the same networks, optimisers and history; each sees its share of the global batch. One process
needs none of this, and all functions then return what they were given.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def share(batch: int) -> slice:
    """This process's part of a global batch.

    Raises:
        ValueError: the batch does not divide among the processes.
    """
    if batch % world():
        raise ValueError(f"a batch of {batch} does not divide among {world()} processes; choose a multiple")
    size = batch // world()
    return slice(rank() * size, (rank() + 1) * size)


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each gradient by its mean over the processes, in one exchange; an absent one counts as zero."""
    if world() == 1:
        return
    owners = list(parameters)
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in owners])
    dist.all_reduce(flat)
    flat /= world()
    for owner, part in zip(owners, flat.split([p.numel() for p in owners]), strict=True):
        owner.grad = torch.empty_like(owner).copy_(part.view_as(owner))  # strides as the parameter's: fused Adam's wish


@torch.no_grad()
def average(value: Tensor) -> Tensor:
    """The mean over the processes."""
    if world() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / world()


@torch.no_grad()
def gather_rows(value: Tensor) -> Tensor:
    """The rows of all processes, in the order of the global batch."""
    if world() == 1:
        return value
    parts = [torch.empty_like(value) for _ in range(world())]
    dist.all_gather(parts, value.contiguous())
    return torch.cat(parts)


def anywhere(flag: bool) -> bool:
    """Whether any process says so."""
    if world() == 1:
        return flag
    votes = torch.tensor(int(flag))
    dist.all_reduce(votes)
    return bool(votes)


def wait() -> None:
    """Until every process is here."""
    if world() > 1:
        anywhere(False)
