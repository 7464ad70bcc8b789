"""Decoding: pixels as they are, and every kind of broken file by its name."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment.data.images import glance, read_image, read_images, require_readable
from augment.data.records import Record


def picture(height=32, width=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def deep_png(path, kind):
    """A grey or coloured PNG with or without alpha, of 16 bits a channel."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    values = np.random.default_rng(0).integers(0, 65536, (32, 16 * channels)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 16, 32, 16, kind, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    path.write_bytes(data)


@pytest.fixture
def jpeg(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.jpg", quality=95)
    return tmp_path / "a.jpg"


def test_lossless_pixels_come_back(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture())
    assert glance(tmp_path / "a.png") == (32, 16)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    Image.new(mode, (16, 32), 1).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (32, 16, 3)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGBA", "LA"])
def test_eight_bits_are_read_as_they_are(tmp_path, mode):
    image = Image.fromarray(picture()).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path, quality=100)
    assert glance(path) == (32, 16)
    with Image.open(path) as decoded:
        np.testing.assert_array_equal(read_image(path), np.asarray(decoded.convert("RGB")))


@pytest.mark.parametrize("read", [read_image, glance])
@pytest.mark.parametrize(("kind", "mode"), [(0, "I;16"), (2, "RGB;16B"), (4, "LA;16B"), (6, "RGBA;16B")])
def test_sixteen_bits_are_refused_and_never_clipped(tmp_path, read, kind, mode):
    deep_png(tmp_path / "a.png", kind)
    with Image.open(tmp_path / "a.png") as image:
        image.load()
    with pytest.raises(
        ValueError, match=rf"a\.png: has more than 8 bits a channel \(mode {mode}.*convert it to 8 bits"
    ):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_other_formats_of_many_bits_are_refused(tmp_path, mode):
    Image.fromarray(picture()[..., 0]).convert("I").convert(mode).save(tmp_path / "a.png", "TIFF")
    with pytest.raises(ValueError, match=rf"a\.png: has more than 8 bits a channel \(mode {mode}\)"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, glance])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "header only", "folder", "absent"])
def test_broken_files_are_named(jpeg, read, damage):
    data = jpeg.read_bytes()
    jpeg.unlink()
    if damage == "folder":
        jpeg.mkdir()
    elif damage != "absent":
        cut = {"truncated": data[: len(data) // 2], "empty": b"", "text": b"<html>", "header only": data[:20]}
        jpeg.write_bytes(cut[damage])
    with pytest.raises(ValueError, match=r"a\.jpg: "):
        read(jpeg)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_every_truncation_that_loses_pixels_is_found(jpeg, kind):
    Image.fromarray(picture()).save(jpeg, kind)
    data, pixels = jpeg.read_bytes(), read_image(jpeg)
    found = 0
    for length in range(0, len(data) - 1, 7):
        jpeg.write_bytes(data[:length])
        try:
            glance(jpeg)
        except ValueError:
            found += 1
        else:
            assert np.array_equal(read_image(jpeg), pixels)
    assert found > 0.8 * len(range(0, len(data) - 1, 7))


def test_a_whole_image_with_something_appended_is_accepted(jpeg):
    jpeg.write_bytes(jpeg.read_bytes() + b"a camera's note" * 20)
    assert glance(jpeg) == read_image(jpeg).shape[:2]


def test_zeros_after_the_end_are_no_truncation(jpeg):
    jpeg.write_bytes(jpeg.read_bytes() + bytes(10))
    assert glance(jpeg) == (32, 16)


def test_all_images_of_a_split(jpeg, tmp_path):
    Image.fromarray(picture(seed=1)).save(tmp_path / "b.png")
    records = [Record(path, 2, 1) for path in (jpeg, tmp_path / "b.png")]
    seen = []
    pixels = read_images(records, progress=lambda *counts: seen.append(counts))
    assert pixels.shape == (2, 32, 16, 3)
    np.testing.assert_array_equal(pixels[1], picture(seed=1))
    assert seen == [(1, 2), (2, 2)]
    with pytest.raises(ValueError, match=r"a\.jpg: is 32x16, the others are 64x32; resize"):
        read_images(records, (64, 32))
    require_readable(records)
    with pytest.raises(ValueError, match=r"c\.jpg: "):
        require_readable([*records, Record(Path("c.jpg"), 2, 1)])
