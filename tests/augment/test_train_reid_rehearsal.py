"""What a rehearsal refuses because the training would, and what it says of the weights to start from."""

from dataclasses import replace

import pytest
import torch

from augment.train_reid import TrainReidConfig, prepare, run
from reid import torchreid_api
from reid.mixing import MixPolicy
from reid.training import ReidConfig

SMALL = TrainReidConfig(ReidConfig(height=32, width=16, epochs=1, batch=8), MixPolicy(0.0))


@pytest.fixture
def state():
    return torchreid_api.build_model("osnet_x0_25", 9).state_dict()


def starting(path, state):
    torch.save(state, path)
    return replace(SMALL, training=replace(SMALL.training, init=str(path)))


def test_a_quota_of_synthetic_images_that_are_not_there(pedestrians):
    with pytest.raises(ValueError, match="quota"):
        prepare(replace(SMALL, training=replace(SMALL.training, quota=0.5)), pedestrians)


def test_weights_that_are_not_finite(pedestrians, tmp_path, state):
    state["conv1.conv.weight"][0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"nan\.pth: conv1\.conv\.weight holds values that are not finite"):
        prepare(starting(tmp_path / "nan.pth", state), pedestrians)


def test_weights_of_another_network(pedestrians, tmp_path):
    other = torchreid_api.build_model("resnet18", 9).state_dict()
    with pytest.raises(ValueError, match=r"other\.pth: holds 0 of the"):
        prepare(starting(tmp_path / "other.pth", other), pedestrians)


def test_what_the_network_takes_is_said(pedestrians, tmp_path, state):
    """Of weights with a layer that the network lacks."""
    head = {f"head.{name}": torch.zeros(2) for name in ("weight", "bias")}
    config = starting(tmp_path / "head.pth", state | head)
    taken = len(state) - 2
    note = (
        f"init {tmp_path / 'head.pth'}: {taken} tensors taken; left out: classifier.bias, classifier.weight, "
        "head.bias, head.weight; at random: classifier.bias, classifier.weight"
    )
    assert note in prepare(config, pedestrians).notes
    log = []
    run(config, pedestrians, tmp_path / "run", device="cpu", log=log.append)
    assert log.count(note) == 1


def test_random_weights_need_no_words(pedestrians):
    job = prepare(SMALL, pedestrians)
    assert job.notes == job.dataset.notes
