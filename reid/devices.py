"""What a training computes on, in the words that its results hold of it."""

import torch

UNRECORDED = "not recorded"  # by versions that wrote no device down


def described(device: torch.device) -> str:
    """The type, and of a GPU its name: `cpu`, `cuda: NVIDIA H200`."""
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
