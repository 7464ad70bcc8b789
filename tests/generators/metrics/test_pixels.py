"""Errors of single pixels against arithmetic and scikit-image."""

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from generators.metrics.pixels import l1, psnr


def noise(count, seed):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 8, 6, 3), generator=rng, dtype=torch.uint8)


def test_in_closed_form():
    generated = torch.zeros(3, 2, 2, 3, dtype=torch.uint8)
    generated[1], generated[2, 0] = 255, 51  # everything off by the whole range; half of it by a fifth
    real = torch.zeros_like(generated)
    assert l1(generated, real).tolist() == [0, 255, 51 / 2]
    assert psnr(generated, real).tolist() == pytest.approx([math.inf, 0, 10 * math.log10(2 * 25)])


def test_differences_do_not_wrap_around_and_have_no_sign():
    dark, bright = (torch.full((1, 2, 2, 3), value, dtype=torch.uint8) for value in (1, 254))
    assert l1(dark, bright).item() == l1(bright, dark).item() == 253
    assert psnr(dark, bright) == psnr(bright, dark)


def test_psnr_as_scikit_image():
    generated, real = noise(4, 0), noise(4, 1)
    pairs = zip(real.numpy() / 255, generated.numpy() / 255, strict=True)
    expected = torch.tensor([peak_signal_noise_ratio(r, g, data_range=1) for r, g in pairs]).double()
    torch.testing.assert_close(psnr(generated, real), expected, atol=1e-12, rtol=0)


def test_an_image_does_not_depend_on_its_batch():
    generated, real = noise(4, 0), noise(4, 1)
    for metric in (l1, psnr):
        alone = torch.cat([metric(generated[i, None], real[i, None]) for i in range(4)])
        torch.testing.assert_close(metric(generated, real), alone, atol=1e-12, rtol=0)
