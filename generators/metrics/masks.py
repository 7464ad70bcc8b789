"""Where a person is, as far as the key points tell: the body mask of PATN's mask-SSIM.

Zhu et al., CVPR 2019 (arXiv 1904.03349), after the masks of PG2 (Ma et al., NIPS 2017).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Points = Float[Tensor, "m 2"]  # row, column

RADIUS = 4  # pixels: half the width of a limb, and the reach of a joint
CLOSING = 5  # pixels: side of the square that closes the gaps
# Pairs of OpenPose-18 joints: PATN's list, which also connects shoulders with hips and the two ears.
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (1, 16), (1, 17), (8, 11), (11, 5), (8, 2), (16, 17),
)  # fmt: skip


def patn_body_mask(points: Float[Tensor, "b 18 2"], size: tuple[int, int]) -> Bool[Tensor, "b h w"]:
    """Cover the body of key points (row, column) in pixels, NaN where missing.

    Each limb with both ends is a rectangle of half-width 4, each joint a disc of the pixels nearer than 4; then a
    dilation and an erosion by a square of 5x5 pixels.
    """
    points = points.to(torch.float64)
    present = ~points.isnan().any(2)
    points = points.nan_to_num()
    rows = torch.arange(size[0], dtype=points.dtype, device=points.device)[:, None]
    columns = torch.arange(size[1], dtype=points.dtype, device=points.device)
    mask = torch.zeros(len(points), *size, dtype=torch.bool, device=points.device)
    for joint in range(points.shape[1]):
        row, column = points[:, joint, :, None, None].unbind(1)
        mask |= ((rows - row) ** 2 + (columns - column) ** 2 < RADIUS**2) & present[:, joint, None, None]
    for start, end in LIMBS:
        both = (present[:, start] & present[:, end])[:, None, None]
        row, column = points[:, start, :, None, None].unbind(1)
        down, right = (points[:, end] - points[:, start])[..., None, None].unbind(1)
        length = down**2 + right**2  # squared; where both joints fall together there are only their discs
        along = (rows - row) * down + (columns - column) * right
        off = ((rows - row) * right - (columns - column) * down) ** 2 - RADIUS**2 * length
        beside = (along >= 0) & (along <= length) & (length > 0) & both
        mask |= beside & (off < 0)
        image, *pixel = (beside & (off == 0)).nonzero().unbind(1)
        mask[image, *pixel] |= _touches(points[image, start], points[image, end], torch.stack(pixel, 1))
    return _close(mask)


def _touches(start: Points, end: Points, pixels: Int[Tensor, "m 2"]) -> Bool[Tensor, " m"]:
    """Whether pixels exactly on a long side of a limb's rectangle belong to it, as PATN's code has it.

    There the rounding of the corners decides, in the crossings of a ray with the sides (O'Rourke, Computational
    Geometry in C, 1998, section 7.4, by way of scikit-image).
    """
    across = (start - end).flip(1) * start.new_tensor([-1, 1])
    across = RADIUS * across / across.square().sum(1, keepdim=True).sqrt()
    corners = torch.stack([start + across, start - across, end - across, end + across], 1) - pixels[:, None]
    y0, x0 = corners.unbind(2)
    y1, x1 = corners.roll(1, 1).unbind(2)
    crossing = (x0 * y1 - x1 * y0) / (y1 - y0)
    right = (((y0 > 0) != (y1 > 0)) & (crossing > 0)).sum(1) % 2
    left = (((y0 < 0) != (y1 < 0)) & (crossing < 0)).sum(1) % 2
    corner = (corners.abs() < 1e-12).all(2).any(1)
    return corner | (right != left) | (right == 1)


def _close(mask: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """Dilation, then erosion; what lies outside the image neither grows nor shrinks anything."""
    dilated = F.max_pool2d(mask.to(torch.float32), CLOSING, stride=1, padding=CLOSING // 2)
    return -F.max_pool2d(-dilated, CLOSING, stride=1, padding=CLOSING // 2) > 0.5
