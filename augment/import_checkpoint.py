"""Stage: import a generator that its authors trained, so that it can be used and trained further here.

RUN/generator.safetensors    the weights, which know how to rebuild the network, and the digest of the authors' file
"""

import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from augment import files, runs
from generators import checkpoint
from generators.generator import Generator
from generators.published import dptn, patn
from generators.registry import SYSTEMS

STAGE = "import-checkpoint"
MODELS = ("patn", "dptn", "dptn-ta")  # DPTN-TA trains DPTN's network
IMPORTED = "imported"  # the preset that weights are of where none is asked for
_SHOWN = 5  # entries named in a message
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COUNTS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_COUNTER = "num_batches_tracked"  # the one entry of a generator that may be a whole number


@dataclass(frozen=True)
class ImportCheckpointConfig:
    """What the file holds."""

    model: str
    heads: int | None = None  # of DPTN's attention, which leave no trace in a file; None: as published
    preset: str | None = None  # whose network it must be; None takes any size


@dataclass(frozen=True)
class Job:
    """A checkpoint that was read and fits its network."""

    network: Generator
    determining: dict[str, Any]

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in asdict(self.network.config).items())
        return f"{self.determining['model']}: {self.parameters:,} parameters, {settings}"


def prepare(config: ImportCheckpointConfig, file: Path) -> Job:
    """Read the file and convert its tensors.

    Raises:
        ValueError: not a whole state dict, one that could run code, or not one of this model and preset.
    """
    if config.model not in MODELS:
        raise ValueError(f"--model {config.model}: expected one of {', '.join(MODELS)}")
    if config.heads is not None and config.model == "patn":
        raise ValueError(f"--heads {config.heads}: PATN has no attention heads; leave it out")
    system = SYSTEMS[config.model]
    if config.preset is not None and config.preset not in system.presets:
        raise ValueError(f"--preset {config.preset}: expected one of {', '.join(system.presets)}")
    state = read_state(file)
    try:
        settings, weights = _convert(config, state)
    except ValueError as error:
        options = "--model" if config.model == "patn" else "--model and --heads"
        raise ValueError(f"{file}: {error}; check {options}, or give another file") from error
    if config.preset is not None:
        _require_preset(file, config.preset, asdict(settings), asdict(system.presets[config.preset]))
    with torch.device("meta"):
        network = system.generator(settings)
    dtypes = {key: t.dtype for key, t in network.state_dict().items()}
    # Copies, because tensors of one file may share memory, and safetensors refuses to write such.
    network.load_state_dict({key: t.detach().to(dtypes[key], copy=True) for key, t in weights.items()}, assign=True)
    determining = {
        "model": config.model,
        "preset": config.preset or IMPORTED,
        "network": asdict(settings),
        "file_sha256": files.sha256(file),
    }
    return Job(network.eval(), determining)


def run(
    config: ImportCheckpointConfig,
    file: Path,
    out: Path,
    *,
    force: bool = False,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write the generator in `file` as the run folder `out`; returns the path of the weights.

    What it was trained on is unknown, so later stages ask the user to vouch for it.

    Raises:
        ValueError: see `prepare`; or `out` holds another import.
    """
    job = prepare(config, file)
    folder = runs.open_run(out, STAGE, job.determining, force=force)
    path = out / checkpoint.WEIGHTS
    if folder.finished:
        log("already done")
        return path
    log(str(job))
    digest = job.determining["file_sha256"]
    provenance = {"trained_on": None, "points_digest": None, "imported_from": {"file_sha256": digest}}
    data = checkpoint.generator_to_bytes(config.model, job.determining["preset"], job.network, extra=provenance)
    files.write_atomic(path, data)
    folder.finish({"schema": 1, "parameters": job.parameters, "weights_sha256": files.sha256(path)})
    return path


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a state dict saved by torch (.pth). No code in it is run.

    Raises:
        ValueError: it needs code to be loaded, is damaged, holds something else, tensors that are not of floats where
            floats belong, or values that are not finite.
        OSError: it cannot be opened.
    """
    file.open("rb").close()  # where this fails, the system's words are the right ones
    try:
        if file.suffix == ".safetensors":
            content = safetensors.torch.load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds on broken, foreign or unsafe bytes
        if isinstance(error, pickle.UnpicklingError) and (code := re.search(r"GLOBAL (\S+)", str(error))):
            raise ValueError(
                f"{file}: holds more than tensors ({code[1]}), and loading that could run code; load it where it was "
                "made and save its weights alone: torch.save(network.state_dict(), FILE)"
            ) from error
        raise ValueError(f"{file}: not a whole checkpoint ({type(error).__name__}); copy it again") from error
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise ValueError(
            f"{file}: expected a state dict (names and tensors), as the authors' code saves it; found "
            f"{_summary(content)}; save its weights alone: torch.save(network.state_dict(), FILE)"
        )
    if not content:
        raise ValueError(f"{file}: holds no tensors; give the file of a trained generator")
    if others := [f"{key}: {_kind(t)}" for key, t in content.items() if not _is_plain(key, t)]:
        raise ValueError(
            f"{file}: {len(others)} tensors are not of floating-point numbers ({', '.join(others[:_SHOWN])}), as a "
            "generator's are; give the file that its authors' code saved"
        )
    spoilt = [key for key, t in content.items() if t.is_floating_point() and not t.isfinite().all()]
    if spoilt:
        raise ValueError(
            f"{file}: {len(spoilt)} tensors hold values that are not finite ({', '.join(spoilt[:_SHOWN])}); its "
            "training diverged: take an earlier checkpoint"
        )
    return content


def _is_plain(key: str, tensor: Tensor) -> bool:
    """Dense floats; in the counters of batch norms also whole numbers."""
    allowed = _FLOATS + _COUNTS if key.endswith(_COUNTER) else _FLOATS
    return tensor.dtype in allowed and tensor.layout == torch.strided and tensor.device.type == "cpu"


def _kind(tensor: Tensor) -> str:
    layout = "" if tensor.layout == torch.strided else f"{tensor.layout}, "
    device = "" if tensor.device.type == "cpu" else f"{tensor.device}, "
    return f"{layout}{device}{tensor.dtype}".replace("torch.", "")


def _convert(config: ImportCheckpointConfig, state: Mapping[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    if config.model == "patn":
        return patn.convert(state)
    return dptn.convert(state) if config.heads is None else dptn.convert(state, config.heads)


def _require_preset(file: Path, preset: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    differing = [
        f"{name}={found[name]} instead of {expected[name]}" for name in expected if found[name] != expected[name]
    ]
    if differing:
        raise ValueError(f"{file}: not the network of --preset {preset}: {', '.join(differing)}; leave --preset out")


def _summary(content: object) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    entries = [f"{key} ({type(value).__name__})" for key, value in content.items()]
    return ", ".join(entries[:_SHOWN]) + (f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else "")
