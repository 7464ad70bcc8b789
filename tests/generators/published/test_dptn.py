"""The authors' state dicts of DPTN: equal images and logits, sizes read off them, nothing missing or skipped."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators.discriminators import DPTNDiscriminator, DPTNDiscriminatorConfig
from generators.dptn import DPTN, DPTNConfig
from generators.published.dptn import convert, convert_discriminator

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = {
    "dptn_generator": DPTNConfig(width=12),
    "dptn_generator_variant": DPTNConfig(
        width=8, max_width=16, residual_blocks=2, heads=4, context_blocks=1, transfer_blocks=3
    ),
}
State = dict[str, torch.Tensor]


def part(golden: State, prefix: str) -> State:
    return {key.removeprefix(prefix): tensor for key, tensor in golden.items() if key.startswith(prefix)}


@pytest.fixture
def state() -> State:
    """The authors' generator of case `dptn_generator`."""
    return part(load_file(GOLDEN / "dptn_generator.safetensors"), "state.")


@pytest.fixture
def judge() -> State:
    """The golden values of the authors' discriminator."""
    return load_file(GOLDEN / "dptn_discriminator.safetensors")


# ---- generator


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_both_images_equal_those_of_the_authors(name):
    golden = load_file(GOLDEN / f"{name}.safetensors")
    config, weights = convert(part(golden, "state."), CASES[name].heads)
    assert config == CASES[name]
    network = DPTN(config).eval()
    network.load_state_dict(weights)
    target, source = network.both(
        golden["input.source_image"], golden["input.source_pose"], golden["input.target_pose"]
    )
    torch.testing.assert_close(target, golden["output.fake_target"], atol=1e-5, rtol=0)
    torch.testing.assert_close(source, golden["output.fake_source"], atol=1e-5, rtol=0)


def test_either_prefix_and_the_older_spelling(state):
    older = {f"module.{key.replace('PTM.', 'transformer.')}": tensor for key, tensor in state.items()}
    assert older.keys() & state.keys() == set()
    expected, found = convert(state)[1], convert(older)[1]
    assert list(expected) == list(found) == list(DPTN(CASES["dptn_generator"]).state_dict())
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize(
    "config",
    [
        DPTNConfig(),
        DPTNConfig(width=24),
        DPTNConfig(pose_channels=4, image_channels=1, width=4, layers=2),
        DPTNConfig(width=4, max_width=12, layers=4),
        DPTNConfig(width=4, layers=1, residual_blocks=0, context_blocks=0, transfer_blocks=0, heads=1),
        DPTNConfig(width=520, max_width=1040, layers=2),
    ],
)
def test_the_configuration_is_read_off_names_and_shapes(config):
    with torch.device("meta"):
        expected = DPTN(config).state_dict()
        found, weights = convert(theirs(config), config.heads)
    assert {key: tensor.shape for key, tensor in weights.items()} == {key: t.shape for key, t in expected.items()}
    assert found == config


def theirs(config: DPTNConfig) -> State:
    """A state dict of the authors' names, without second ones, restated from their modules."""
    wide = config.widths
    shapes: dict[str, list[int]] = {}

    def conv(name: str, outputs: int, inputs: int, size: int, *, transposed: bool = False) -> None:
        sides = [inputs, outputs] if transposed else [outputs, inputs]
        shapes.update({f"{name}.weight": [*sides, size, size], f"{name}.bias": [outputs]})

    def norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.weight": [channels], f"{name}.bias": [channels]})

    def block(name: str, inputs: int, outputs: int, sizes: tuple[int, int], *, up: bool = False) -> None:
        norm(f"{name}.model.0", inputs)
        conv(f"{name}.model.2", outputs, inputs, sizes[0])
        norm(f"{name}.model.3", outputs)
        conv(f"{name}.model.5", outputs, outputs, sizes[1], transposed=up)

    for prefix, inputs in (
        ("", config.image_channels + 2 * config.pose_channels),
        ("source_encoder.", config.image_channels),
    ):
        conv(f"{prefix}block0.model.0", wide[0], inputs, 4)
        norm(f"{prefix}block0.model.1", wide[0])
        conv(f"{prefix}block0.model.3", wide[0], wide[0], 3)
        for i in range(config.layers - 1):
            block(f"{prefix}encoder{i}", wide[i], wide[i + 1], (4, 3))
    for i in range(config.residual_blocks):
        block(f"mblock{i}", wide[-1], wide[-1], (3, 3))
        conv(f"mblock{i}.shortcut.0", wide[-1], wide[-1], 1)
    down = [*wide[::-1], wide[0]]
    for i in range(config.layers):
        block(f"decoder{i}", down[i], down[i + 1], (3, 3), up=True)
        conv(f"decoder{i}.shortcut.0", down[i + 1], down[i], 3, transposed=True)
    conv("outconv.model.2", config.image_channels, wide[0], 3)
    c = wide[-1]
    blocks = [("encoder", i, ["self_attn"]) for i in range(config.context_blocks)]
    blocks += [("decoder", i, ["self_attn", "multihead_attn"]) for i in range(config.transfer_blocks)]
    for kind, i, attentions in blocks:
        name = f"PTM.{kind}.layers.{i}"
        for attention in attentions:
            shapes[f"{name}.{attention}.in_proj_weight"] = [3 * c, c]
            shapes[f"{name}.{attention}.in_proj_bias"] = [3 * c]
        for linear in ("linear1", "linear2", *(f"{attention}.out_proj" for attention in attentions)):
            shapes |= {f"{name}.{linear}.weight": [c, c], f"{name}.{linear}.bias": [c]}
        for index in range(1, len(attentions) + 2):
            norm(f"{name}.norm{index}", c)
    norm("PTM.decoder.norm", c)
    return {name: torch.empty(shape) for name, shape in shapes.items()}


