"""Pose maps equal the authors' own values and slow twins."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from augment.data.posemaps import BODY, body_mask, render, scale_points
from tests.reference.heatmaps import heatmap

GOLDEN = load_file(Path(__file__).parents[2] / "golden" / "pose_heatmaps.safetensors")
PG2 = load_file(Path(__file__).parents[2] / "golden" / "pg2_pose.safetensors")


def points_of(keypoints):
    """float32 (1, k, 2), NaN where the golden file has -1."""
    points = keypoints.float()
    points[(points == -1).any(dim=-1)] = torch.nan
    return points[None]


@pytest.mark.parametrize("case", [0, 3])
def test_whole_points_as_patn_and_dptn(case):
    maps = render(points_of(GOLDEN["keypoints_yx"][case]), (128, 64))[0]
    torch.testing.assert_close(maps.permute(1, 2, 0), GOLDEN[f"heatmap_sigma6.case{case}"], atol=1e-6, rtol=0)


def test_fractional_points_as_patn():
    maps = render(points_of(GOLDEN["float.keypoints_yx"]), (128, 64))[0]
    expected = GOLDEN["float.heatmap_patn_rows0to63_ch0to5"]
    torch.testing.assert_close(maps[:6, :64].permute(1, 2, 0), expected, atol=1e-6, rtol=0)
    assert (maps[:6, :64].permute(1, 2, 0) - GOLDEN["float.heatmap_dptn_rows0to63_ch0to5"]).abs().max() > 0.01


def test_points_of_another_size_keep_their_fraction():
    """DPTN truncates here and PATN does not: where nothing is cut off, both agree."""
    whole = GOLDEN["scaled.keypoints_yx_in_128x64"]
    scaled = scale_points(points_of(whole), (128, 64), (64, 32))
    maps = render(scaled, (64, 32))[0].permute(1, 2, 0)
    even = ((whole % 2 == 0).all(dim=-1)) | (whole == -1).any(dim=-1)
    assert even.any()
    torch.testing.assert_close(maps[..., even], GOLDEN["scaled.heatmap_64x32"][..., even], atol=1e-6, rtol=0)
    assert scale_points(torch.tensor([[[3.0, 5.0]]]), (128, 64), (64, 32)).tolist() == [[[1.5, 2.5]]]


def test_nobody_is_all_zero():
    assert render(points_of(GOLDEN["keypoints_yx"][4]), (128, 64)).abs().max() == 0


@pytest.mark.parametrize("missing", [(torch.nan, 3.0), (3.0, torch.nan)])
def test_a_joint_that_misses_one_coordinate_is_all_zero_and_the_others_are_not(missing):
    maps = render(torch.tensor([[missing, (3.0, 3.0)]]), (8, 8))[0]
    assert maps[0].abs().max() == 0
    assert maps[1].max() == 1
    assert maps.isfinite().all()


coordinate = st.one_of(st.just(float("nan")), st.floats(-20, 40, width=32))


@given(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=4), st.sampled_from([6.0, 2.5]))
def test_the_slow_twin(points, sigma):
    maps = render(torch.tensor([points], dtype=torch.float32), (12, 7), sigma)[0]
    expected = np.asarray([heatmap(*point, 12, 7, sigma) for point in points])
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-6)


def test_persons_of_a_batch_are_independent():
    batch = torch.rand(3, 18, 2, generator=torch.Generator().manual_seed(0)) * 60
    batch[1, 4] = torch.nan
    together = render(batch, (128, 64))
    for index in range(3):
        torch.testing.assert_close(together[index], render(batch[index : index + 1], (128, 64))[0], atol=0, rtol=0)


def test_maps_can_be_drawn_into_memory_that_is_there():
    points = points_of(GOLDEN["keypoints_yx"][0])
    for kind in ("gaussian", "disc"):
        memory = torch.full((1, 18, 128, 64), torch.nan)
        assert render(points, (128, 64), kind=kind, out=memory) is memory
        assert torch.equal(memory, render(points, (128, 64), kind=kind))


def test_the_tails_hold_no_subnormal_numbers():
    """They would make drawing several times slower."""
    maps = render(torch.tensor([[(0.0, 0.0), (127.0, 63.0)]]), (128, 64))
    assert maps.min() >= torch.finfo(torch.float32).tiny
    assert maps.min() < 1e-30


def test_other_kinds_are_refused():
    with pytest.raises(ValueError, match="pose maps 'square': expected one of gaussian, disc"):
        render(torch.zeros(1, 1, 2), (8, 8), kind="square")


@pytest.mark.parametrize("case", range(7))
def test_discs_as_pg2(case):
    maps = render(points_of(PG2["keypoints_yx"][case]), (128, 64), kind="disc")[0]
    assert torch.equal(maps, PG2[f"pose_disks_r4.case{case}"].float())


def test_discs_have_49_pixels_and_cut_fractions_off():
    assert render(torch.tensor([[(20.0, 30.0)]]), (64, 64), kind="disc").sum() == 49
    maps = render(points_of(PG2["float.keypoints_yx"]), (128, 64), kind="disc")[0]
    assert torch.equal(maps, PG2["float.pose_disks_r4"].float())


@pytest.mark.parametrize("radius", [4, 7])
def test_body_masks_of_a_batch_as_pg2(radius):
    everyone = torch.cat([points_of(person) for person in PG2["keypoints_yx"]])
    masks = body_mask(everyone, (128, 64), radius)
    for case, mask in enumerate(masks):
        assert torch.equal(mask[0], PG2[f"pose_mask_r{radius}.case{case}"].float()), case


def test_the_body_mask_of_fractional_points_as_pg2():
    mask = body_mask(points_of(PG2["float.keypoints_yx"]), (128, 64))
    assert torch.equal(mask[0, 0], PG2["float.pose_mask_r4"].float())


def test_limbs_of_the_body_in_openpose_numbers():
    numbers = """2-3 2-6 3-4 4-5 6-7 7-8 2-9 9-10 10-11 2-12 12-13 13-14 2-1 1-15 15-17 1-16 16-18 2-17 2-18 9-12 12-6
        9-3 17-18"""
    theirs = [tuple(int(number) - 1 for number in limb.split("-")) for limb in numbers.split()]
    assert sorted(BODY) == sorted(theirs)


def slow_discs(centres, height, width, radius=4):
    """Ones at most `radius` from a centre, whose fractions are cut off."""
    mask = np.zeros((height, width))
    for row, column in centres:
        for y in range(height):
            for x in range(width):
                if (y - int(row)) ** 2 + (x - int(column)) ** 2 <= radius**2:
                    mask[y, x] = 1
    return mask


def slow_body(points, height, width, radius=4):
    """Every limb stamped and closed, one pixel at a time."""
    centres = []
    for first, last in BODY:
        (r0, c0), (r1, c1) = points[first], points[last]
        if any(math.isnan(value) for value in (r0, c0, r1, c1)):
            continue
        count = int(math.hypot(r1 - r0, c1 - c0) / radius)
        centres += [(r0, c0), (r1, c1)]
        centres += [(r0 + (r1 - r0) * i / count, c0 + (c1 - c0) * i / count) for i in range(1, count)]
    mask = slow_discs(centres, height, width, radius)
    for extreme in (max, min):
        around = [[mask[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] for x in range(width)] for y in range(height)]
        mask = np.asarray([[extreme(part.flat) for part in row] for row in around])
    return mask


quarter = st.one_of(st.just(math.nan), st.integers(-20, 68).map(lambda value: value / 4))


@given(st.lists(st.tuples(quarter, quarter), min_size=1, max_size=3))
def test_the_slow_twin_of_discs(points):
    maps = render(torch.tensor([points], dtype=torch.float32), (14, 11), kind="disc")[0]
    for point, found in zip(points, maps, strict=True):
        seen = [] if any(map(math.isnan, point)) else [point]
        np.testing.assert_array_equal(found.numpy(), slow_discs(seen, 14, 11))


@settings(max_examples=30)
@given(st.lists(st.tuples(quarter, quarter), min_size=18, max_size=18), st.sampled_from([2, 4]))
def test_the_slow_twin_of_body_masks(points, radius):
    mask = body_mask(torch.tensor([points], dtype=torch.float32), (14, 11), radius)
    np.testing.assert_array_equal(mask[0, 0].numpy(), slow_body(points, 14, 11, radius))


def test_nobody_has_no_body_and_a_lonely_joint_leaves_no_trace():
    nobody = torch.full((1, 18, 2), torch.nan)
    assert body_mask(nobody, (128, 64)).max() == 0
    lonely = nobody.clone()
    lonely[0, 4] = torch.tensor([40.0, 30.0])
    assert body_mask(lonely, (128, 64)).max() == 0
    assert render(lonely, (128, 64), kind="disc").sum() == 49
    assert body_mask(nobody[:0], (128, 64)).shape == (0, 1, 128, 64)
