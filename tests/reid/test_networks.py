"""Networks by configuration: neck, weights to start from, every model of torchreid."""

import dataclasses

import pytest
import torch

from reid import torchreid_api
from reid.configuration import ReidConfig
from reid.losses import seen, training_loss
from reid.networks import build_network, require_possible, require_size
from reid.recipes import RECIPES, resolved
from reid.torchreid_api import torchreid

NECK = ReidConfig(model="resnet18", neck="bnneck", height=64, width=32)
IMAGES = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def test_the_neck_is_between_the_features():
    network = build_network(dataclasses.replace(NECK, loss="triplet", instances=2), 5).train()
    logits, features = network(IMAGES)
    torch.testing.assert_close(features, network.backbone(IMAGES)[1])
    normal = (features - features.mean(0)) / (features.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(logits, normal @ network.classifier[1].weight.T, rtol=1e-3, atol=1e-5)
    network.eval()
    torch.testing.assert_close(network(IMAGES), network.classifier[0](network.backbone(IMAGES)))
    names = {name for name, _ in network.named_parameters()}
    assert {"classifier.0.weight", "classifier.1.weight"} <= names
    assert not {"classifier.0.bias", "classifier.1.bias"} & names
    assert build_network(NECK, 5).train()(IMAGES).shape == (4, 5)


def test_a_neck_needs_one_classifier():
    for model in ("pcb_p4", "hacnn"):
        size = torchreid_api.FIXED_SIZES.get(model, (64, 32))
        with pytest.raises(ValueError, match="neck bnneck: this model has no single classifier"):
            build_network(dataclasses.replace(NECK, model=model, height=size[0], width=size[1]), 5)


def test_weights_go_under_the_neck_and_come_back(tmp_path):
    plain = build_network(ReidConfig(model="resnet18"), 7)
    torch.save(plain.state_dict(), tmp_path / "weights.pth")
    network = build_network(NECK, 5, tmp_path / "weights.pth")
    for key, value in network.backbone.state_dict().items():
        assert torch.equal(value, plain.state_dict()[key])
    torch.save(network.state_dict(), tmp_path / "necked.pth")
    again = build_network(ReidConfig(model="resnet18"), 3, tmp_path / "necked.pth")
    assert torch.equal(again.conv1.weight, plain.conv1.weight)


def test_models_of_one_size_say_so():
    with pytest.raises(ValueError, match="height 256, width 128: hacnn takes images of 160x64 only"):
        ReidConfig(model="hacnn")


@pytest.mark.parametrize("name", ["osnet_x0_25", "resnet18", "shufflenet", "squeezenet1_1"])
def test_common_models_learn_by_both_losses(name):
    learns_by_both_losses(name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*upsample.* is deprecated", "ignore:Default grid_sample")
@pytest.mark.parametrize("name", torchreid_api.model_names())
def test_every_model_learns_by_both_losses(name):
    learns_by_both_losses(name)


def learns_by_both_losses(name):
    height, width = torchreid_api.FIXED_SIZES.get(name, (256, 128))
    config = ReidConfig(model=name, loss="triplet", instances=2, height=height, width=width)
    network = build_network(config, 3).train()
    images = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(0))
    labels, synthetic = torch.tensor([0, 0, 2, 2]), torch.tensor([False, True, False, True])
    loss = training_loss(config, seen(*network(images)), labels, synthetic)
    loss.backward()
    assert torch.isfinite(loss)
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_recipes_are_torchreids():
    """Where torchreid's table has a step of 60, its scheduler lets the rate fall at 60 and at 120."""
    for name, step in (("osnet_x1_0", 60), ("osnet_x0_25", 80), ("resnet50", 20), ("resnet50_fc512", 20)):
        recipe = RECIPES[name].training
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.learning_rate)
        scheduler = torchreid().optim.build_lr_scheduler(optimiser, "single_step", step)
        falls = []
        for epoch in range(recipe.epochs):
            rate = optimiser.param_groups[0]["lr"]
            optimiser.step()
            scheduler.step()
            if optimiser.param_groups[0]["lr"] < rate:
                falls.append(epoch + 1)
        assert recipe.steps == tuple(fall for fall in falls if fall < recipe.epochs)


def test_what_is_given_wins():
    assert resolved(None, {}) == ReidConfig()
    assert resolved("bot", {"epochs": 3}) == dataclasses.replace(RECIPES["bot"].training, epochs=3)
    assert resolved("resnet50", {}).classifier_epochs == 5
    random = resolved("resnet50", {"init": "random"})
    assert (random.init, random.classifier_epochs) == ("random", 0)
    assert resolved("resnet50", {"init": "random", "classifier_epochs": 2}).classifier_epochs == 2
    with pytest.raises(ValueError, match=r"recipe 'bag': must be one of osnet_x1_0, .*bot"):
        resolved("bag", {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnet51"}, "did you mean resnet50"),
        ({"model": "pcb_p4"}, "no single classifier"),
        ({"model": "osnet_x0_25", "last_stride": 1}, "only residual networks"),
        ({"classifier_epochs": 1, "new_layers": ("fc",)}, "classifier_epochs: the model has no layer fc"),
        ({"base_rate": 0.1, "new_layers": ("head",)}, "base_rate: the model has no layer head"),
    ],
)
def test_impossible_networks_are_refused_early(options, message):
    with pytest.raises(ValueError, match=message):
        require_possible(dataclasses.replace(NECK, **options))


def test_every_model_can_be_checked():
    for name in torchreid_api.model_names():
        height, width = torchreid_api.FIXED_SIZES.get(name, (256, 128))
        require_possible(ReidConfig(model=name, height=height, width=width))


@pytest.mark.parametrize(
    ("model", "size", "taken"),
    [
        ("osnet_x0_25", (1, 1), "32x16"),
        ("osnet_x0_25", (200, 8), "200x16"),
        ("osnet_x0_25", (8, 200), "16x200"),
        ("resnet50_ibn_b", (8, 4), "16x8"),
        ("squeezenet1_1", (32, 16), "64x32"),
        ("nasnsetmobile", (299, 299), "256x128"),  # it cannot join its maps of odd sizes
    ],
)
def test_a_size_that_a_network_cannot_take(model, size, taken):
    height, width = size
    said = f"size {height}x{width}: {model} cannot take images of this size; {taken} would do"
    with pytest.raises(ValueError, match=f"^{said}$"):
        require_size(model, height, width)
    require_size(model, *map(int, taken.split("x")))


@pytest.mark.parametrize(("model", "size"), [("osnet_x0_25", (32, 16)), ("squeezenet1_1", (32, 16))])
def test_the_network_itself_agrees(model, size):
    images = torch.zeros(2, 3, *size)
    network = torchreid_api.build_model(model, 2).train()
    if model == "osnet_x0_25":
        require_size(model, *size)
        assert network(images).shape == (2, 2)
    else:
        with pytest.raises(RuntimeError, match="too small"):
            network(images)


@pytest.mark.parametrize(("model", "size"), [("resnet18", (1, 1)), ("hacnn", (1, 1)), ("no_such_model", (1, 1))])
def test_other_sizes_are_no_matter_of_this(model, size):
    """A residual network takes any; the others are refused where a configuration or a network is made."""
    require_size(model, *size)
