"""The residual discriminators against values of the authors' code, their published sizes, and their numbers' range."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators.published.patn import convert_discriminator
from generators.residual_discriminator import ResidualDiscriminator, ResidualDiscriminatorConfig

GOLDEN = Path(__file__).parents[1] / "golden"
AFFINITY = ResidualDiscriminatorConfig(3, width=32, norm="instance", dropout=0.0, sigmoid=False)
CASES = {
    "patn_discriminator_PB": ResidualDiscriminatorConfig(21, width=8),
    "patn_discriminator_PP": ResidualDiscriminatorConfig(6, width=8),
    "dptn_ta_discriminator": ResidualDiscriminatorConfig(3, width=6, norm="instance", dropout=0.0, sigmoid=False),
}


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_judgements_equal_those_of_the_authors(name):
    golden = load_file(GOLDEN / f"{name}.safetensors")
    state = {key.removeprefix("state."): tensor for key, tensor in golden.items() if key.startswith("state.")}
    network = ResidualDiscriminator(CASES[name]).eval()
    network.load_state_dict(convert_discriminator(state, CASES[name]))
    given = golden["input.image" if "ta" in name else "input.x"]
    expected = golden["output" if "ta" in name else "output.y"]
    torch.testing.assert_close(network(given), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ResidualDiscriminatorConfig(21), 3_977_408),
        (ResidualDiscriminatorConfig(6), 3_930_368),
        (AFFINITY, 982_592),
    ],
)
def test_published_parameter_counts(config, expected):
    with torch.device("meta"):
        network = ResidualDiscriminator(config)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@torch.no_grad()
def test_probabilities_in_float32_whatever_the_precision():
    torch.manual_seed(0)
    network = ResidualDiscriminator(ResidualDiscriminatorConfig(7, width=4, blocks=1))
    with torch.autocast("cpu", torch.bfloat16):
        judged = network(torch.rand(2, 7, 32, 16))
    assert judged.shape == (2, 16, 8, 4)
    assert judged.dtype == torch.float32
    assert 0 < judged.min() < judged.max() < 1
    # the steps of bf16 below 1 are 2^-8 wide: some of these probabilities lie between them
    assert not torch.equal(judged, judged.bfloat16().float())


@torch.no_grad()
def test_without_sigmoid_the_features_themselves():
    torch.manual_seed(0)
    plain = ResidualDiscriminator(ResidualDiscriminatorConfig(3, width=4, blocks=1, sigmoid=False)).eval()
    probable = ResidualDiscriminator(ResidualDiscriminatorConfig(3, width=4, blocks=1)).eval()
    probable.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(plain(images).sigmoid(), probable(images))


@torch.no_grad()
def test_dropout_only_in_training():
    torch.manual_seed(0)
    network = ResidualDiscriminator(ResidualDiscriminatorConfig(3, width=4, norm="instance")).eval()
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(network(images), network(images))
    network.train()
    assert not torch.equal(network(images), network(images))


def test_impossible_configurations_are_refused():
    with pytest.raises(ValueError, match="input_channels=0: expected at least 1"):
        ResidualDiscriminatorConfig(0)
    with pytest.raises(ValueError, match="norm='none': expected one of batch, instance"):
        ResidualDiscriminatorConfig(norm="none")
