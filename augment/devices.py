"""Which device to compute on."""

import torch


def require_precision(device: torch.device, precision: str) -> None:
    """Refuse bf16 where the device would only emulate it.

    Raises:
        ValueError: naming the device.
    """
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise ValueError(f"--precision bf16: {name} has no bf16 arithmetic; use --precision fp32")


def pick_device(name: str = "auto") -> torch.device:
    """`auto` takes a GPU where there is one.

    Raises:
        ValueError: the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device {name}: expected auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"--device {name}: {torch.cuda.device_count()} CUDA devices are visible; use --device cpu or auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"--device {name}: not available here; use --device cpu")
    return device
