"""What a checkpoint says of the devices that it was trained on."""

import json
import struct

import pytest
import torch

from reid import checkpoint
from reid.devices import described
from reid.training import train
from tests.reid.test_training import SMALL, mixed


def header(state):
    return checkpoint.from_bytes(state).header


def rewritten(state, change):
    """The checkpoint with another header."""
    (length,) = struct.unpack_from("<Q", state)
    metadata = json.loads(state[8 : 8 + length])
    held = change(json.loads(metadata["__metadata__"][checkpoint.HEADER]))
    metadata["__metadata__"][checkpoint.HEADER] = json.dumps(held)
    text = json.dumps(metadata).encode()
    return struct.pack("<Q", len(text)) + text + state[8 + length :]


def test_a_device_is_told_by_its_type_and_a_gpu_by_its_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert [described(torch.device(name)) for name in ("cpu", "mps", "cuda:1")] == ["cpu", "mps", "cuda: GPU 1"]


@pytest.fixture(scope="module")
def first():
    """The state after the first of three epochs."""
    states = []
    train(SMALL, mixed(SMALL), num_classes=8, on_checkpoint=states.append)
    return states[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["cpu"], ["cpu"]),
        (["cuda: NVIDIA H200"], ["cpu", "cuda: NVIDIA H200"]),
        (None, ["cpu", "not recorded"]),
    ],
)
def test_all_devices_of_a_resumed_training_are_told(first, before, after):
    assert header(first)["devices"] == ["cpu"]

    def earlier(held):
        return {key: value for key, value in held.items() if key != "devices"} | ({"devices": before} if before else {})

    states = []
    train(SMALL, mixed(SMALL), num_classes=8, resume=rewritten(first, earlier), on_checkpoint=states.append)
    assert header(states[-1])["devices"] == after
