"""DPTN against values of the authors' code, its published size, and the promises of its two stages."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from generators.dptn import DPTN, DPTNConfig, from_reference

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {
    "dptn_generator": DPTNConfig(width=12, max_width=96),
    "dptn_generator_variant": DPTNConfig(
        width=8, max_width=16, residual_blocks=2, heads=4, context_blocks=1, transfer_blocks=3
    ),
}
SMALL = DPTNConfig(width=8, max_width=32, pose_channels=5)


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def reference_state(golden: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix("state."): tensor for key, tensor in golden.items() if key.startswith("state.")}


@pytest.fixture
def small() -> DPTN:
    torch.manual_seed(0)
    return DPTN(SMALL).eval()


def inputs(batch: int, height: int = 64, width: int = 32, poses: int = 5) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(1)
    source = torch.rand(batch, 3, height, width, generator=rng) * 2 - 1
    source_map, target_map = torch.rand(2, batch, poses, height, width, generator=rng)
    return source, source_map, target_map


# ---- parity


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_both_images_equal_those_of_the_authors(name):
    golden = load_file(GOLDEN / f"{name}.safetensors")
    network = DPTN(CASES[name]).eval()
    network.load_state_dict(from_reference(reference_state(golden), CASES[name]))
    target, source = network.both(
        golden["input.source_image"], golden["input.source_pose"], golden["input.target_pose"]
    )
    torch.testing.assert_close(target, golden["output.fake_target"], atol=1e-5, rtol=0)
    torch.testing.assert_close(source, golden["output.fake_source"], atol=1e-5, rtol=0)


def test_reference_names_with_either_prefix_and_older_spelling():
    state = reference_state(load_file(GOLDEN / "dptn_generator.safetensors"))
    older = {f"module.{key.replace('PTM.', 'transformer.')}": tensor for key, tensor in state.items()}
    expected, found = (from_reference(s, CASES["dptn_generator"]) for s in (state, older))
    assert expected.keys() == found.keys() == DPTN(CASES["dptn_generator"]).state_dict().keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_missing_and_unknown_reference_names_are_listed():
    config = CASES["dptn_generator"]
    state = reference_state(load_file(GOLDEN / "dptn_generator.safetensors"))
    state["extra.weight"] = state.pop("block0.model.0.weight")
    with pytest.raises(ValueError, match=r"1 keys missing.*block0\.model\.0\.weight.*1 unknown.*extra\.weight"):
        from_reference(state, config)


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
def test_one_source_code_serves_many_poses(small):
    source, source_map, target_map = inputs(3)
    index = torch.tensor([1, 1, 1])
    code = small.encode_source(source[1:2], source_map[1:2]).rows(torch.zeros(3, dtype=torch.long))
    found = small.decode_target(source[index], source_map[index], target_map, code)
    torch.testing.assert_close(found, small(source[index], source_map[index], target_map), atol=1e-5, rtol=0)


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
