"""The body mask equals that of PATN's authors, pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from generators.metrics.masks import patn_body_mask
from tests.reference.body_mask import body_mask

GOLDEN = load_file(Path(__file__).parents[2] / "golden" / "pose_heatmaps.safetensors")
SIZE = (128, 64)


def points_of(keypoints):
    points = keypoints.to(torch.float32)
    return points.masked_fill((points == -1).any(-1, keepdim=True), torch.nan)


def test_masks_of_the_authors():
    masks = patn_body_mask(points_of(GOLDEN["keypoints_yx"]), SIZE)
    for case in range(3):
        assert torch.equal(masks[case], GOLDEN[f"patn_body_mask.case{case}"].bool())


@pytest.mark.parametrize("step", [1, 4], ids=["anywhere", "limbs in few directions, sides on pixels"])
def test_the_slow_twin(step):
    rng = np.random.default_rng(step)
    keypoints = rng.integers(0, np.array(SIZE) // step, (40, 18, 2)) * step
    keypoints[rng.random((40, 18)) < 0.2] = -1
    points = points_of(torch.from_numpy(keypoints))
    expected = np.stack([body_mask(person, SIZE) for person in points.double().numpy()])
    assert torch.equal(patn_body_mask(points, SIZE), torch.from_numpy(expected))


def test_nobody_has_an_empty_mask_and_one_joint_a_disc():
    points = torch.full((2, 18, 2), torch.nan)
    points[1, 7] = torch.tensor([20.0, 30.0])
    nobody, one = patn_body_mask(points, SIZE)
    assert not nobody.any()
    rows, columns = one.nonzero().sub(torch.tensor([20, 30])).unbind(1)
    assert len(rows) == 45  # whole offsets nearer than 4
    assert (rows**2 + columns**2).max() == 3**2 + 2**2  # the next offset, (4, 0), is not nearer than 4


def test_a_level_limb_is_a_rectangle_with_round_ends():
    points = torch.full((1, 18, 2), torch.nan)
    points[0, 2], points[0, 3] = torch.tensor([50.0, 20.0]), torch.tensor([50.0, 40.0])
    mask = patn_body_mask(points, SIZE)[0]
    assert mask[46:55, 20:41].all()  # half-width 4, both sides included
    assert not mask[45].any()
    assert not mask[55].any()
    assert mask[50].nonzero().squeeze(1).tolist() == list(range(17, 44))
