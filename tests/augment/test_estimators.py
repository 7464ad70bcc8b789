"""Estimators by name: with weights that are given, or found, or named with the place where they belong."""

import pytest
import torch

from augment import estimators, rtmpose
from augment.backbones import MissingWeights
from augment.estimators import ESTIMATORS, make_estimator
from tests.rtmpose_network import write_network


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def test_weights_are_given_or_found(caches, tmp_path):
    given = write_network(tmp_path / "given.onnx", (128, 96))
    write_network(caches / rtmpose.USUAL)
    assert make_estimator("rtmpose", given).provenance["input_size"] == [128, 96]
    assert make_estimator("rtmpose", device="cpu").provenance["input_size"] == [256, 192]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_missing_weights_are_named_with_their_place(name, caches):
    with pytest.raises(MissingWeights, match="weights missing, put ") as caught:
        make_estimator(name)
    place = str(caught.value).rpartition(" at ")[2]
    assert place.startswith(f"{caches}/")
    caches.joinpath(place).touch()
    assert str(estimators.require_weights(name)) == place, "what the message says is what is looked for"


def test_the_device_is_handed_on(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(estimators, "RTMPose", lambda weights, device: made.append(device))
    monkeypatch.setattr(estimators, "KeypointRCNN", lambda weights, device: made.append(device))
    monkeypatch.setattr(rtmpose, "best_device", lambda: torch.device("cuda", 7))
    for name, device in (("rtmpose", "auto"), ("rtmpose", "cpu"), ("keypointrcnn", torch.device("cpu"))):
        make_estimator(name, tmp_path, device)
    assert made == [torch.device("cuda", 7), torch.device("cpu"), torch.device("cpu")]


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="--estimator openpose: expected one of rtmpose, keypointrcnn"):
        make_estimator("openpose")


def test_a_gpu_that_is_not_used_is_told_of(tmp_path, monkeypatch):
    estimator = make_estimator("rtmpose", write_network(tmp_path / "n.onnx"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert estimators.unused_gpu(estimator) is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "install onnxruntime-gpu" in estimators.unused_gpu(estimator)
