"""The two conversions between grey levels and network images."""

import torch

from generators.tensors import from_uint8, to_uint8

LEVELS = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(1, 16, 16, 3)


def test_every_level_survives_the_round_trip():
    assert torch.equal(to_uint8(from_uint8(LEVELS)), LEVELS)


def test_levels_are_scaled_as_by_the_published_networks():
    expected = (LEVELS.permute(0, 3, 1, 2).double() / 255 - 0.5) / 0.5
    assert (from_uint8(LEVELS).double() - expected).abs().max() < 1e-7
    assert from_uint8(LEVELS).aminmax() == (-1, 1)


def test_channels_move_and_pixels_stay():
    pixels = torch.randint(0, 256, (2, 5, 4, 3), dtype=torch.uint8)
    images = from_uint8(pixels)
    assert images.shape == (2, 3, 5, 4)
    assert images.is_contiguous()
    assert images[1, 2, 3, 0] == pixels[1, 3, 0, 2] / 127.5 - 1
    assert to_uint8(images).is_contiguous()


def test_values_outside_the_range_are_clamped_not_wrapped():
    images = torch.tensor([-3.0, -1.001, 1.001, 3.0]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert to_uint8(images)[0, ..., 0].flatten().tolist() == [0, 0, 255, 255]


def test_ties_go_to_the_even_level_and_inputs_stay_untouched():
    images = torch.zeros(1, 3, 1, 1)  # exactly 127.5
    assert to_uint8(images).unique().tolist() == [128]
    assert images.eq(0).all()


def test_half_precision_images_round_as_their_float_values():
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    assert torch.equal(to_uint8(images), to_uint8(images.float()))
