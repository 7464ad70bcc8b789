"""The table of systems: sizes as published, presets, overrides, and the one line that a new system takes."""

import dataclasses

import pytest
import torch
from torch import nn

from generators.dptn import DPTNConfig
from generators.generator import Generator
from generators.registry import PRESETS, SYSTEMS, System, create_generator, create_recipe, fitted

TRAINED = [name for name, system in SYSTEMS.items() if system.objective is not None]
MARKET = {"pg2": 76_853_958, "patn": 41_365_763, "dptn": 9_794_371, "dptn-ta": 9_794_371, "copy": 0, "warp": 0}


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("model", SYSTEMS)
def test_published_sizes(model):
    with torch.device("meta"):
        assert numbers(create_generator(model, "market")) == MARKET[model]
        assert numbers(create_generator(model, "tiny")) <= 3_000_000


def test_deepfashions_patn_has_instance_norm():
    with torch.device("meta"):
        assert numbers(create_generator("patn", "deepfashion")) == 41_358_019


@pytest.mark.parametrize("model", SYSTEMS)
def test_every_system_has_every_preset(model):
    system = SYSTEMS[model]
    assert tuple(system.presets) == PRESETS
    assert tuple(system.ways) == (PRESETS if system.objective else ())


@pytest.mark.parametrize("model", SYSTEMS)
@pytest.mark.parametrize(("preset", "size"), [("market", (128, 64)), ("deepfashion", (256, 176)), ("tiny", (128, 64))])
def test_presets_take_their_data_sets_images(model, preset, size):
    with torch.device("meta"):
        network = create_generator(model, preset)
        if isinstance(network, nn.Module) and numbers(network):
            made = network(torch.empty(2, 3, *size), *torch.empty(2, 2, 18, *size))
            assert made.shape == (2, 3, *size)
    assert size[0] % network.stride == size[1] % network.stride == 0


def test_overrides_replace_fields_of_the_preset():
    network = create_generator("dptn", "tiny", pose_channels=7, residual_blocks=1)
    assert network.config == DPTNConfig(width=24, max_width=96, pose_channels=7, residual_blocks=1)
    assert network(torch.zeros(1, 3, 16, 16), *torch.zeros(2, 1, 7, 16, 16)).shape == (1, 3, 16, 16)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown model 'dtpn': expected one of pg2, patn, dptn"):
        create_generator("dtpn")
    with pytest.raises(ValueError, match="unknown dptn preset 'large': expected one of market, deepfashion, tiny"):
        create_generator("dptn", "large")
    with pytest.raises(ValueError, match=r"unknown dptn setting 'ngf': expected one of .*width, max_width"):
        create_generator("dptn", ngf=8)
    with pytest.raises(ValueError, match="dptn setting width='8': expected int"):
        create_generator("dptn", width="8")
    with pytest.raises(ValueError, match=r"unknown dptn loss option 'lambda': expected one of .*affinity"):
        create_recipe("dptn", weights={"lambda": 1.0})
    with pytest.raises(ValueError, match=r"unknown training option 'speed': expected one of images, batch"):
        create_recipe("dptn", training={"speed": 1})
    with pytest.raises(ValueError, match=r"dptn loss option style=-1\.0: expected at least 0"):
        create_recipe("dptn", weights={"style": -1.0})
    with pytest.raises(ValueError, match="pose_channels=20, but this data has 18"):
        fitted(create_recipe("dptn", network={"pose_channels": 20}), (128, 64), 18)
    with pytest.raises(ValueError, match="image_channels=1, but this data has 3"):
        fitted(create_recipe("dptn", network={"image_channels": 1}), (128, 64), 18)
    with pytest.raises(ValueError, match="'warp' needs no training"):
        create_recipe("warp")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "fp8"}, "fp32 or bf16"),
        ({"images": 0}, "at least 1"),
        ({"schedule": "linear", "decay": 2.0}, "from 0 to 1"),
        ({"schedule": "linear"}, "linear needs one above 0"),
        ({"decay": 0.5}, "goes with the schedule linear"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: expected a finite number"),
        ({"schedule": "cosine"}, "expected one of constant, linear, patn, dptn"),
        ({"features": "none"}, "imagenet or random"),
    ],
)
def test_bad_training_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        create_recipe("dptn", training=options)


def test_market_presets_are_the_published_command_lines():
    ours = {model: create_recipe(model) for model in TRAINED}
    dptn, texture, patn, pg2 = (ours[model] for model in ("dptn", "dptn-ta", "patn", "pg2"))
    assert (dptn.training.images, dptn.training.batch) == (25_350 * 32, 32)
    assert (dptn.training.learning_rate, dptn.training.discriminator_learning_rate) == (2e-4, 2e-5)
    losses = dptn.weights
    assert (losses.reconstruction, losses.content, losses.style, losses.adversarial) == (2, 0.5, 500, 5)
    assert (losses.target_share, losses.affinity, losses.discriminator) == (0.8, 0, "patch")
    assert (texture.weights.affinity, texture.weights.discriminator) == (100, "residual")
    assert dataclasses.replace(texture.weights, affinity=0.0, discriminator="patch") == losses
    assert texture.network == dptn.network
    assert (patn.training.images, patn.training.batch, patn.training.schedule) == (700 * 4_000, 32, "patn")
    assert (pg2.training.images, pg2.training.batch) == ((22_000 + 2 * 38_000) * 16, 16)
    assert (pg2.training.learning_rate, pg2.training.schedule) == (2e-5, "constant")
    assert {recipe.training.momentum for recipe in ours.values()} == {0.5}
    assert {recipe.training.initialisation for recipe in ours.values()} == {"published"}


def test_without_perceptual_no_vgg_is_read():
    assert create_recipe("dptn").vgg_layers
    assert create_recipe("patn").vgg_layers
    for model in TRAINED:
        assert create_recipe(model, perceptual=False).vgg_layers == ()
    assert create_recipe("dptn", weights={"content": 0.0}).vgg_layers == ("relu2_2", "relu3_4", "relu4_4", "relu5_2")


def test_a_recipe_is_fitted_to_the_images():
    assert fitted(create_recipe("pg2"), (64, 32), 18).network.height == 64
    assert fitted(create_recipe("dptn"), (64, 32), 18) == create_recipe("dptn")
    with pytest.raises(ValueError, match="images of 100x64 pixels: dptn needs sides that 8 divides"):
        fitted(create_recipe("dptn"), (100, 64), 18)


def test_a_new_system_is_one_line(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Config:
        grey: float = 0.5

    class Flat(Generator):
        stride = 1  # pyright: ignore[reportAssignmentType]

        def __init__(self, config: Config) -> None:
            super().__init__()
            self.config = config

        def forward(self, source, source_map, target_map):
            return torch.full_like(source, self.config.grey)

    monkeypatch.setitem(SYSTEMS, "flat", System(Flat, {"market": Config()}))
    network = create_generator("flat", grey=0.25)
    assert network(torch.zeros(1, 3, 8, 8), *torch.zeros(2, 1, 18, 8, 8)).unique().tolist() == [0.25]
