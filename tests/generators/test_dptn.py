"""DPTN's published size and the promises of its two stages; published/test_dptn.py compares it to the authors' code."""

import pytest
import torch
from torch import nn

from generators.dptn import DPTN, PRESETS, DPTNConfig

SMALL = DPTNConfig(width=8, max_width=32, pose_channels=5)


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def small() -> DPTN:
    torch.manual_seed(0)
    return DPTN(SMALL).eval()


def inputs(batch: int, height: int = 64, width: int = 32, poses: int = 5) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(1)
    source = torch.rand(batch, 3, height, width, generator=rng) * 2 - 1
    source_map, target_map = torch.rand(2, batch, poses, height, width, generator=rng)
    return source, source_map, target_map


# ---- size


def test_published_parameter_counts():
    with torch.device("meta"):
        network = DPTN(DPTNConfig())
    assert numbers(network) == 9_794_371
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == 9_794_371  # nothing stored twice
    assert [numbers(block) for block in network.encoder] == [77_056, 279_168, 1_115_392, *3 * [1_246_976]]
    assert numbers(network.source_encoder) == 1_434_752
    assert sum(map(numbers, (network.context, network.transfer, network.transfer_norm))) == 2_110_976
    assert [numbers(block) for block in network.decoder] == [738_432, 184_896, 111_040, 1_731]


def test_presets():
    assert PRESETS["market"] == PRESETS["deepfashion"] == DPTNConfig()
    with torch.device("meta"):
        assert numbers(DPTN(PRESETS["tiny"])) == 1_393_851


def test_widths_double_up_to_the_largest():
    assert DPTNConfig().widths == [64, 128, 256]
    assert DPTNConfig(width=8, max_width=16).widths == [8, 16, 16]
    assert DPTNConfig(width=24, max_width=70, layers=4).widths == [24, 48, 48, 48]


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"heads": 3}, "heads=3"), ({"max_width": 32}, "max_width=32"), ({"layers": 0}, "layers=0: expected at least 1")],
)
def test_impossible_configurations_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        DPTNConfig(**settings)


# ---- behaviour


@torch.no_grad()
def test_one_task_and_two_stages_give_the_same_bytes(small):
    source, source_map, target_map = inputs(2)
    target = small(source, source_map, target_map)
    assert torch.equal(target, small.both(source, source_map, target_map)[0])
    code = small.encode_source(source, source_map)
    assert torch.equal(target, small.decode_target(source, source_map, target_map, code))


@torch.no_grad()
def test_reposing_each_source_once_gives_the_same_bytes(small):
    given = inputs(3)
    assert torch.equal(small.repose(*given, torch.arange(3)), small(*given))


@torch.no_grad()
def test_several_poses_share_the_work_on_their_source(small, monkeypatch):
    source, source_map, _ = inputs(2)
    target_map, index = inputs(5)[2], torch.tensor([1, 0, 1, 1, 0])
    encoded = []
    monkeypatch.setattr(small.source_encoder, "forward", spy(small.source_encoder.forward, encoded))
    found = small.repose(source, source_map, target_map, index)
    assert [images.shape[0] for (images,) in encoded] == [2]
    expected = small(source[index], source_map[index], target_map)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def spy(function, calls):
    def called(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return called


@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch(small):
    source, source_map, target_map = inputs(4)
    batch = small(source, source_map, target_map)
    alone = torch.cat([small(source[i, None], source_map[i, None], target_map[i, None]) for i in range(4)])
    torch.testing.assert_close(batch, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_every_input_matters_and_none_is_changed(small):
    given = inputs(1)
    kept = [tensor.clone() for tensor in given]
    image = small(*given)
    assert all(map(torch.equal, given, kept))
    for i in range(3):
        other = [tensor.flip(3) if i == j else tensor for j, tensor in enumerate(given)]
        assert not torch.allclose(image, small(*other))


def test_training_mode_changes_nothing_and_all_weights_learn(small):
    given = inputs(1)
    with torch.no_grad():
        expected = small(*given)
    target, source = small.train().both(*given)
    assert torch.equal(target, expected)
    (target.sum() + source.sum()).backward()
    assert [name for name, parameter in small.named_parameters() if parameter.grad is None] == []


@torch.no_grad()
def test_correspondence_says_where_the_last_block_takes_its_texture_from(small, monkeypatch):
    given = inputs(2)
    calls = []
    attention = small.transfer[-1].cross_attention
    monkeypatch.setattr(attention, "forward", spy(attention.forward, calls))
    image = small(*given)
    weights = small.correspondence(*given)
    assert weights.shape == (2, 8 * 4, 8 * 4)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 8 * 4))
    ((query, memory, _),) = calls
    torch.testing.assert_close(weights, attention.weights(query, memory).mean(1), atol=1e-6, rtol=0)
    assert torch.equal(image, small(*given)), "asking for it changes nothing"


def test_a_network_without_transfer_has_no_correspondence():
    network = DPTN(DPTNConfig(width=8, layers=1, pose_channels=5, transfer_blocks=0))
    with pytest.raises(ValueError, match="transfer_blocks=0"):
        network.correspondence(*inputs(1))


@pytest.mark.parametrize(("height", "width"), [(8, 16), (64, 32), (256, 176)])
@torch.no_grad()
def test_any_size_divisible_by_the_stride(small, height, width):
    image = small(*inputs(1, height, width))
    assert image.shape == (1, 3, height, width)
    assert image.abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(64, 36), (60, 32), (8, 8)])
def test_other_sizes_are_refused_naming_size_and_stride(small, height, width):
    assert small.stride == 8
    with pytest.raises(ValueError, match=rf"{height}x{width} pixels.* 8"):
        small(*inputs(1, height, width))


def test_maps_of_another_pose_layout_are_refused(small):
    source = inputs(1)[0]
    with pytest.raises(ValueError, match="6 channels, but the network has 5"):
        small.encode_source(source, inputs(1, poses=6)[1])
