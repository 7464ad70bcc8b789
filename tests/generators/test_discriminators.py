"""DPTN's discriminator against values of the authors' code, its published size, and spectral norm's promise."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators.discriminators import DPTNDiscriminator, DPTNDiscriminatorConfig, SpectralConv2d
from generators.published.dptn import convert_discriminator

GOLDEN = Path(__file__).parents[1] / "golden"
CONFIG = DPTNDiscriminatorConfig(width=8, max_width=32)


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "dptn_discriminator.safetensors")


def part(golden: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in golden.items() if key.startswith(prefix)}


def build(golden: dict[str, torch.Tensor]) -> DPTNDiscriminator:
    config, weights = convert_discriminator(part(golden, "state."))
    network = DPTNDiscriminator(config)
    network.load_state_dict(weights)
    return network


@torch.no_grad()
def test_logits_equal_those_of_the_authors_in_evaluation(golden):
    network = build(golden).eval()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    logits = network(golden["input.image"])
    torch.testing.assert_close(logits, golden["output.eval"], atol=1e-6, rtol=0)
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


@torch.no_grad()
def test_a_training_forward_refines_the_vectors_once_as_theirs_does(golden):
    network = build(golden).train()
    torch.testing.assert_close(network(golden["input.image"]), golden["output.train"], atol=1e-6, rtol=0)
    _, after = convert_discriminator(part(golden, "state.") | part(golden, "after_one_train_forward."))
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, after[key], atol=1e-6, rtol=0)


def test_published_parameter_counts():
    for layers, expected in ((3, 238_209), (4, 664_577)):
        network = DPTNDiscriminator(DPTNDiscriminatorConfig(layers=layers))
        assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_impossible_configurations_are_refused():
    with pytest.raises(ValueError, match="max_width=16 is below width=32"):
        DPTNDiscriminatorConfig(max_width=16)


@torch.no_grad()
def test_iterations_find_the_largest_singular_value():
    torch.manual_seed(0)
    conv = SpectralConv2d(3, 6, 3).double().train()
    for _ in range(300):
        conv(torch.zeros(1, 3, 3, 3, dtype=torch.double))
    found = torch.dot(conv.u, conv.weight.flatten(1) @ conv.v)
    torch.testing.assert_close(found, torch.linalg.matrix_norm(conv.weight.flatten(1), 2), rtol=1e-6, atol=0)


def test_two_training_forwards_share_one_backward():
    torch.manual_seed(0)
    network = DPTNDiscriminator(CONFIG).train()
    real, fake = torch.rand(2, 1, 3, 16, 16)
    (network(real).mean() - network(fake).mean()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@torch.no_grad()
def test_a_new_network_has_usable_vectors_before_any_training_forward():
    torch.manual_seed(0)
    conv = SpectralConv2d(3, 6, 3).eval()
    largest = torch.linalg.matrix_norm(conv.weight.flatten(1), 2)
    assert 0.5 * largest < torch.dot(conv.u, conv.weight.flatten(1) @ conv.v) <= 1.0001 * largest


@torch.no_grad()
def test_one_logit_per_position_independent_of_the_batch():
    torch.manual_seed(0)
    network = DPTNDiscriminator(CONFIG).eval()
    images = torch.rand(3, 3, 64, 32)
    logits = network(images)
    assert logits.shape == (3, 1, 8, 4)
    torch.testing.assert_close(logits[1:2], network(images[1:2]), atol=1e-6, rtol=0)
