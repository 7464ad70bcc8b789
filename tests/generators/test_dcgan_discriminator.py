"""PG2's discriminator against values of an independent restatement, and what a batch means to it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators.dcgan_discriminator import DCGANDiscriminator, DCGANDiscriminatorConfig

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = {"conv": "convs", "bn": "norms", "fc": "head"}


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "pg2_networks_restated.safetensors")


def build(golden: dict[str, torch.Tensor], padding: str) -> DCGANDiscriminator:
    network = DCGANDiscriminator(DCGANDiscriminatorConfig(channels=8, max_channels=64, padding=padding))
    state = {}
    for key, tensor in golden.items():
        if key.startswith("state.D."):
            part, _, rest = key.removeprefix("state.D.").partition(".")
            state[f"{NAMES[part]}.{rest}"] = tensor
    network.load_state_dict(state)
    return network


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("padding", "reading"), [("tensorflow", "tf"), ("symmetric", "sym")])
@torch.no_grad()
def test_logits_of_four_images_as_one_batch(golden, padding, reading, training):
    network = build(golden, padding).train(training)
    shown = [golden[f"input.{name}_image"] for name in ("target", "source")]
    shown += [golden[f"output.{reading}.{name}"] for name in ("g1", "final")]
    logits = network(torch.cat(shown))
    expected = golden[f"output.{reading}.D_logits_target_source_g1_final"]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_an_image_is_judged_by_its_company(golden):
    network = build(golden, "tensorflow").eval()
    target, source = golden["input.target_image"], golden["input.source_image"]
    assert (network(target) - network(torch.cat([target, source]))[:2]).abs().max() > 0.01


def test_published_parameter_count():
    def conv(inputs, outputs):
        return inputs * outputs * 25 + outputs

    levels = [conv(3, 64), conv(64, 128), conv(128, 256), conv(256, 512)]
    expected = sum(levels) + 2 * (128 + 256 + 512) + 512 * 8 * 4 + 1
    network = DCGANDiscriminator(DCGANDiscriminatorConfig())
    assert sum(parameter.numel() for parameter in network.parameters()) == expected == 4_324_737


@pytest.mark.parametrize("padding", ["tensorflow", "symmetric"])
@torch.no_grad()
def test_pairs_and_sides_that_do_not_halve(padding):
    config = DCGANDiscriminatorConfig(6, 32, 22, channels=4, max_channels=8, levels=3, padding=padding)
    assert config.widths == [4, 8, 8]
    network = DCGANDiscriminator(config)
    assert network.head.in_features == 8 * 4 * 3  # 22, 11, 6, 3 columns
    assert network(torch.randn(5, 6, 32, 22)).shape == (5,)


def test_impossible_configurations_are_refused():
    for options, words in (
        ({"levels": 0}, "levels=0: expected at least 1"),
        ({"max_channels": 32}, "max_channels=32 is below channels=64"),
        ({"padding": "same"}, "padding='same': expected one of tensorflow, symmetric"),
    ):
        with pytest.raises(ValueError, match=words):
            DCGANDiscriminatorConfig(**options)