def test_the_restated_names_are_those_of_the_authors(state):
    config = CASES["dptn_generator"]
    seconds = {key for key in state if key.split(".")[1] in ("conv1", "conv2", "bypass")}
    assert {key: t.shape for key, t in theirs(config).items()} == {
        key: state[key].shape for key in state.keys() - seconds
    }


# ---- second names


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("mblock0.model.2.weight", "mblock0.conv1.weight"),
        ("mblock1.model.5.bias", "mblock1.conv2.bias"),
        ("mblock2.shortcut.0.weight", "mblock2.bypass.weight"),
        ("outconv.model.2.weight", "outconv.conv1.weight"),
    ],
)
def test_either_of_two_names_will_do_but_they_must_agree(state, first, second):
    expected = convert(state)[1]
    for left_out in (first, second):
        found = convert({key: tensor for key, tensor in state.items() if key != left_out})[1]
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    with pytest.raises(ValueError, match=f"1 unlike their first name .{second} .{first}"):
        convert(state | {second: state[first] + 1})


def test_one_tensor_under_two_spellings_is_refused(state):
    with pytest.raises(ValueError, match=r"PTM\.decoder\.norm\.bias: there twice"):
        convert(state | {"module.transformer.decoder.norm.bias": torch.zeros(48)})


# ---- refusals


def test_missing_unknown_and_wrongly_shaped_tensors_are_all_listed(state):
    state["extra.weight"] = state.pop("block0.model.0.weight")
    state["mblock7.model.2.weight"] = state.pop("decoder2.model.0.weight")
    state["encoder1.model.0.bias"] = torch.zeros(5)
    state["decoder0.model.5.weight"] = torch.zeros(24, 24, 3)
    with pytest.raises(ValueError, match="no complete DPTN generator") as caught:
        convert(state)
    message = str(caught.value)
    assert "unknown (extra.weight; mblock7.model.2.weight)" in message
    assert "2 wrongly shaped" in message
    assert "encoder1.model.0.bias (5,), expected (24,)" in message
    assert "decoder0.model.5.weight (24, 24, 3), expected (24, 24, 3, 3)" in message
    for key in ("block0.model.0.weight", "decoder2.model.0.weight"):
        assert key in message[: message.index("unknown")]


def test_no_tensor_is_dispensable_and_every_shape_counts():
    complete = theirs(DPTNConfig(width=4, layers=2, residual_blocks=1, context_blocks=1, transfer_blocks=1))
    convert(complete)
    for key in complete:
        with pytest.raises(ValueError, match=rf"1 missing .{re.escape(key)}\)"):
            convert({name: tensor for name, tensor in complete.items() if name != key})
        with pytest.raises(ValueError, match=rf"1 wrongly shaped .{re.escape(key)} "):
            convert(complete | {key: torch.zeros(*complete[key].shape, 2)})


def test_every_tensor_of_a_missing_block_is_listed(state):
    gone = {key for key in state if key.startswith("encoder1.")}
    with pytest.raises(ValueError, match=f"{len(gone)} missing") as caught:
        convert({key: tensor for key, tensor in state.items() if key not in gone})
    assert all(key in str(caught.value) for key in gone)
    assert "unknown" not in str(caught.value)


def test_something_else_is_said_to_be_so():
    with pytest.raises(ValueError, match=r"no DPTN generator: .*it is empty"):
        convert({})
    with pytest.raises(ValueError, match=r"no DPTN generator: .*its 2 tensors begin with model\.1\.weight"):
        convert({"module.model.1.weight": torch.zeros(1), "model.2.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"no DPTN discriminator: .*it is empty"):
        convert_discriminator({})


def test_heads_that_do_not_divide_the_channels(state):
    with pytest.raises(ValueError, match="heads=5 does not divide the 48 channels"):
        convert(state, heads=5)


# ---- discriminator


def test_the_configuration_of_a_discriminator_is_read_off_its_shapes(judge):
    config, weights = convert_discriminator(part(judge, "state."))
    assert config == DPTNDiscriminatorConfig(width=8)
    assert list(weights) == list(DPTNDiscriminator(config).state_dict())


def test_a_discriminator_of_data_parallel_training(judge):
    state = part(judge, "state.")
    expected, found = (convert_discriminator(s)[1] for s in (state, {f"module.{key}": state[key] for key in state}))
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_fourth_level_stops_growing(judge):
    """DeepFashion's discriminator: widths 32, 64, 128, 128, here 8, 16, 32, 32."""
    state = part(judge, "state.")
    grown = {}
    for key, tensor in state.items():
        if key.startswith("encoder1."):  # 16 -> 32 becomes 32 -> 32
            sides = [32 if side == 16 else side for side in tensor.shape]
            if key.endswith("weight_v"):
                sides = [2 * tensor.shape[0]]
            grown[key.replace("encoder1", "encoder2")] = torch.zeros(sides)
    config, _ = convert_discriminator(state | grown)
    assert config == replace(DPTNDiscriminatorConfig(width=8), layers=4, max_width=32)


def test_problems_of_a_discriminator_are_all_listed(judge):
    state = part(judge, "state.")
    state["extra"] = state.pop("conv.bias")
    state["block0.model.2.weight_u"] = torch.zeros(3)
    words = r"1 missing .conv\.bias.*1 unknown .extra.*1 wrongly shaped .block0\.model\.2\.weight_u .3,., expected .8,"
    with pytest.raises(ValueError, match=words):
        convert_discriminator(state)


def test_a_generator_is_no_discriminator(state):
    with pytest.raises(ValueError, match="no complete DPTN discriminator"):
        convert_discriminator(state)
