"""PATN's published size, its masks, and the promises of a generator."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from generators.patn import PATN, PRESETS, PATNConfig

SMALL = PATNConfig(width=4, blocks=3, pose_channels=5)


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def small() -> PATN:
    torch.manual_seed(0)
    return PATN(SMALL).eval()


def inputs(batch: int, height: int = 64, width: int = 32, poses: int = 5) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(1)
    source = torch.rand(batch, 3, height, width, generator=rng) * 2 - 1
    source_map, target_map = torch.rand(2, batch, poses, height, width, generator=rng)
    return source, source_map, target_map


# ---- size


@pytest.mark.parametrize(("preset", "expected"), [("market", 41_365_763), ("deepfashion", 41_358_019)])
def test_published_parameter_counts(preset, expected):
    with torch.device("meta"):
        assert numbers(PATN(PRESETS[preset])) == expected


def test_published_work_and_that_of_the_tiny_preset():
    work = {}
    with torch.device("meta"):
        source, maps = torch.empty(1, 3, 128, 64), torch.empty(1, 18, 128, 64)
        for preset in ("market", "tiny"):
            with FlopCounterMode(display=False) as counter:
                PATN(PRESETS[preset]).eval()(source, maps, maps)
            work[preset] = counter.get_total_flops() / 1e9
    assert work["market"] == pytest.approx(45.0, abs=0.1)
    assert 1.5 < work["tiny"] < 2.5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"blocks": 0}, "blocks=0: expected at least 1"),
        ({"norm": "layer"}, "norm='layer': expected one of batch, instance"),
        ({"dropout": 1.0}, r"dropout=1\.0: expected a probability"),
    ],
)
def test_impossible_configurations_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        PATNConfig(**settings)


# ---- behaviour


@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch(small):
    given = inputs(3)
    alone = torch.cat([small(*(tensor[i, None] for tensor in given)) for i in range(3)])
    torch.testing.assert_close(small(*given), alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_every_input_matters_and_none_is_changed(small):
    given = inputs(1)
    kept = [tensor.clone() for tensor in given]
    image = small(*given)
    assert all(map(torch.equal, given, kept))
    for i in range(3):
        other = [tensor.flip(3) if i == j else tensor for j, tensor in enumerate(given)]
        assert not torch.allclose(image, small(*other))


def test_all_weights_learn():
    torch.manual_seed(0)
    network = PATN(SMALL).train()
    network(*inputs(2)).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@torch.no_grad()
def test_dropout_and_running_statistics_only_in_training(small):
    given = inputs(2)
    before = {name: buffer.clone() for name, buffer in small.named_buffers()}
    assert torch.equal(small(*given), small(*given))
    assert all(torch.equal(buffer, before[name]) for name, buffer in small.named_buffers())
    small.train()
    assert not torch.equal(small(*given), small(*given))
    assert not any(torch.equal(buffer, before[name]) for name, buffer in small.named_buffers())


@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 20), (256, 176)])
@torch.no_grad()
def test_any_size_divisible_by_the_stride(small, height, width):
    assert small.stride == 4
    image = small(*inputs(1, height, width))
    assert image.shape == (1, 3, height, width)
    assert image.abs().max() <= 1


@pytest.mark.parametrize(
    ("height", "width", "words"),
    [(64, 30, r"64x30 pixels.* divisible by 4"), (64, 4, "64x4 pixels: both sides must be at least 8")],
)
def test_other_sizes_are_refused_naming_size_and_stride(small, height, width, words):
    with pytest.raises(ValueError, match=words):
        small(*inputs(1, height, width))


def test_maps_of_another_pose_layout_are_refused(small):
    with pytest.raises(ValueError, match="6 channels, but the network has 5"):
        small(*inputs(1, poses=6))


# ---- masks


@torch.no_grad()
def test_one_mask_a_block_between_zero_and_one(small):
    masks = small.attention(*inputs(2))
    assert masks.shape == (2, 3, 64 // 4, 32 // 4)
    assert 0 < masks.min() < masks.max() < 1
    assert not torch.allclose(masks[:, 0], masks[:, 1])


@torch.no_grad()
def test_a_mask_says_how_much_of_the_image_branch_is_taken(small):
    """Blocks whose mask is shut (sigmoid(-50) = 2e-22) leave the image's features as they are."""
    for block in small.blocks:
        nn.init.zeros_(block.pose.conv2.weight)
    half = small.attention(*inputs(1))
    torch.testing.assert_close(half, torch.full_like(half, 0.5))
    block = small.blocks[1]
    image, pose = torch.rand(1, 16, 4, 4), torch.rand(1, 32, 4, 4)
    handle = block.pose.register_forward_hook(lambda *_: torch.full((1, 16, 4, 4), -50.0))
    moved, joined, mask = block(image, pose)
    handle.remove()
    assert mask.max() < 1e-20
    assert torch.equal(moved, image)
    assert torch.equal(joined, torch.cat([torch.full_like(image, -50.0), image], 1))  # before the sigmoid
    torch.testing.assert_close(block(image, pose)[0], image + 0.5 * block.image(image))
