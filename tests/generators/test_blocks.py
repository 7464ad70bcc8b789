"""Blocks against torch's own layers and against finite differences."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from generators import blocks


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_equals_torch_multihead_attention(heads):
    ours, theirs = blocks.Attention(8, heads), nn.MultiheadAttention(8, heads, batch_first=True)
    state = theirs.state_dict()
    ours.load_state_dict(
        {
            "in_weight": state["in_proj_weight"],
            "in_bias": nn.init.normal_(theirs.in_proj_bias.data),
            "out.weight": state["out_proj.weight"],
            "out.bias": nn.init.normal_(theirs.out_proj.bias.data),
        }
    )
    query, key, value = torch.randn(3, 5, 8), torch.randn(3, 7, 8), torch.randn(3, 7, 8)
    torch.testing.assert_close(ours(query, key, value), theirs(query, key, value, need_weights=False)[0])


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_its_weights_times_the_values(heads):
    attention = blocks.Attention(8, heads)
    nn.init.normal_(attention.in_bias)
    query, key, value = torch.randn(3, 5, 8), torch.randn(3, 7, 8), torch.randn(3, 7, 8)
    weights = attention.weights(query, key)
    assert weights.shape == (3, heads, 5, 7)
    torch.testing.assert_close(weights.sum(3), torch.ones(3, heads, 5))
    projected = F.linear(value, attention.in_weight[-8:], attention.in_bias[-8:])
    received = torch.cat([w @ v for w, v in zip(weights.unbind(1), projected.chunk(heads, 2), strict=True)], 2)
    torch.testing.assert_close(attention.out(received), attention(query, key, value))


def test_attention_uses_the_fused_kernel(monkeypatch):
    calls = []

    def spy(*args):
        calls.append(args)
        return original(*args)

    original = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    x = torch.randn(1, 4, 8)
    blocks.Attention(8, 2)(x, x, x)
    assert len(calls) == 1


def test_tokens_are_positions_in_row_major_order():
    maps = torch.randn(2, 3, 4, 5)
    tokens = blocks.to_tokens(maps)
    assert torch.equal(tokens[1, 2 * 5 + 3], maps[1, :, 2, 3])
    assert torch.equal(blocks.to_maps(tokens, 4, 5), maps)


def test_token_norm_standardises_each_channel_over_the_tokens():
    x = 3 + 2 * torch.randn(2, 500, 4)
    y = blocks.TokenNorm(4)(x)
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(1, correction=0), torch.ones(2, 4), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("block", "height"),
    [
        (blocks.DownBlock(2, 3, first=True), 2),
        (blocks.DownBlock(2, 3, first=False), 2),
        (blocks.ResidualBlock(2), 4),
        (blocks.UpBlock(2, 3), 8),
        (blocks.OutputBlock(2, 3), 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_sizes_and_gradients_of_convolution_blocks(block, height):
    block = block.double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.double, requires_grad=True)
    assert block(x).shape[2:] == (height, height)
    assert torch.autograd.gradcheck(block, x)


@torch.no_grad()
def test_correspondence_reproduces_the_transfer():
    """One head: the mean over the heads is the head, so that values times it are what the block adds."""
    block = blocks.TransferBlock(8, 1).eval()
    x, memory, texture = torch.randn(2, 6, 8), torch.randn(2, 9, 8), torch.randn(2, 9, 8)
    attention = block.cross_attention
    received = block.correspondence(x, memory) @ F.linear(texture, attention.in_weight[-8:], attention.in_bias[-8:])
    y = block.norm1(x + block.self_attention(x, x, x))
    y = block.norm2(y + attention.out(received))
    torch.testing.assert_close(block(x, memory, texture), block.norm3(y + block.feed_forward(y)))


def test_source_attention_ignores_the_order_of_the_tokens():
    block = blocks.TransferBlock(8, 2).eval()
    x, memory, texture = torch.randn(1, 6, 8), torch.randn(1, 9, 8), torch.randn(1, 9, 8)
    order = torch.randperm(9)
    torch.testing.assert_close(block(x, memory, texture), block(x, memory[:, order], texture[:, order]))
    assert not torch.allclose(block(x, memory, texture), block(x, memory[:, order], texture))
