"""What saving does to a generated image: nothing but rounding, or what the published test scripts do."""

import io

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from generators.tensors import Images, to_uint8

WAYS = ("lossless", "jpeg")
QUALITY = 75  # of JPEG: Pillow's default


def saved(images: Images, way: str) -> UInt8[np.ndarray, "b h w 3"]:
    """The images as who opens the files sees them.

    lossless: rounded to the nearest grey level. jpeg: fractions cut off, then JPEG of Pillow's default quality, as the
    test scripts of DPTN and GFLA have it.
    """
    if way == "lossless":
        return to_uint8(images).cpu().numpy()
    assert way == "jpeg", way
    levels = images.float().add(1).div(2).mul(255).clamp(0, 255).to(torch.uint8)
    return np.stack([_through_jpeg(image) for image in levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()])


def _through_jpeg(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    with Image.open(buffer) as image:
        return np.asarray(image.convert("RGB"))
