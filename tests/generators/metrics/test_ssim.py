"""SSIM against scikit-image in each protocol, its algebra, and which of the two images is the generated one.

Each by OpenCV's filters, which every installation has, and by numba's code.
"""

from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from generators.metrics import ssim_compiled, ssim_filters
from generators.metrics.ssim import PROTOCOLS, mask_ssim, ssim, ssim_in_mask

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
OPTIONS = {"patn": GAUSSIAN, "standard": GAUSSIAN, "pg2": {}}
EVERY = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(autouse=True, params=[ssim_filters, ssim_compiled], ids=lambda module: module.__name__.split("_")[-1])
def windows(request, monkeypatch):
    """Whose arithmetic it is."""
    monkeypatch.setattr("generators.metrics.ssim.Windows", request.param.Windows)


def pictures(count, height=40, width=25, seed=0):
    """Soft random pictures of different contrast, and noisy versions of them."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, height // 4, width // 4)))
    contrast = torch.from_numpy(rng.uniform(0.1, 1, (count, 1, 1, 1)))
    smooth = 60 + contrast * (torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear") - 60)
    noisy = smooth + 20 * torch.from_numpy(rng.standard_normal(smooth.shape))
    return tuple(images.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous() for images in (smooth, noisy))


def oracle(generated, real, protocol, full=False):
    """scikit-image's value, or its map averaged over the channels."""
    levels = int(generated.max()) - int(generated.min()) if protocol == "patn" else 255
    options = {"channel_axis": 2, "data_range": levels, "full": full, **OPTIONS[protocol]}
    found: Any = structural_similarity(real.numpy(), generated.numpy(), **options)
    return found[1].mean(2) if full else found


# ---- scikit-image


@EVERY
@pytest.mark.parametrize("size", [(40, 25), (11, 11), (33, 70)])
def test_whole_images_as_scikit_image(protocol, size):
    generated, real = pictures(5, *size)
    expected = torch.tensor([oracle(g, r, protocol) for g, r in zip(generated, real, strict=True)])
    torch.testing.assert_close(ssim(generated, real, protocol), expected.double(), atol=1e-12, rtol=0)


@EVERY
def test_where_flat_areas_are_white_or_differ_as_scikit_image(protocol):
    """Variances that vanish beside the squares of the means are what costs digits."""
    generated, real = (images.clone() for images in pictures(3, 128, 64))
    for images in (generated, real):
        images[:, :, :20] = images[:, 100:] = 255
    generated[:, 30:90], real[:, 30:90] = 250, 5
    expected = torch.tensor([oracle(g, r, protocol) for g, r in zip(generated, real, strict=True)])
    torch.testing.assert_close(ssim(generated, real, protocol), expected.double(), atol=1e-12, rtol=0)


@EVERY
def test_masked_images_as_scikit_image(protocol):
    generated, real = pictures(3)
    mask = torch.zeros(3, 40, 25, dtype=torch.bool)
    mask[:, 8:30, 5:20] = True
    pairs = zip(generated * mask[..., None], real * mask[..., None], strict=True)
    expected = torch.tensor([oracle(g, r, protocol) for g, r in pairs]).double()
    torch.testing.assert_close(mask_ssim(generated, real, mask, protocol), expected, atol=1e-12, rtol=0)
    assert torch.equal(ssim(generated, real, protocol, mask), mask_ssim(generated, real, mask, protocol))


@EVERY
def test_inside_a_mask_as_scikit_images_map(protocol):
    generated, real = pictures(3)
    mask = torch.rand(3, 40, 25, generator=torch.Generator().manual_seed(0)) > 0.7
    mask[:, :3] = True  # at the border too, where windows see the image mirrored
    maps = [torch.from_numpy(oracle(g, r, protocol, full=True)) for g, r in zip(generated, real, strict=True)]
    expected = torch.stack([values[inside].mean() for values, inside in zip(maps, mask, strict=True)])
    torch.testing.assert_close(ssim_in_mask(generated, real, mask, protocol), expected, atol=1e-12, rtol=0)


# ---- algebra


@EVERY
def test_equal_images_are_perfectly_similar(protocol):
    images = pictures(3)[0]
    ones = torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(ssim(images, images, protocol), ones, atol=1e-12, rtol=0)
    everything = torch.ones(3, 40, 25, dtype=torch.bool)
    torch.testing.assert_close(ssim_in_mask(images, images, everything, protocol), ones, atol=1e-12, rtol=0)


