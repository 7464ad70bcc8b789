"""Weight files: exact round trips, equal bytes, and a plain refusal of everything else."""

import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from generators.checkpoint import (
    HEADER,
    WEIGHTS,
    generator_to_bytes,
    load_generator,
    read_metadata,
    to_bytes,
    weights_sha256,
)
from generators.dptn import DPTN
from generators.initialisation import initialise
from generators.registry import create_generator

SETTINGS = {"width": 8, "max_width": 16, "pose_channels": 4}


@pytest.fixture(scope="module")
def network() -> DPTN:
    network = create_generator("dptn", "tiny", **SETTINGS)
    initialise(network, torch.Generator().manual_seed(0), "orthogonal")
    return network


@pytest.fixture
def run(network, tmp_path) -> Path:
    (tmp_path / WEIGHTS).write_bytes(generator_to_bytes("dptn", "tiny", network, {"images": 640}))
    return tmp_path


def rewrite(run: Path, header: dict, **tensors: torch.Tensor) -> None:
    """Replace the file by one with a changed header and tensors; an empty tensor stands for a missing one."""
    kept = safetensors.torch.load_file(run / WEIGHTS) | {key.replace("__", "."): t for key, t in tensors.items()}
    kept = {key: tensor for key, tensor in kept.items() if tensor.numel()}
    (run / WEIGHTS).write_bytes(to_bytes(kept, {HEADER: json.dumps(read_metadata(run) | header)}))


def test_a_file_rebuilds_its_network(network, run):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for path in (run, run / WEIGHTS):
        found = load_generator(path)
        assert not found.training
        assert found.config == network.config
        assert all(parameter.requires_grad for parameter in found.parameters())
        given = (torch.rand(1, 3, 32, 16), *torch.rand(2, 1, 4, 32, 16))
        assert torch.equal(found(*given), network(*given))
    torch.set_rng_state(before)
    load_generator(run)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_header_says_what_the_file_holds(network, run):
    header = read_metadata(run)
    assert header["format"] == 1
    assert (header["model"], header["preset"], header["images"]) == ("dptn", "tiny", 640)
    assert header["config"] == vars(network.config)
    assert weights_sha256(run) == hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()


def test_half_precision_halves_the_file_and_loads_as_float32(network, run):
    full = (run / WEIGHTS).stat().st_size
    (run / WEIGHTS).write_bytes(generator_to_bytes("dptn", "tiny", network, {}, dtype=torch.float16))
    assert (run / WEIGHTS).stat().st_size < 0.65 * full
    found = load_generator(run).state_dict()
    for key, tensor in network.state_dict().items():
        assert torch.equal(found[key], tensor.half().float())


def test_equal_contents_give_equal_bytes():
    tensors = {"b": torch.arange(3), "a": torch.ones(2, 2).t(), "c": torch.tensor(1.5, dtype=torch.bfloat16)}
    written = {to_bytes(tensors, {name: name for name in order}) for order in 5 * ["zyxwvu", "uvwxyz"]}
    assert len(written) == 1
    found = safetensors.torch.load(written.pop())
    assert all(torch.equal(found[key], tensor) for key, tensor in tensors.items())


def test_the_format_keeps_its_own_entries(network):
    with pytest.raises(ValueError, match="extra header entries config, model"):
        generator_to_bytes("dptn", "tiny", network, {"model": "x", "config": {}})


# ---- refusals: one line each, with the file's name


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_truncated_files(run, length):
    content = (run / WEIGHTS).read_bytes()
    (run / WEIGHTS).write_bytes(content[:length])
    with pytest.raises(ValueError, match=r"generator\.safetensors: not a complete safetensors file") as error:
        load_generator(run)
    assert "\n" not in str(error.value)


def test_files_of_other_kinds(run):
    (run / WEIGHTS).write_text("PK not a safetensors file, but long enough to hold a header")
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load_generator(run)
    (run / WEIGHTS).write_bytes(safetensors.torch.save({"weight": torch.ones(2)}))
    with pytest.raises(ValueError, match="no generator description in its header"):
        load_generator(run)
    with pytest.raises(ValueError, match=r"absent/generator\.safetensors: no such file|absent: no such file"):
        load_generator(run / "absent")
    (run / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"generator\.safetensors: no such file; .*finished training run"):
        weights_sha256(run)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"model": "stylegan"}, "unknown model 'stylegan': expected one of pg2, patn, dptn"),
        ({"config": {"ngf": 8}}, "unknown dptn setting 'ngf'"),
        ({"config": 3}, "cannot rebuild its network"),
        ({"format": 2}, "format 2, but this version reads format 1"),
    ],
)
def test_other_architectures_and_versions(run, header, words):
    rewrite(run, header)
    with pytest.raises(ValueError, match=words):
        load_generator(run)


def test_tensors_that_do_not_fit(run):
    rewrite(run, {}, transfer_norm__bias=torch.empty(0), transfer_norm__weight=torch.ones(3), other=torch.ones(1))
    words = r"1 missing \(transfer_norm\.bias\); 1 unexpected \(other\); 1 wrongly shaped \(transfer_norm\.weight\)"
    with pytest.raises(ValueError, match=words):
        load_generator(run)


def test_weights_of_another_width(network, run):
    rewrite(run, {"config": vars(network.config) | {"width": 16}})
    with pytest.raises(ValueError, match=r"\d+ wrongly shaped \(decoder\.1\.conv1\.bias, .*\)\. Train again"):
        load_generator(run)
