"""The copy and the warp: joints come back out of their maps, and every part of the body goes where its joints go."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from augment.data import images, keypoints
from augment.data.market1501 import read_folder
from augment.data.pairs import Pairs
from augment.data.posemaps import render
from generators.baselines import COPY_PRESETS, WARP_PRESETS, Copy, CopyConfig, Warp, WarpConfig
from generators.metrics.pixels import l1
from generators.tensors import from_uint8, to_uint8
from generators.warping import fill, find_axes, read_joints

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "pose_heatmaps.safetensors")
SIZE = (128, 64)
WARP = Warp(WarpConfig())
TORSO = [2, 5, 8, 11]
LIMBS = {"arm": (2, 3), "forearm": (3, 4), "thigh": (8, 9), "shin": (9, 10)}
LIMBS |= {f"left {name}": (start + 3, end + 3) for name, (start, end) in LIMBS.items()}

# Arms and legs spread, so that no part hides the middle of another.
SPREAD = torch.tensor(
    [
        [18, 31], [30, 31], [30, 24], [42, 15], [54, 8], [30, 38], [42, 47], [54, 54],
        [60, 27], [82, 22], [104, 17], [60, 35], [82, 40], [104, 45], [16, 29], [16, 33], [17, 27], [17, 35],
    ],
    dtype=torch.float32,
)  # fmt: skip


def lean(points, angle=0.25, scale=0.8, to=(66.0, 33.0)):
    """The person turned in the picture, made smaller, and moved."""
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float32)
    return (points - points.nanmean(0)) @ turn.T + torch.tensor(to)


def without(points, *joints):
    points = points.clone()
    points[list(joints)] = torch.nan
    return points


def maps(*persons):
    return render(torch.stack(persons), SIZE)


def ramp(count=1):
    """Images whose first channel tells the row of a pixel, the second its column."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, SIZE[0]), torch.linspace(-1, 1, SIZE[1]), indexing="ij")
    return torch.stack([rows, columns, torch.zeros(SIZE)]).expand(count, -1, -1, -1)


def origin(image, place):
    """Which (row, column) of a ramp the pixels around a place of an image come from."""
    grid = torch.stack([2 * place[1] / (SIZE[1] - 1) - 1, 2 * place[0] / (SIZE[0] - 1) - 1])[None, None, None]
    value = torch.nn.functional.grid_sample(image[None], grid, align_corners=True)[0, :2, 0, 0]
    return (value + 1) / 2 * (torch.tensor(SIZE) - 1)


def close(place, expected, within=0.05):
    torch.testing.assert_close(place, expected, atol=within, rtol=0)


# ---- joints out of maps


@pytest.mark.parametrize("case", [0, 3])
def test_joints_as_patn_reads_them(case):
    peaks = GOLDEN[f"map_to_keypoints_yx.case{case}"]
    found = read_joints(GOLDEN[f"heatmap_sigma6.case{case}"].permute(2, 0, 1)[None])[0]
    assert torch.equal(found.isnan().any(1), (peaks == -1).any(1))
    close(found.nan_to_num(-1), peaks.float(), 1e-3)


def test_fractions_of_a_pixel_and_joints_outside_come_back():
    rng = torch.Generator().manual_seed(0)
    points = torch.rand(2, 18, 2, generator=rng) * torch.tensor(SIZE)
    points[0, :4] = torch.tensor([[-9.5, 20.0], [40.0, -9.5], [136.0, 20.3], [40.2, 71.7]])
    points[1, 3] = torch.nan
    torch.testing.assert_close(read_joints(render(points, SIZE)), points, atol=0.02, rtol=0, equal_nan=True)


def test_a_low_peak_is_no_joint_and_a_flat_one_is_where_it_starts():
    given = torch.zeros(1, 18, 8, 9)
    given[0, 0, 3, 4], given[0, 1, 3, 4] = 0.1, 0.11
    given[0, 2, 2:5, 3:6] = 1
    found = read_joints(given)[0]
    assert found[0].isnan().all()
    assert found[1].tolist() == [3, 4]
    assert found[3:].isnan().all()
    assert ((found[2] >= 2) & (found[2] <= 4)).any()


# ---- where pixels come from


@pytest.mark.parametrize("limb", LIMBS)
def test_the_middle_of_a_limb_shows_the_middle_of_the_sources(limb):
    target = lean(SPREAD)
    image = WARP(ramp(), maps(SPREAD), maps(target))[0]
    ends = list(LIMBS[limb])
    close(origin(image, target[ends].mean(0)), SPREAD[ends].mean(0))


def test_head_and_torso_show_the_sources():
    target = lean(SPREAD)
    image = WARP(ramp(), maps(SPREAD), maps(target))[0]
    for joints in (TORSO, [0, 14, 15, 16, 17]):
        close(origin(image, target[joints].mean(0)), SPREAD[joints].mean(0), 0.1)


