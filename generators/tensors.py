"""The shape vocabulary of this package, and the one pair of conversions between stored pixels and network images.

Axis legend: b batch, c channels, d channels that come out, k pose channels (key points), h height, w width,
n tokens (h * w, row-major), m tokens of the source that the n tokens attend to.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

Pixels = UInt8[Tensor, "b h w 3"]
Images = Float[Tensor, "b 3 h w"]  # [-1, 1]
PoseMaps = Float[Tensor, "b k h w"]  # [0, 1]
Maps = Float[Tensor, "b c h w"]
Tokens = Float[Tensor, "b n c"]
SourceTokens = Float[Tensor, "b m c"]


def from_uint8(pixels: Pixels) -> Images:
    """Scale grey levels 0..255 to [-1, 1], channels first, float32."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1)


def to_uint8(images: Images) -> Pixels:
    """Round to the nearest grey level (ties to even), channels last; values outside [-1, 1] are clamped."""
    levels = images.float().add(1).mul_(127.5).round_().clamp_(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
