"""Pose maps of key points: a Gaussian (PATN, DPTN) or a disc (PG2) for each joint, and PG2's mask of the whole body.

PATN: Zhu et al., CVPR 2019 (arXiv 1904.03349). DPTN: Zhang et al., CVPR 2022 (arXiv 2203.02910). PG2: Ma et al., NIPS
2017 (arXiv 1705.09368). Maps are drawn when they are needed, because 18 of them take 590 kB at 128x64.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from augment.data import keypoints

SIGMA = 6.0  # of the Gaussians, in pixels
RADIUS = 4  # of the discs, in pixels
KINDS = ("gaussian", "disc")

# The pairs of joints that PG2's body mask fills: the skeleton, its sides and hips closed, and the head.
BODY = (*keypoints.LIMBS, (1, 16), (1, 17), (8, 11), (11, 5), (8, 2), (16, 17))

# exp(-40) is nothing beside 1, and the product of two such factors is still a normal number: the subnormal ones, in
# which the tails of a Gaussian end, take processors several times longer.
LOWEST_EXPONENT = -40.0


def render(
    points: Float[Tensor, "b k 2"],
    size: tuple[int, int],
    sigma: float = SIGMA,
    kind: str = "gaussian",
    out: Float[Tensor, "b k h w"] | None = None,
) -> Float[Tensor, "b k h w"]:
    """Draw each joint (row, column), in pixels of `size` (h, w), into a channel of its own; values lie in [0, 1].

    gaussian: exp(-((y - row)^2 + (x - column)^2) / (2 sigma^2)). disc: 1 on the 49 pixels at most RADIUS away from the
    joint, whose fractions are cut off first, as in PG2's code. A missing joint (NaN in either coordinate) is an
    all-zero channel. Maps are drawn into `out` where it is given: from some 60 persons on, the system otherwise takes
    longer to hand out the memory than we to fill it.

    Raises:
        ValueError: another kind.
    """
    maps = points.new_empty(*points.shape[:2], *size) if out is None else out
    match kind:
        case "gaussian":
            # Separable: h + w exponentials a joint instead of h * w.
            exponents = _squared_distances(points, size).mul_(-1 / (2 * sigma**2)).clamp_(min=LOWEST_EXPONENT)
            rows, columns = exponents.exp_().nan_to_num_().unbind(dim=2)
            return torch.mul(rows[..., : size[0], None], columns[..., None, : size[1]], out=maps)
        case "disc":
            rows, columns = _squared_distances(points.trunc(), size).unbind(dim=2)
            return torch.le(rows[..., : size[0], None], RADIUS**2 - columns[..., None, : size[1]], out=maps)
    raise ValueError(f"pose maps {kind!r}: expected one of {', '.join(KINDS)}")


def body_mask(points: Float[Tensor, "b 18 2"], size: tuple[int, int], radius: int = RADIUS) -> Float[Tensor, "b 1 h w"]:
    """1 on the body and 0 elsewhere: PG2's mask, in pixels of `size` (h, w).

    Each limb of BODY whose two joints are present is stamped with discs, at both ends and every `radius` pixels or a
    little more in between; a closing with a 5x5 square fills the cracks. A joint without a complete limb leaves no
    trace. No limb may be longer than twice the image's diagonal: asking for the longest would halt a GPU.
    """
    height, width = size[0] + 2 * radius, size[1] + 2 * radius  # a margin for discs that are partly outside
    stamps = _stamps(points, radius, longest=2 * math.hypot(*size)) + radius
    seen = ((stamps >= 0) & (stamps < stamps.new_tensor([height, width]))).all(dim=-1)  # not so where NaN
    cells = torch.where(seen, stamps[..., 0] * width + stamps[..., 1], height * width).long()
    canvas = torch.zeros(len(points), height * width + 1, dtype=torch.uint8, device=points.device)
    canvas = canvas.scatter_(1, cells, 1)[:, :-1].view(-1, height, width)
    discs = _dilate(canvas, [math.isqrt(radius**2 - distance**2) for distance in range(radius + 1)])
    discs = discs[:, radius : radius + size[0], radius : radius + size[1]]
    closed = 1 - _dilate(1 - _dilate(discs, (2, 2, 2)), (2, 2, 2))
    return closed[:, None].to(points.dtype)


def scale_points(points: Float[Tensor, "b k 2"], old: tuple[int, int], new: tuple[int, int]) -> Float[Tensor, "b k 2"]:
    """Move key points from an image of size `old` (h, w) to one of size `new`, keeping fractions (PATN)."""
    return points * points.new_tensor([new[0] / old[0], new[1] / old[1]])


def _squared_distances(points: Float[Tensor, "b k 2"], size: tuple[int, int]) -> Float[Tensor, "b k 2 n"]:
    """Of every pixel's row, then column, to the joint's; the grid is long enough for both."""
    grid = torch.arange(max(size), dtype=points.dtype, device=points.device)
    return (grid - points[..., None]).square_()


def _stamps(points: Float[Tensor, "b 18 2"], radius: int, longest: float) -> Float[Tensor, "b n 2"]:
    """The centres of the discs that fill the limbs, whole pixels; NaN where there is nothing to stamp."""
    limbs = points[:, torch.tensor(BODY, device=points.device)]
    first, last = limbs[:, :, None].unbind(dim=3)
    way = last - first
    steps = (way.norm(dim=-1, keepdim=True) / radius).trunc().nan_to_num().clamp(min=1)
    stops = torch.arange(int(longest / radius) + 1, dtype=points.dtype, device=points.device)[:, None]
    between = torch.where(stops < steps, first + way * stops / steps, torch.nan)
    return torch.where(stops == steps, last + 0 * way, between).trunc().flatten(1, 2)


def _dilate(mask: UInt8[Tensor, "b h w"], reaches: Sequence[int]) -> UInt8[Tensor, "b h w"]:
    """Spread each 1 over the pixels up to reaches[d] columns away in the rows d above and below it."""
    widened = [mask]
    for reach in range(1, max(reaches) + 1):
        widened.append(_with_shifted(widened[-1], mask, reach, dim=2))
    spread = widened[reaches[0]]
    for distance, reach in enumerate(reaches[1:], 1):
        spread = _with_shifted(spread, widened[reach], distance, dim=1)
    return spread


def _with_shifted(
    base: UInt8[Tensor, "b h w"], mask: UInt8[Tensor, "b h w"], distance: int, dim: int
) -> UInt8[Tensor, "b h w"]:
    """`base` together with `mask` moved by `distance` either way along `dim`."""
    both, length = base.clone(), mask.shape[dim] - distance
    both.narrow(dim, distance, length).bitwise_or_(mask.narrow(dim, 0, length))
    both.narrow(dim, 0, length).bitwise_or_(mask.narrow(dim, distance, length))
    return both
