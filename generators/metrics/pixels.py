"""Errors of single pixels: mean absolute error and peak signal-to-noise ratio, one number an image."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from generators.tensors import Pixels


def l1(generated: Pixels, real: Pixels) -> Float[Tensor, " b"]:
    """Mean absolute error in grey levels (0 to 255), float64."""
    return _difference(generated, real).abs().to(torch.float64).mean((1, 2, 3))


def psnr(generated: Pixels, real: Pixels) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in decibels of the images scaled to [0, 1], float64; infinite for equal images."""
    squares = (_difference(generated, real).to(torch.float64) / 255).square_().mean((1, 2, 3))
    return -10 * squares.log10()


def _difference(generated: UInt8[Tensor, "*shape"], real: UInt8[Tensor, "*shape"]) -> Tensor:
    return generated.to(torch.int16) - real.to(torch.int16)
