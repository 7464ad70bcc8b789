"""Weights from a seed alone, in the distributions of the authors."""

import pytest
import torch
from torch import nn

from generators.blocks import Attention
from generators.discriminators import DPTNDiscriminator, DPTNDiscriminatorConfig, SpectralConv2d
from generators.initialisation import SCHEMES, initialise
from generators.registry import create_generator


def networks() -> nn.ModuleList:
    patn = create_generator("patn", "tiny", width=8, blocks=1)
    judge = DPTNDiscriminator(DPTNDiscriminatorConfig(width=16, max_width=64))
    return nn.ModuleList([create_generator("dptn", "tiny"), judge, patn])


def seeded(seed: int, default: int, scheme: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(default)
    parts = networks()
    before = torch.get_rng_state()
    initialise(parts, torch.Generator().manual_seed(seed), scheme)
    assert torch.equal(torch.get_rng_state(), before)
    return parts.state_dict()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_are_a_function_of_the_seed(scheme):
    first, again, other = (seeded(seed, default, scheme) for seed, default in ((1, 0), (1, 5), (2, 0)))
    assert all(torch.equal(first[key], again[key]) for key in first)
    drawn = [key for key in first if not torch.equal(first[key], other[key])]
    kept = first.keys() - drawn
    assert all(first[key].unique().numel() == 1 for key in kept if first[key].numel() > 1)  # constants only
    assert len(drawn) > len(first) / 4


@pytest.mark.parametrize(
    ("scheme", "deviation"),
    [
        ("normal", lambda fan_in, fan_out: 0.02),
        ("uniform", lambda fan_in, fan_out: 0.02),
        ("lecun", lambda fan_in, fan_out: fan_in**-0.5),
        ("xavier", lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5),
        ("torch", lambda fan_in, fan_out: (3 * fan_in) ** -0.5),  # uniform up to 1 / sqrt(inputs)
    ],
)
def test_deviations_are_the_schemes(scheme, deviation):
    layer = nn.Conv2d(64, 96, 3)
    initialise(layer, torch.Generator().manual_seed(0), scheme)
    assert layer.weight.std().item() == pytest.approx(deviation(64 * 9, 96 * 9), rel=0.02)
    assert layer.bias is not None
    assert layer.bias.eq(0).all() == (scheme != "torch")


def test_dptns_scheme_is_orthogonal():
    parts = networks()
    with torch.no_grad():
        for parameter in parts.parameters():
            parameter.fill_(7)
    initialise(parts, torch.Generator().manual_seed(0), "orthogonal")
    for name, part in parts.named_modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            values = torch.linalg.svdvals(part.weight.detach().flatten(1))
            torch.testing.assert_close(values, torch.full_like(values, 0.02), atol=1e-5, rtol=0, msg=name)
        if isinstance(part, nn.InstanceNorm1d | nn.InstanceNorm2d | nn.BatchNorm2d) and part.affine:
            assert part.weight.eq(1).all(), name
            assert part.bias.eq(0).all(), name
        if isinstance(part, Attention):
            bound = (6 / (4 * 96)) ** 0.5
            assert 0.98 * bound < part.in_weight.abs().max() <= bound, name
            assert part.in_bias.eq(0).all(), name
        if isinstance(part, SpectralConv2d):
            torch.testing.assert_close(torch.stack([part.u.norm(), part.v.norm()]), torch.ones(2))


def test_patns_norms_start_near_one():
    norm = nn.BatchNorm2d(4_096)
    initialise(norm, torch.Generator().manual_seed(0), "normal")
    assert norm.weight.mean().item() == pytest.approx(1, abs=1e-3)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert norm.bias.eq(0).all()


def test_another_scheme_is_refused():
    with pytest.raises(ValueError, match="initialisation 'he': expected one of orthogonal, normal"):
        initialise(nn.Conv2d(3, 3, 1), torch.Generator(), "he")