def test_beyond_its_joints_and_across_a_limb_keeps_the_persons_size():
    """A forearm half as long as the source's is as thick as before, and so is what hangs below the wrist."""
    target = SPREAD.clone()
    target[4] = (SPREAD[3] + SPREAD[4]) / 2
    image = WARP(ramp(), maps(SPREAD), maps(target))[0]
    along = torch.nn.functional.normalize(SPREAD[4] - SPREAD[3], dim=0)
    across = along.flip(0) * torch.tensor([-1.0, 1.0])
    close(origin(image, (target[3] + target[4]) / 2 + across), (SPREAD[3] + SPREAD[4]) / 2 + across, 0.1)
    close(origin(image, target[4] + 3 * along), SPREAD[4] + 3 * along, 0.1)


def test_a_back_shows_each_shoulder_on_its_side():
    back = SPREAD.clone()
    back[TORSO] = SPREAD[[5, 2, 11, 8]]
    source, target = (without(points, *range(3, 5), 6, 7, 9, 10, 12, 13) for points in (SPREAD, back))
    image = WARP(ramp(), maps(source), maps(target))[0]
    inwards = torch.tensor([6.0, 2.0])
    close(origin(image, target[2] + inwards * torch.tensor([1, -1])), source[2] + inwards)


def test_a_missing_limb_is_borrowed_from_the_other_side_or_left_out():
    target = lean(SPREAD, angle=0, scale=1, to=(62.0, 22.0))  # the left forearm away from all of the source
    place = target[[6, 7]].mean(0)
    right = SPREAD[[3, 4]].mean(0)
    for source, expected in ((without(SPREAD, 7), right), (without(SPREAD, 4, 7), None)):
        image = WARP(ramp(), maps(source), maps(target))[0]
        untouched = WARP(ramp(), maps(source), maps(without(target, 7)))[0]
        close(origin(image, place), origin(untouched, place) if expected is None else expected, 0.1)
    assert (origin(untouched, place) - right).abs().max() > 10


@pytest.mark.parametrize("joint", TORSO)
def test_the_source_itself_where_either_torso_is_not_whole(joint):
    source = torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    target = lean(SPREAD)
    source_map = maps(SPREAD, without(SPREAD, joint), SPREAD)
    image = WARP(source, source_map, maps(without(target, joint), target, target))
    assert torch.equal(image[:2], source[:2])
    assert not torch.equal(image[2], source[2])


def test_a_head_is_laid_over_the_joints_that_both_images_show():
    """One ear seen in the target does not pull the head sideways."""
    target = without(SPREAD, 0, 14, 15, 17)
    image = WARP(ramp(), maps(SPREAD), maps(target))[0]
    close(origin(image, SPREAD[0]), SPREAD[0], 0.1)
    others = without(SPREAD, 16)  # no joint in common: still a head
    assert WARP(ramp(), maps(others), maps(target)).isfinite().all()


# ---- background


def test_what_is_uncovered_is_filled_from_around_and_the_rest_stays():
    source = torch.full((1, 3, *SIZE), 0.3)
    narrow = lean(SPREAD, angle=0, scale=0.4, to=(64.0, 14.0))
    source[:, :, 40:90, 4:24] = -0.8  # somebody in front of a wall
    moved = lean(SPREAD, angle=0, scale=0.4, to=(64.0, 50.0))
    image = WARP(source, maps(narrow), maps(moved))[0]
    # 1.1 before; 0.46 if what clings to the parts were taken for background
    assert (image[:, 62, 14] - 0.3).abs().max() < 0.32
    assert (image[:, 60, 50] + 0.8).abs().max() < 1e-4
    assert torch.equal(image[:, 110:], source[0, :, 110:])


def test_filling_is_an_average_of_what_is_trusted():
    image = torch.rand(2, 3, 20, 14, generator=torch.Generator().manual_seed(0))
    trusted = torch.ones(2, 1, 20, 14)
    trusted[:, :, 5:15, 4:10] = 0
    spoiled = torch.where(trusted > 0, image, torch.tensor(7.0))
    filled = fill(image, trusted)
    torch.testing.assert_close(filled, fill(spoiled, trusted), atol=1e-3, rtol=0)
    for picture, middle in zip(image, filled, strict=True):
        assert (middle.amin((1, 2)) >= picture.amin((1, 2)) - 1e-3).all()
        assert (middle.amax((1, 2)) <= picture.amax((1, 2)) + 1e-3).all()
    torch.testing.assert_close(fill(torch.full_like(image, 0.25), trusted), torch.full_like(image, 0.25))
    torch.testing.assert_close(fill(image.flip(3), trusted.flip(3)), filled.flip(3), atol=1e-5, rtol=0)


