"""A training state as bytes: safetensors, which cannot run code when loaded, with a JSON header that says what it is.

The tensors `model.<name>` are parameters and buffers, `optimiser.<name>.<moment>` what the optimiser keeps of each.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

# The name of the header within safetensors' metadata; one entry, since their order is not kept.
HEADER = "reid"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and the header: configuration, epochs done, what it was trained on."""

    tensors: dict[str, Tensor]
    header: dict[str, Any]


def to_bytes(model: nn.Module, optimiser: torch.optim.Optimizer, header: dict[str, Any]) -> bytes:
    """The state of a model and of its optimiser, whose parameters must be the model's."""
    plain = {key: value.detach().cpu().contiguous() for key, value in _tensors(model, optimiser).items()}
    return safetensors.torch.save(plain, {HEADER: json.dumps(header)})


def digest(model: nn.Module, optimiser: torch.optim.Optimizer) -> str:
    """SHA-256 of the tensors that `to_bytes` saves, with their names."""
    found = hashlib.sha256()
    for key, value in sorted(_tensors(model, optimiser).items()):
        found.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def from_bytes(data: bytes) -> Checkpoint:
    """The checkpoint in `data`.

    Raises:
        ValueError: cut off, or no checkpoint of a re-ID training.
    """
    try:
        tensors = safetensors.torch.load(data)
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER])
    except (safetensors.SafetensorError, struct.error, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"not a checkpoint of a re-ID training, or a damaged one ({error!r}): give another, or train from the start"
        ) from error
    return Checkpoint(tensors, header)


def restore_model(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Copy the weights into the model.

    Raises:
        ValueError: they are of another model.
    """
    own = [key for key in checkpoint.tensors if key.startswith("model.")]
    weights = {key.removeprefix("model."): checkpoint.tensors[key] for key in own}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint's tensors are not those of its model: {str(error)[:200]}") from error


def restore_optimiser(checkpoint: Checkpoint, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put the moments back, in the memory layout of their parameters: another layout may round differently."""
    parameters = _named_parameters(model, optimiser)
    for key, value in checkpoint.tensors.items():
        if key.startswith("optimiser."):
            name, _, moment = key.removeprefix("optimiser.").rpartition(".")
            parameter = parameters[name]
            if value.shape == parameter.shape and moment != "step":
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            optimiser.state[parameter][moment] = value


def _tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Parameters and buffers, and what the optimiser keeps of each parameter."""
    tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
    for name, parameter in _named_parameters(model, optimiser).items():
        for moment, value in optimiser.state[parameter].items():
            if value is not None:  # SGD without momentum
                tensors[f"optimiser.{name}.{moment}"] = torch.as_tensor(value)
    return tensors


def _named_parameters(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, nn.Parameter]:
    """The model's parameters, which the optimiser may hold in groups and in another order."""
    named = dict(model.named_parameters())
    held = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in named.values()}, "an optimiser of another model"
    return named
