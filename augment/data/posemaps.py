"""Pose maps: one Gaussian per joint, rendered where the tensors live (PATN and DPTN: sigma 6 pixels, no cut-off)."""

import torch
from jaxtyping import Float
from torch import Tensor

SIGMA = 6.0


def render(points: Float[Tensor, "b k 2"], size: tuple[int, int], sigma: float = SIGMA) -> Float[Tensor, "b k h w"]:
    """Draw exp(-((y - py)^2 + (x - px)^2) / (2 sigma^2)) for key points (row, column) in pixels of `size` (h, w).

    Values lie in [0, 1]; a missing joint (NaN in either coordinate) is an all-zero channel. The Gaussian is separable:
    h + w exponentials a joint instead of h * w.
    """
    present = ~points.isnan().any(dim=-1)
    rows, columns = points.nan_to_num().unbind(dim=-1)
    vertical = _profile(rows, size[0], sigma) * present[..., None]
    horizontal = _profile(columns, size[1], sigma)
    return vertical[..., :, None] * horizontal[..., None, :]


def scale_points(points: Float[Tensor, "b k 2"], old: tuple[int, int], new: tuple[int, int]) -> Float[Tensor, "b k 2"]:
    """Move key points from an image of size `old` (h, w) to one of size `new`, keeping fractions (PATN)."""
    return points * points.new_tensor([new[0] / old[0], new[1] / old[1]])


def _profile(centres: Float[Tensor, "b k"], length: int, sigma: float) -> Float[Tensor, "b k n"]:
    positions = torch.arange(length, dtype=centres.dtype, device=centres.device)
    return torch.exp(-((positions - centres[..., None]) ** 2) / (2 * sigma**2))
