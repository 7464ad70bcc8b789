"""The network that is evaluated: what our checkpoints know, what torchreid's weights must be told, bad files."""

import hashlib
import json
from argparse import Namespace
from dataclasses import asdict

import pytest
import safetensors.torch
import torch

from augment import evaluated_network, files
from augment.evaluated_network import load
from reid import checkpoint, torchreid_api
from reid.configuration import ReidConfig
from reid.networks import build_network

CONFIG = ReidConfig(model="osnet_x0_25", height=32, width=16, epochs=40)
HEADER = {"config": asdict(CONFIG), "num_classes": 3, "data_digest": "images", "epoch": 1}
RUN = {"stage": "train-reid", "config": {"metric": "cosine", "data_digest": "d" * 64}}


@pytest.fixture(scope="module")
def tensors():
    """The weights of an untrained network."""
    torch.manual_seed(0)
    return build_network(CONFIG, 3).state_dict()


def save(path, tensors, **header):
    own = {f"model.{name}": tensor for name, tensor in tensors.items()}
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(safetensors.torch.save(own, {checkpoint.HEADER: json.dumps(HEADER | header)}))
    return path


@pytest.fixture
def run_folder(tensors, tmp_path):
    """A run that ranks by cosine distance, killed after its first epoch."""
    save(tmp_path / "run" / "checkpoint.safetensors", tensors)
    files.write_json(tmp_path / "run" / "config.json", RUN)
    return tmp_path / "run"


@pytest.fixture(scope="module")
def foreign(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("torchreid") / "model.pth"
    torch.save({"state_dict": tensors, "epoch": 1}, path)
    return path


def test_a_run_says_what_it_is_of(run_folder):
    path = run_folder / "checkpoint.safetensors"
    for given in (run_folder, path):
        found = load(given)
        assert found.metric == "cosine"
        assert found.unfinished
        assert found.facts == {
            "checkpoint_sha256": files.sha256(path),
            "model": "osnet_x0_25",
            "height": 32,
            "width": 16,
            "epoch": 1,
            "epochs": 40,
            "data_digest": "d" * 64,
        }
    save(path, found.network.state_dict(), epoch=40)
    assert not load(run_folder).unfinished


def test_a_bare_checkpoint_names_no_metric(run_folder, tensors, tmp_path):
    other = load(save(run_folder / "other.safetensors", tensors))
    assert other.metric is other.data_digest is None, "the configuration is of another file"
    files.write_json(run_folder / "config.json", RUN | {"stage": "score-reid"})
    assert load(run_folder).metric is None
    (run_folder / "config.json").unlink()
    assert load(run_folder).metric is None


def test_a_configuration_that_cannot_be_understood(run_folder):
    files.write_json(run_folder / "config.json", {"stage": "train-reid", "config": {"metric": "manhattan"}})
    with pytest.raises(
        ValueError, match=r"config\.json: metric 'manhattan': must be euclidean or cosine; restore the file"
    ):
        load(run_folder)
    (run_folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: not a JSON file"):
        load(run_folder)


def test_the_digest_is_that_of_the_weights_in_use(run_folder, tensors, monkeypatch):
    """The training goes on, and replaces the file while it is read."""
    path = run_folder / "checkpoint.safetensors"
    first = hashlib.sha256(path.read_bytes()).hexdigest()
    load_model = evaluated_network.load_model

    def replaced_meanwhile(data):
        found = load_model(data)
        save(path, tensors, epoch=2)
        return found

    monkeypatch.setattr(evaluated_network, "load_model", replaced_meanwhile)
    found = load(run_folder)
    assert (found.sha256, found.epoch) == (first, 1)
    assert files.sha256(path) != first


def test_weights_that_change_while_they_are_read_are_refused(tensors, tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    torch.save(tensors, path)
    load_weights = torchreid_api.load_weights

    def replaced_meanwhile(network, path):
        load_weights(network, path)
        torch.save({"state_dict": tensors}, path)

    assert load(path, model="osnet_x0_25").sha256 == files.sha256(path)
    monkeypatch.setattr(torchreid_api, "load_weights", replaced_meanwhile)
    with pytest.raises(ValueError, match=r"--checkpoint .*model\.pth: was written to while it was read"):
        load(path, model="osnet_x0_25")


def test_torchreids_weights_say_little(foreign):
    found = load(foreign, model="osnet_x0_25")
    assert (found.model, found.height, found.width) == ("osnet_x0_25", 256, 128)
    assert found.metric is found.epoch is found.epochs is found.data_digest is None
    assert not found.unfinished
    assert load(foreign, model="osnet_x0_25", height=64, width=32).height == 64


@pytest.mark.filterwarnings("ignore:`nn.functional.upsample` is deprecated")
@pytest.mark.filterwarnings("ignore:Default grid_sample and affine_grid behavior")
def test_a_model_of_one_size_has_it_by_default(foreign, tmp_path):
    path = tmp_path / "hacnn.pth"
    torch.manual_seed(0)
    torch.save(torchreid_api.build_model("hacnn", 2).state_dict(), path)
    found = load(path, model="hacnn")
    assert (found.height, found.width) == (160, 64)
    with torch.inference_mode():
        assert found.network(torch.zeros(1, 3, 160, 64)).shape == (1, 1024)
    for size in ({"height": 256, "width": 128}, {"width": 128}):
        with pytest.raises(ValueError, match=r"--size \d+x128: .*: hacnn takes images of 160x64 only; leave --size"):
            load(path, model="hacnn", **size)
    with pytest.raises(ValueError, match=r"--model osnet: .* did you mean osnet"):
        load(foreign, model="osnet")


BAD = {
    "empty": lambda whole: b"",
    "short": lambda whole: whole[: len(whole) // 2],
    "beginning": lambda whole: whole[:10],
    "text": lambda whole: b"no weights",
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_no_weights_are_named_in_one_sentence(foreign, tmp_path, kind):
    path = tmp_path / f"{kind}.pth"
    path.write_bytes(BAD[kind](foreign.read_bytes()))
    with pytest.raises(ValueError, match="weights") as caught:
        load(path, model="osnet_x0_25")
    reason = "cannot be read as weights: empty, cut off, damaged or no file of torch's; copy it again"
    assert str(caught.value) == f"--checkpoint {path}: {reason}"


def test_other_bad_weights(foreign, tensors, tmp_path):
    path = tmp_path / "objects.pth"
    torch.save({"state_dict": tensors, "args": Namespace(lr=1)}, path)
    with pytest.raises(ValueError, match=r"--checkpoint .*objects\.pth: holds Python objects beside weights"):
        load(path, model="osnet_x0_25")
    with pytest.raises(ValueError, match=r"--checkpoint .*model\.pth: holds \d+ of the \d+ tensors"):
        load(foreign, model="osnet_x1_0")
    name = "conv1.conv.weight"
    broken = tensors | {name: torch.full_like(tensors[name], torch.nan)}
    with pytest.raises(ValueError, match=rf"--checkpoint .*nan\.safetensors: the tensor {name} holds values that are"):
        load(save(tmp_path / "nan.safetensors", broken))