@pytest.mark.parametrize("protocol", ["standard", "pg2"])
def test_the_order_does_not_matter_where_the_data_range_is_fixed(protocol):
    first, second = pictures(3)
    torch.testing.assert_close(ssim(first, second, protocol), ssim(second, first, protocol), atol=1e-12, rtol=0)


def test_patn_takes_the_data_range_of_the_first_image():
    """A grey generated image is forgiven less than one whose contrast is that of its real image."""
    grey, rich = pictures(4)[0] // 8 + 100, pictures(4, seed=1)[1]
    assert (ssim(grey, rich, "patn") - ssim(rich, grey, "patn")).abs().min() > 0.01
    levels = [int(image.max()) - int(image.min()) for image in grey]
    expected = [
        structural_similarity(r.numpy(), g.numpy(), channel_axis=2, data_range=level, **GAUSSIAN)
        for g, r, level in zip(grey, rich, levels, strict=True)
    ]
    torch.testing.assert_close(ssim(grey, rich, "patn"), torch.tensor(expected).double(), atol=1e-12, rtol=0)


@EVERY
def test_more_noise_is_less_similar(protocol):
    real = pictures(3)[0]
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    noisy = [(real + strength * noise).clamp(0, 255).to(torch.uint8) for strength in (0, 5, 20, 80)]
    similarities = torch.stack([ssim(images, real, protocol) for images in noisy])
    assert (similarities.diff(dim=0) < -0.01).all()


@EVERY
def test_constant_images_in_closed_form(protocol):
    """Without variance only the means are compared; patn's data range of a constant image counts as one level."""
    levels = 1 if protocol == "patn" else 255
    c1 = (0.01 * levels) ** 2
    images = [torch.full((1, 16, 16, 3), value, dtype=torch.uint8) for value in (50, 200, 0)]
    expected = (2 * 50 * 200 + c1) / (50**2 + 200**2 + c1)
    assert ssim(images[0], images[1], protocol).item() == pytest.approx(expected, abs=1e-6)
    assert ssim(images[2], images[1], protocol).item() == pytest.approx(c1 / (200**2 + c1), abs=1e-6)
    assert ssim(images[2], images[2], protocol).item() == 1


def test_what_is_black_in_both_counts_as_similar_in_mask_ssim_only():
    generated, real = pictures(2)[0], pictures(2, seed=5)[0]
    mask = torch.zeros(2, 40, 25, dtype=torch.bool)
    mask[:, 15:25, 8:16] = True
    assert (mask_ssim(generated, real, mask) > ssim_in_mask(generated, real, mask) + 0.3).all()
    mask[1] = False
    assert mask_ssim(generated, real, mask)[1] == 1
    assert ssim_in_mask(generated, real, mask).isnan().tolist() == [False, True]


# ---- batches, mistakes


@EVERY
def test_an_image_does_not_depend_on_its_batch(protocol):
    generated, real = pictures(5)
    alone = torch.cat([ssim(generated[i, None], real[i, None], protocol) for i in range(5)])
    assert torch.equal(ssim(generated, real, protocol), alone)
    assert ssim(generated[:0], real[:0], protocol).shape == (0,)


@EVERY
@pytest.mark.parametrize("threads", [2, 3, 50])
def test_threads_share_the_images_out(protocol, threads):
    generated, real = pictures(5)
    mask = torch.rand(5, 40, 25, generator=torch.Generator().manual_seed(0)) > 0.7
    expected = ssim(generated, real, protocol), ssim_in_mask(generated, real, mask, protocol)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = ssim(generated, real, protocol), ssim_in_mask(generated, real, mask, protocol)
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, found, expected))


def test_inputs_are_not_changed():
    generated, real = pictures(2)
    kept = generated.clone(), real.clone()
    mask_ssim(generated, real, torch.zeros(2, 40, 25, dtype=torch.bool))
    assert torch.equal(generated, kept[0])
    assert torch.equal(real, kept[1])


def test_mistakes_are_named():
    images = torch.zeros(1, 10, 30, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="protocol 'ssim_256': expected one of patn, standard, pg2"):
        ssim(images, images, "ssim_256")
    with pytest.raises(ValueError, match="10x30 pixels are smaller than the window of SSIM protocol patn, 11x11"):
        ssim(images, images)
    assert ssim(images, images, "pg2").item() == 1
