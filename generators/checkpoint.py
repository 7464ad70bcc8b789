"""Weight files: safetensors whose header says how to rebuild the network, and that cannot run code when loaded."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from generators.generator import Generator
from generators.registry import SYSTEMS, create_generator, rebuild_generator

FORMAT = 1
WEIGHTS = "generator.safetensors"  # the file of a generator in its run folder
HEADER = "generator"  # the metadata entry that describes the network, as JSON
_SHOWN = 5  # keys named in a message


def to_bytes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Serialise tensors of any device to one safetensors file; equal contents give equal bytes."""
    data = safetensors.torch.save({key: t.detach().cpu().contiguous() for key, t in tensors.items()}, metadata)
    # safetensors writes the metadata in random order: write the header (length in 8 bytes, padded JSON) again, sorted.
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    text = json.dumps(header | {"__metadata__": dict(sorted(metadata.items()))}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def generator_to_bytes(
    model_name: str,
    preset: str,
    generator: nn.Module,
    extra: dict[str, Any],
    dtype: torch.dtype = torch.float32,
) -> bytes:
    """Serialise a generator that `load_generator` can rebuild; `dtype=torch.float16` halves the file.

    `extra` (anything JSON can hold) joins the header beside format, model, preset and config.
    """
    config: Any = generator.config
    header = {"format": FORMAT, "model": model_name, "preset": preset, "config": dataclasses.asdict(config)}
    if clash := sorted(header.keys() & extra):
        raise ValueError(f"extra header entries {', '.join(clash)} are written by the format itself")
    tensors = {
        key: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for key, tensor in generator.state_dict().items()
    }
    return to_bytes(tensors, {HEADER: json.dumps(header | extra, sort_keys=True)})


def load_generator(path: Path | str, device: torch.device | str = "cpu") -> Generator:
    """Rebuild the generator of a weights file, or of a run folder that holds one, in float32 and eval mode.

    The name of a system that needs no training (`copy`, `warp`) is understood where no such path exists.

    Raises:
        ValueError: no such file, not a weights file of this package, or its tensors do not fit its own configuration.
    """
    if name := untrained(path):
        return create_generator(name).to(device).eval()
    file = _weights_file(path)
    header = read_metadata(file)
    try:
        with torch.device("meta"):
            network = rebuild_generator(header["model"], header["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: cannot rebuild its network ({error}); was it written by a newer version?") from error
    loaded = safetensors.torch.load_file(file, device=str(device))
    tensors = {key: t.float() if t.is_floating_point() else t for key, t in loaded.items()}
    _check_fit(file, {key: t.shape for key, t in network.state_dict().items()}, tensors)
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def read_metadata(path: Path | str) -> dict[str, Any]:
    """Read the header of a weights file or run folder: format, model, preset, config and what the writer added.

    Raises:
        ValueError: no such file, or not a weights file of this package.
    """
    if name := untrained(path):
        config = dataclasses.asdict(SYSTEMS[name].presets["market"])
        return {"format": FORMAT, "model": name, "preset": "market", "config": config}
    file = _weights_file(path)
    try:
        with safe_open(file, framework="pt") as handle:
            header = json.loads((handle.metadata() or {}).get(HEADER, "null"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{file}: not a complete safetensors file ({error}); copy or train it again") from error
    if not isinstance(header, dict) or not {"model", "preset", "config"} <= header.keys():
        raise ValueError(f"{file}: no generator description in its header; expected a file written by this package")
    if header.get("format") != FORMAT:
        raise ValueError(f"{file}: format {header.get('format')!r}, but this version reads format {FORMAT}")
    return header


def weights_sha256(path: Path | str) -> str | None:
    """SHA-256 of the weights file (or of the run folder's), in hexadecimal; None where nothing was trained."""
    if untrained(path):
        return None
    with _weights_file(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def untrained(path: Path | str) -> str | None:
    """The name, where `path` is that of a system that needs no training, and nothing of this name lies on the disk."""
    system = SYSTEMS.get(str(path))
    return str(path) if system and system.objective is None and not Path(path).exists() else None


def _weights_file(path: Path | str) -> Path:
    path = Path(path)
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise ValueError(
            f"{file}: no such file; expected a {WEIGHTS}, the folder of a finished training run, copy or warp"
        )
    return file


def _check_fit(file: Path, expected: dict[str, torch.Size], found: dict[str, Tensor]) -> None:
    shapes = [key for key in expected.keys() & found if expected[key] != found[key].shape]
    problems = {"missing": expected.keys() - found, "unexpected": found.keys() - expected, "wrongly shaped": shapes}
    texts = [f"{len(keys)} {kind} ({', '.join(sorted(keys)[:_SHOWN])})" for kind, keys in problems.items() if keys]
    if texts:
        raise ValueError(
            f"{file}: tensors do not fit the network of its header: {'; '.join(texts)}. "
            "Train again, or take the file that belongs to this configuration"
        )
