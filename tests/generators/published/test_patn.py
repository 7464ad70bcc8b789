"""The authors' PATN weights: parity through `convert`, what it reads off the tensors, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators.patn import PATN, PATNConfig
from generators.published.patn import convert, convert_discriminator
from generators.residual_discriminator import ResidualDiscriminatorConfig

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = {
    "patn_generator": PATNConfig(width=8, blocks=3),
    "patn_generator_instance": PATNConfig(width=6, blocks=3, norm="instance"),
}
State = dict[str, torch.Tensor]


def part(golden: State, prefix: str) -> State:
    return {key.removeprefix(prefix): tensor for key, tensor in golden.items() if key.startswith(prefix)}


@pytest.fixture(scope="module")
def goldens() -> dict[str, State]:
    return {name: load_file(GOLDEN / f"{name}.safetensors") for name in CASES}


@pytest.fixture
def batch(goldens) -> State:
    return part(goldens["patn_generator"], "state.")


@pytest.fixture
def instance(goldens) -> State:
    return part(goldens["patn_generator_instance"], "state.")


# ---- parity


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_images_equal_those_of_the_authors(goldens, name):
    golden = goldens[name]
    config, weights = convert(part(golden, "state."))
    assert config == CASES[name]
    network = PATN(config).eval()
    network.load_state_dict(weights)
    found = network(golden["input.source_image"], golden["input.source_pose"], golden["input.target_pose"])
    torch.testing.assert_close(found, golden["output.fake_target"], atol=1e-5, rtol=0)


# ---- what is read off the tensors


@pytest.mark.parametrize("prefix", ["model.", "module.", "module.model."])
def test_prefixes_of_files_and_of_data_parallel_training(batch, prefix):
    config, expected = convert(batch)
    other, found = convert({prefix + key: tensor for key, tensor in batch.items()})
    assert other == config
    assert expected.keys() == found.keys() == PATN(config).state_dict().keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("name", ["patn_generator", "patn_generator_instance"])
def test_a_network_built_without_dropout_has_other_indices(goldens, name):
    def earlier(key: str) -> str:
        head, _, tail = key.partition("conv_block_stream")
        return f"{head}conv_block_stream{tail.replace('.6.', '.5.').replace('.7.', '.6.')}" if tail else key

    state = part(goldens[name], "state.")
    config, expected = convert(state)
    other, found = convert({earlier(key): tensor for key, tensor in state.items()})
    assert (config.dropout, other) == (0.5, replace(config, dropout=0.0))
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_every_size_is_read(batch):
    config = PATNConfig(1, 7, width=3, blocks=11, downsamplings=3)
    with torch.device("meta"):
        ours = PATN(config).state_dict()
    modules = {"image_encoder": "stream1_down", "pose_encoder": "stream2_down", "image": "1", "pose": "2"}
    theirs = {}
    for key, tensor in ours.items():
        *path, kind = key.split(".")
        if path[0] == "blocks":
            slot = {"conv1": 1, "norm1": 2, "conv2": 6, "norm2": 7}[path[3]]
            name = f"att.{path[1]}.conv_block_stream{modules[path[2]]}.{slot}"
        elif path[0] == "decoder":
            last = path[1] == "3"
            name = f"stream1_up.{3 * int(path[1]) + (1 if last or path[2] == 'norm' else 0)}"
        else:
            name = f"{modules[path[0]]}.{3 * int(path[1]) + (1 if path[2] == 'conv' else 2)}"
        theirs[f"{name}.{kind}"] = tensor
    assert convert(theirs)[0] == config


def test_statistics_of_batch_norms_are_kept_and_an_absent_counter_is_zero(batch):
    mean, counter = "stream1_down.2.running_mean", "stream1_down.2.num_batches_tracked"
    weights = convert(batch)[1]
    assert torch.equal(weights["image_encoder.0.norm.running_mean"], batch[mean])
    assert weights["image_encoder.0.norm.num_batches_tracked"] == batch[counter] > 0
    del batch[counter]
    assert convert(batch)[1]["image_encoder.0.norm.num_batches_tracked"] == 0
    del batch[mean]
    with pytest.raises(ValueError, match=r"1 missing: stream1_down\.2\.running_mean$"):
        convert(batch)


def test_absent_counters_are_zeros_that_share_no_memory(batch):
    older = {key: tensor for key, tensor in batch.items() if not key.endswith("num_batches_tracked")}
    counters = [t for key, t in convert(older)[1].items() if key.endswith("num_batches_tracked")]
    assert len(counters) == len(batch) - len(older) > 1
    assert not any(counters)
    assert len({counter.data_ptr() for counter in counters}) == len(counters)


def test_statistics_of_instance_norms_are_left_out(instance):
    expected = convert(instance)[1]
    statistics = {"running_mean": torch.zeros(6), "running_var": torch.ones(6), "num_batches_tracked": torch.tensor(5)}
    old = instance | {f"stream1_down.2.{name}": tensor for name, tensor in statistics.items()}
    assert convert(old)[1].keys() == expected.keys()
    # ... but not where the network has no norm
    with pytest.raises(ValueError, match=r"1 unknown: att\.0\.conv_block_stream2\.7\.running_mean$"):
        convert(instance | {"att.0.conv_block_stream2.7.running_mean": torch.zeros(24)})


# ---- what is refused


def test_all_that_is_missing_unknown_or_misshapen_is_listed(batch):
    batch["extra.weight"] = batch.pop("stream1_down.4.weight")
    batch["another"] = batch.pop("att.1.conv_block_stream2.6.weight")
    batch["stream1_up.7.bias"] = torch.zeros(4)
    with pytest.raises(ValueError) as caught:
        convert(batch)
    assert str(caught.value).endswith(
        "2 missing: att.1.conv_block_stream2.6.weight, stream1_down.4.weight; "
        "2 unknown: another, extra.weight; "
        "1 of unfitting shape: stream1_up.7.bias [4] for [3]"
    )


def test_a_missing_first_layer_or_block_is_no_riddle(batch):
    for key in ("stream1_down.1.weight", "stream2_down.1.weight"):
        lacking = {name: tensor for name, tensor in batch.items() if name != key}
        with pytest.raises(ValueError, match=f"one: 1 missing: {key}$"):
            convert(lacking)
    lacking = {name: tensor for name, tensor in batch.items() if not name.startswith("att.1.")}
    with pytest.raises(ValueError, match=r": 16 missing: att\.1\.conv_block_stream1\.1\.weight"):
        convert(lacking)


@pytest.mark.parametrize("state", [{}, {"encoder.weight": torch.zeros(2, 2)}])
def test_something_else_entirely(state):
    with pytest.raises(ValueError, match=r"not a PATN generator.* missing: att\.0\."):
        convert(state)


def test_one_weight_under_two_names(batch):
    with pytest.raises(ValueError, match=r"model\.stream1_up\.7\.bias: a second tensor"):
        convert(batch | {"model.stream1_up.7.bias": torch.zeros(3)})


def test_a_discriminator_of_another_configuration():
    state = part(load_file(GOLDEN / "dptn_ta_discriminator.safetensors"), "state.")
    config = ResidualDiscriminatorConfig(3, width=6, blocks=2, norm="instance", dropout=0.0, sigmoid=False)
    with pytest.raises(ValueError, match=r"4 unknown: 12\.conv_block\.1\.bias"):
        convert_discriminator(state, config)
