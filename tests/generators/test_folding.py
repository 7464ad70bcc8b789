"""A folded network is the same function of its inputs, without batch norms."""

import torch
from torch import nn

from generators.dptn import DPTN, DPTNConfig
from generators.patn import PATN, PATNConfig


def lived_in(network: nn.Module) -> nn.Module:
    """Running statistics and scales as after a training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return network.eval()


@torch.no_grad()
def test_a_folded_patn_draws_the_same():
    torch.manual_seed(0)
    network = lived_in(PATN(PATNConfig(width=8, blocks=2)))
    folded = network.for_inference()
    inputs = torch.rand(2, 3, 32, 16) * 2 - 1, *torch.rand(2, 2, 18, 32, 16)
    torch.testing.assert_close(folded(*inputs), network(*inputs), atol=1e-5, rtol=0)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules()), "the original stays as it was"


def test_nothing_to_fold():
    assert not [
        m
        for m in PATN(PATNConfig(width=8, blocks=1, norm="instance")).for_inference().modules()
        if isinstance(m, nn.Identity)
    ]
    network = DPTN(DPTNConfig(width=8, max_width=16))
    assert network.for_inference() is network
