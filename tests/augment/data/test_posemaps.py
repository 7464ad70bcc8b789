"""Pose maps equal the authors' own values and a slow twin."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from augment.data.posemaps import render, scale_points
from tests.reference.heatmaps import heatmap

GOLDEN = load_file(Path(__file__).parents[2] / "golden" / "pose_heatmaps.safetensors")


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
