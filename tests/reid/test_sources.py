"""Image files: pixels, labels, and broken files that are named."""

import numpy as np
import pytest
from PIL import Image

from reid.sources import FileSource, ImageSource, cameras, identities


@pytest.fixture
def jpeg(tmp_path):
    path = tmp_path / "0002_c1s1_000451_03.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8)).save(path)
    return path


def test_pixels_and_labels(jpeg):
    source = FileSource([jpeg, jpeg], [2, 7], [1, 3])
    assert isinstance(source, ImageSource)
    assert len(source) == 2
    assert source.image(0).shape == (64, 32, 3)
    assert identities(source).tolist() == [2, 7]
    assert cameras(source).tolist() == [1, 3]


def test_grey_and_palette_images_become_rgb(tmp_path):
    for mode in ("L", "P", "RGBA"):
        Image.new(mode, (4, 8)).save(tmp_path / f"{mode}.png")
        assert FileSource([tmp_path / f"{mode}.png"], [1], [1]).image(0).shape == (8, 4, 3)


def test_a_cut_off_file_is_named(jpeg):
    jpeg.write_bytes(jpeg.read_bytes()[:600])
    with pytest.raises(ValueError, match=f"{jpeg.name}: cannot be read as an image"):
        FileSource([jpeg], [2], [1]).image(0)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.jpg: cannot be read"):
        FileSource([tmp_path / "absent.jpg"], [2], [1]).image(0)


def test_columns_of_different_lengths_are_an_error(jpeg):
    with pytest.raises(ValueError, match="1 paths, 2 identities, 1 cameras"):
        FileSource([jpeg], [2, 3], [1])
