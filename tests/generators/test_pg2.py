"""PG2's two stages against values of an independent restatement, their published sizes, and each variant."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from augment.data.posemaps import render
from generators.pg2 import PG2, PRESETS, Coarse, PG2Config
from generators.pg2_blocks import JointCode, StridedConv2d, flatten, unflatten

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = (
    (r"^G1\.(inp|fc1|fc2|out)", lambda m: "coarse." + FIXED[m[1]]),
    (r"^G2\.(inp|out)", lambda m: "refine." + {"inp": "stem", "out": "head"}[m[1]]),
    (r"^G1\.(enc|dec)\.(\d)\.(\d)", lambda m: f"coarse.{LONG[m[1]]}.pairs.{m[2]}.conv{int(m[3]) + 1}"),
    (r"^G2\.(enc|dec)\.(\d)\.(\d)", lambda m: f"refine.{LONG[m[1]]}.{m[2]}.conv{int(m[3]) + 1}"),
    (r"^G1\.(down|up)", lambda m: {"down": "coarse.encoder.down", "up": "coarse.decoder.up"}[m[1]]),
    (r"^G2\.down", "refine.down"),
    (r"\.c\.", "."),
)
FIXED = {"inp": "encoder.stem", "fc1": "squeeze", "fc2": "expand", "out": "decoder.head"}
LONG = {"enc": "encoder", "dec": "decoder"}
READINGS = (("tensorflow", "tf"), ("symmetric", "sym"))
SMALL = PG2Config(height=32, width=16, channels=4, levels=3, latent=8, refine_channels=4)


def renamed(golden):
    state = {"refining": torch.tensor(1.0)}
    for key, tensor in golden.items():
        if key.startswith("state.G"):
            name = key.removeprefix("state.")
            for pattern, ours in NAMES:
                name = re.sub(pattern, ours, name)
            state[name] = tensor
    return state


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "pg2_networks_restated.safetensors")


def inputs(config, count=2):
    rng = torch.Generator().manual_seed(0)
    source = torch.rand(count, 3, config.height, config.width, generator=rng) * 2 - 1
    points = torch.rand(count, 18, 2, generator=rng) * torch.tensor([config.height, config.width])
    return source, render(points, (config.height, config.width), kind="disc")


def build(config, seed=0):
    torch.manual_seed(seed)
    return PG2(config).eval()


@pytest.mark.parametrize(("padding", "reading"), READINGS)
@torch.no_grad()
def test_both_stages_equal_the_restatement(golden, padding, reading):
    network = PG2(PG2Config(channels=8, refine_channels=8, padding=padding))
    network.load_state_dict(renamed(golden))
    target_map = (golden["input.target_pose_pm1"].float() + 1) / 2
    drawn = network.stages_of(golden["input.source_image"], target_map)
    torch.testing.assert_close(drawn.coarse, golden[f"output.{reading}.g1"], atol=1e-5, rtol=0)
    torch.testing.assert_close(drawn.refined, golden[f"output.{reading}.final"], atol=1e-5, rtol=0)
    assert drawn.refined.abs().max() > 2  # nothing squashes the output

    # The source's pose is not looked at.
    unused = torch.full_like(target_map, torch.nan)
    assert torch.equal(network(golden["input.source_image"], unused, target_map), drawn.refined)


def test_published_parameter_counts():
    with torch.device("meta"):
        network = PG2(PRESETS["market"])
        assert network.refine is not None
        counts = [sum(p.numel() for p in part.parameters()) for part in (network.coarse, network.refine)]
        assert counts == [70_795_075, 6_058_883]
        alone = PG2(replace(PRESETS["market"], stages=1))
        assert sum(p.numel() for p in alone.parameters()) == counts[0]


@pytest.mark.parametrize(("preset", "bottom"), [("market", (8, 4)), ("deepfashion", (16, 11)), ("tiny", (8, 4))])
def test_presets_fit_their_images(preset, bottom):
    config = PRESETS[preset]
    with torch.device("meta"):
        network = PG2(config)
        source, target_map = (torch.empty(1, c, config.height, config.width) for c in (3, config.pose_channels))
        assert network(source, target_map, target_map).shape == source.shape
    assert network.coarse.bottom == bottom
    assert network.pose_map == "disc"


@torch.no_grad()
def test_the_second_stage_adds_its_difference_and_can_be_left_out():
    source, target_map = inputs(SMALL)
    network = build(SMALL)
    assert network.refine is not None
    drawn = network.stages_of(source, target_map)
    assert torch.equal(drawn.coarse, network.coarse(source, target_map))
    assert torch.equal(drawn.refined, drawn.coarse + network.refine(drawn.coarse, source))
    assert not torch.equal(drawn.refined, drawn.coarse)

    alone = build(replace(SMALL, stages=1))
    assert alone.refine is None
    assert alone.load_state_dict(network.state_dict(), strict=False).missing_keys == []
    assert torch.equal(alone(source, target_map, target_map), drawn.coarse)


@pytest.mark.parametrize("embedding", ["concat", "coordinates", "encoder"])
@torch.no_grad()
def test_every_embedding_sees_the_pose_and_images_of_a_batch_are_independent(embedding):
    network = build(replace(SMALL, pose_embedding=embedding))
    source, target_map = inputs(SMALL, 3)
    together = network(source, target_map, target_map)
    for index in range(3):
        row = slice(index, index + 1)
        alone = network(source[row], target_map[row], target_map[row])
        torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=0)
    other = network(source, target_map, target_map.flip(2))
    assert (other - together).abs().flatten(1).max(1).values.min() > 1e-6
    assert torch.equal(network(source, target_map.flip(2), target_map), together)


@torch.no_grad()
def test_embeddings_differ():
    source, target_map = inputs(SMALL)
    drawn = [
        build(replace(SMALL, pose_embedding=name))(source, target_map, target_map)
        for name in ("concat", "coordinates", "encoder")
    ]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


def test_poses_enter_the_first_layer_or_the_middle():
    for name, channels, code in (("concat", 3 + 18, 8), ("coordinates", 3, 16), ("encoder", 3, 16)):
        network = Coarse(replace(SMALL, pose_embedding=name))
        assert network.encoder.stem.in_channels == channels
        assert network.expand.in_features == code


def test_coordinates_are_read_off_the_maps():
    points = torch.tensor([[(10.0, 20.0), (torch.nan, 3.0), (0.0, 62.0)]])
    found = JointCode.coordinates(render(points, (33, 63), kind="disc"))
    torch.testing.assert_close(found[0, 0], torch.tensor([10 / 16 - 1, 20 / 31 - 1, 1.0]))
    assert found[0, 1].tolist() == [0, 0, 0]
    # In the corner a quarter of the disc is left; its centre of mass lies inside.
    assert found[0, 2, 2] == 1
    assert -1 < found[0, 2, 0] < -1 + 4 / 16
    assert 1 - 4 / 31 < found[0, 2, 1] < 1


@pytest.mark.parametrize(
    ("size", "side", "first"),
    # TensorFlow: kernels of 3 start at pixel 0 of even sides and at -1 of odd ones, kernels of 5 at -1 and -2.
    [(3, 8, 0), (3, 7, -1), (5, 8, -1), (5, 7, -2)],
)
@torch.no_grad()
def test_where_strided_kernels_start(size, side, first):
    ramp = torch.arange(side, dtype=torch.float32).expand(1, 1, side, side) + 1
    for padding, start in (("tensorflow", first), ("symmetric", -(size // 2))):
        conv = StridedConv2d(1, 1, size, padding)
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
        conv.weight[0, 0, -start, -start] = 1  # what the first kernel has on pixel 0
        assert torch.equal(conv(ramp), ramp[:, :, ::2, ::2])
        assert conv(ramp).shape[2] == -(-side // 2)


def test_flattening_has_two_orders_and_is_undone():
    maps = torch.arange(2 * 3 * 4 * 2).view(2, 3, 4, 2).float()
    assert flatten(maps, "tensorflow")[0, :3].tolist() == maps[0, :, 0, 0].tolist()
    assert flatten(maps, "symmetric")[0, :2].tolist() == maps[0, 0, 0, :].tolist()
    for padding in ("tensorflow", "symmetric"):
        assert torch.equal(unflatten(flatten(maps, padding), (4, 2), padding), maps)


def test_enlarging_after_the_1x1_convolution_is_the_same():
    x, conv = torch.randn(2, 6, 4, 3), torch.nn.Conv2d(6, 5, 1)
    late = F.relu(conv(F.interpolate(x, scale_factor=2.0)))
    torch.testing.assert_close(F.interpolate(F.relu(conv(x)), scale_factor=2.0), late, atol=1e-6, rtol=0)


def test_images_of_another_size_are_refused_with_the_remedy():
    network = build(SMALL)
    source, target_map = inputs(replace(SMALL, height=64))
    with pytest.raises(ValueError, match=r"64x16 pixels.*made for 32x16.*height=64 and width=16"):
        network(source, target_map, target_map)
    source, target_map = inputs(SMALL)
    with pytest.raises(ValueError, match="5 channels, but the network has 18"):
        network(source, target_map[:, :5], target_map[:, :5])
    with pytest.raises(ValueError, match="divisible by 4"):
        network(source[:, :, :, :15], target_map[..., :15], target_map[..., :15])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latent": 0}, "latent=0: expected at least 1"),
        ({"stages": 3}, r"stages=3: expected 1 \(G1 alone\) or 2"),
        ({"pose_embedding": "none"}, "pose_embedding='none': expected one of concat, coordinates, encoder"),
        ({"padding": "same"}, "padding='same': expected one of tensorflow, symmetric"),
        ({"height": 120}, "120x64 pixels: both sides must be divisible by 16"),
        ({"height": 256, "width": 176, "levels": 6}, "256x176 pixels: both sides must be divisible by 32"),
    ],
)
def test_impossible_configurations_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        PG2Config(**options)


def test_strides_follow_the_deeper_stage():
    assert PG2Config().stride == 16
    assert replace(SMALL, levels=2).stride == 4  # G2's three levels
    assert replace(SMALL, levels=2, stages=1).stride == 2
