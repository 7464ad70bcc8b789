"""Sharpness: the variance of the Laplacian of the luminance."""

import cv2
import numpy as np
import pytest
from PIL import Image

from augment.data.images import read_image
from augment.data.sharpness import sharpness


def test_it_is_the_variance_of_the_laplacian_of_the_luminance():
    image = np.random.default_rng(0).integers(0, 256, (20, 12, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(image).convert("L")).astype(int)  # BT.601's luminance, as cv2's to a level
    padded = np.pad(grey, 1, mode="reflect")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * padded[1:-1, 1:-1]
    assert sharpness(image) == pytest.approx(laplacian.var(), rel=0.01)


def test_known_values():
    flat = np.full((8, 8, 3), 77, dtype=np.uint8)
    assert sharpness(flat) == 0
    rows = np.repeat(np.arange(8, dtype=np.uint8), 8).reshape(8, 8, 1).repeat(3, axis=2)
    ramp = [2, 0, 0, 0, 0, 0, 0, -2]  # nothing within a ramp; at the ends both neighbours lie on one side
    assert sharpness(rows) == pytest.approx(np.var(ramp))
    stripes = np.tile(np.asarray([0, 10], dtype=np.uint8), 4)[:, None, None].repeat(8, axis=1).repeat(3, axis=2)
    assert sharpness(stripes) == (2 * 10) ** 2


def test_blur_lowers_it_and_a_mirrored_image_is_as_sharp(pedestrians):
    for path in sorted((pedestrians / "bounding_box_train").glob("*.jpg"))[:5]:
        image = read_image(path)
        blurred = [sharpness(cv2.GaussianBlur(image, (0, 0), sigma)) for sigma in (0.7, 1.5, 3)]
        assert sharpness(image) > blurred[0] > blurred[1] > blurred[2]
        assert sharpness(np.ascontiguousarray(image[:, ::-1])) == pytest.approx(sharpness(image), rel=1e-9)


def test_it_sees_light_not_colour():
    """Red and green of one luminance: an edge in colour alone is none."""
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[:, :4, 0], image[:, 4:, 1] = 255, 130  # 0.299 * 255 = 0.587 * 130 to a level
    assert sharpness(image) < 1
