"""The tables of networks, and initialisation from a seed alone."""

import pytest
import torch
from torch import nn

from generators.blocks import Attention
from generators.discriminators import SpectralConv2d
from generators.dptn import DPTNConfig
from generators.registry import (
    DISCRIMINATOR_PRESETS,
    DISCRIMINATORS,
    GENERATORS,
    PRESETS,
    create_discriminator,
    create_generator,
    initialise,
)


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_each_preset_has_its_discriminator():
    assert GENERATORS.keys() == DISCRIMINATORS.keys() == PRESETS.keys() == DISCRIMINATOR_PRESETS.keys()
    assert all(PRESETS[model].keys() == DISCRIMINATOR_PRESETS[model].keys() for model in PRESETS)


def test_presets_have_their_sizes():
    with torch.device("meta"):
        sizes = {
            p: (numbers(create_generator("dptn", p)), numbers(create_discriminator("dptn", p))) for p in PRESETS["dptn"]
        }
    assert sizes == {"market": (9_794_371, 238_209), "tiny": (1_393_851, 59_969)}


def test_overrides_replace_fields_of_the_preset():
    network = create_generator("dptn", "tiny", pose_channels=7, residual_blocks=1)
    assert network.config == DPTNConfig(width=24, max_width=96, pose_channels=7, residual_blocks=1)
    assert network(torch.zeros(1, 3, 16, 16), *torch.zeros(2, 1, 7, 16, 16)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("create", [create_generator, create_discriminator])
def test_unknown_names_are_refused_with_the_known_ones(create):
    with pytest.raises(ValueError, match="unknown model 'dtpn': expected one of dptn"):
        create("dtpn")
    with pytest.raises(ValueError, match="unknown dptn preset 'large': expected one of market, tiny"):
        create("dptn", "large")
    with pytest.raises(ValueError, match=r"unknown dptn setting 'ngf': expected one of .*width, max_width"):
        create("dptn", ngf=8)
    with pytest.raises(ValueError, match="dptn setting width='8': expected int"):
        create("dptn", width="8")


# ---- initialisation


def seeded(seed: int, default: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(default)
    parts = nn.ModuleList([create_generator("dptn", "tiny"), create_discriminator("dptn", "tiny")])
    before = torch.get_rng_state()
    initialise(parts, torch.Generator().manual_seed(seed))
    assert torch.equal(torch.get_rng_state(), before)
    return parts.state_dict()


def test_weights_are_a_function_of_the_seed():
    first, again, other = seeded(1, default=0), seeded(1, default=5), seeded(2, default=0)
    assert all(torch.equal(first[key], again[key]) for key in first)
    drawn = [key for key in first if not torch.equal(first[key], other[key])]
    kept = first.keys() - drawn
    assert all(first[key].unique().numel() == 1 for key in kept if first[key].numel() > 1)  # constants only


def test_distributions_are_those_of_the_authors():
    network = nn.ModuleList([create_generator("dptn", "tiny"), create_discriminator("dptn", "tiny")])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(7)
    initialise(network, torch.Generator().manual_seed(0))
    for name, part in network.named_modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            values = torch.linalg.svdvals(part.weight.detach().flatten(1))
            torch.testing.assert_close(values, torch.full_like(values, 0.02), atol=1e-5, rtol=0, msg=name)
            assert part.bias is not None
            assert part.bias.eq(0).all(), name
        if isinstance(part, nn.InstanceNorm1d | nn.InstanceNorm2d):
            assert part.weight.eq(1).all(), name
            assert part.bias.eq(0).all(), name
        if isinstance(part, Attention):
            bound = (6 / (4 * 96)) ** 0.5
            assert 0.98 * bound < part.in_weight.abs().max() <= bound, name
            assert part.in_bias.eq(0).all(), name
        if isinstance(part, SpectralConv2d):
            torch.testing.assert_close(torch.stack([part.u.norm(), part.v.norm()]), torch.ones(2))