def test_no_pixel_to_be_trusted_still_gives_a_picture():
    assert fill(torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 1, 8, 8)).sub(0.5).abs().max() < 1e-5


# ---- whole pictures


@pytest.fixture(scope="module")
def held_out(pedestrians):
    """Pixels and joints of the test people, and pairs of one person in one camera."""
    records = read_folder(pedestrians / "bounding_box_test")
    points = keypoints.read_annotation(pedestrians / "market-annotation-test.csv")
    records = keypoints.usable(records, points)
    pairs = Pairs([record.pid for record in records], [record.camid for record in records]).draw(0, 0, 16)
    pixels, joints = images.read_images(records), keypoints.stack(records, points)
    return [torch.from_numpy(values[pairs[:, side]]) for values in (pixels, joints) for side in (0, 1)]


def test_the_warp_beats_the_copy_on_held_out_people(held_out):
    source, target, source_points, target_points = held_out
    image = WARP(from_uint8(source), render(source_points, SIZE), render(target_points, SIZE))
    warped, copied = l1(to_uint8(image), target), l1(source, target)
    assert warped.mean() < 0.92 * copied.mean()
    assert (warped < copied).double().mean() > 0.8


def test_the_sources_own_pose_nearly_gives_it_back(held_out):
    source, _, points, _ = held_out
    source_map = render(points, SIZE)
    image = to_uint8(WARP(from_uint8(source), source_map, source_map))
    assert l1(image, source).mean() < 3
    axes = find_axes(points)
    for index in range(len(source)):
        row, column = (axes.start[index, 5] + axes.direction[index, 5] * axes.torso[index] / 2).round().long()
        change = image[index, row, column].int() - source[index, row, column].int()
        assert change.abs().max() <= 1  # inside a part nothing but rounding


def test_an_image_does_not_depend_on_its_batch_and_inputs_stay(held_out):
    source, _, source_points, target_points = held_out
    given = [from_uint8(source[:4]), render(source_points[:4], SIZE), render(target_points[:4], SIZE)]
    given[1][2, 5] = 0  # one without its left shoulder
    kept = [tensor.clone() for tensor in given]
    batch = WARP(*given)
    assert all(map(torch.equal, given, kept))
    alone = torch.cat([WARP(*(tensor[i, None] for tensor in given)) for i in range(4)])
    torch.testing.assert_close(batch, alone, atol=1e-5, rtol=0)
    assert torch.equal(batch, WARP(*given))
    index = torch.tensor([1, 1, 0])
    reposed = WARP.repose(given[0], given[1], given[2][:3], index)
    torch.testing.assert_close(reposed[1], batch[1], atol=1e-5, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(WARP(*given), batch, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(3, 3), (37, 21), (64, 32), (256, 176)])
def test_any_size_and_any_maps_give_a_picture(size):
    rng = torch.Generator().manual_seed(0)
    points = torch.rand(4, 18, 2, generator=rng) * torch.tensor(size)
    points[0] = points[0, :1]  # everybody's joints in one place
    points[1] = torch.nan
    source = torch.rand(2, 3, *size, generator=rng) * 2 - 1
    for model in (WARP, Copy(CopyConfig())):
        image = model(source, render(points[:2], size), render(points[2:], size))
        assert image.shape == source.shape
        assert image.isfinite().all()
        assert image.abs().max() <= 1


# ---- the copy, configurations


def test_the_copy_is_the_source_and_its_own():
    source = torch.rand(2, 3, 5, 7)
    pose = torch.zeros(2, 4, 5, 7)
    image = Copy(CopyConfig(pose_channels=4))(source, pose, pose)
    assert torch.equal(image, source)
    assert image.data_ptr() != source.data_ptr()


def test_presets_are_all_the_same_and_nothing_learns():
    for presets in (COPY_PRESETS, WARP_PRESETS):
        assert presets.keys() == {"market", "deepfashion", "tiny"}
        assert len(set(presets.values())) == 1
    for generator in (Copy(COPY_PRESETS["tiny"]), Warp(WARP_PRESETS["tiny"])):
        assert (list(generator.parameters()), generator.stride, generator.pose_map) == ([], 1, "gaussian")


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"pose_channels=17: the warp knows.*copy baseline"):
        WarpConfig(pose_channels=17)
    with pytest.raises(ValueError, match="pose_channels=0: expected at least 1"):
        CopyConfig(pose_channels=0)
    source, few = torch.zeros(1, 3, 8, 8), torch.zeros(1, 5, 8, 8)
    for model in (WARP, Copy(CopyConfig())):
        with pytest.raises(ValueError, match="5 channels, but the network has 18"):
            model(source, few, few)
    with pytest.raises(ValueError, match="pose maps of 2x8 pixels: reading joints takes at least 3x3"):
        WARP(source[:, :, :2], *[torch.zeros(1, 18, 2, 8)] * 2)
