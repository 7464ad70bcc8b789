"""Decoded images on disk: equal to decoding, whole or not there, refused when damaged."""

import os

import numpy as np
import pytest
from PIL import Image

from augment import files
from augment.data import cache, images
from augment.data.records import Record
from tests.killing import die, in_child


@pytest.fixture
def records(tmp_path):
    """Seven images of 16x8."""
    (tmp_path / "data").mkdir()
    found = []
    for number in range(7):
        path = tmp_path / "data" / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (16, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        found.append(Record(path, number + 1, 1))
    return tuple(found)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def test_the_cache_holds_what_decoding_gives(records, folder, monkeypatch):
    expected = cache.decoded(records)
    seen = []
    made = cache.decoded(records, cache=folder, progress=lambda *counts: seen.append(counts))
    assert seen == [(number, 7) for number in range(1, 8)]
    np.testing.assert_array_equal(made, expected)
    monkeypatch.setattr(images, "decode", None)  # whoever decodes now fails
    again = cache.decoded(records, (16, 8), folder)
    np.testing.assert_array_equal(again, expected)
    assert not again.flags.writeable
    assert again[np.asarray([3, 0])].flags.writeable
    assert len(list(folder.iterdir())) == 1


def test_files_tell_apart_what_they_were_made_from(records, folder):
    cache.decoded(records, cache=folder)
    found = cache.decoded(records[::-1], cache=folder)
    np.testing.assert_array_equal(found, cache.decoded(records)[::-1])
    stat = records[0].path.stat()
    Image.new("RGB", (8, 16)).save(records[0].path)
    os.utime(records[0].path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert (cache.decoded(records, cache=folder)[0] == 0).all()
    assert cache.decoded(records, (8, 4), folder, resize=True).shape == (7, 8, 4, 3)
    assert len({path.name for path in folder.iterdir()}) == 4


def test_what_was_resized_does_not_excuse_another_size(records, folder):
    Image.new("RGB", (9, 9)).save(records[3].path)
    cache.decoded(records, (16, 8), folder, resize=True)
    with pytest.raises(ValueError, match=r"3\.png: is 9x9, the others are 16x8; resize"):
        cache.decoded(records, (16, 8), folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:200],
        lambda data: data[:40],
        lambda data: b"",
        lambda data: data + b"\0",
        lambda data: b"PK\x03\x04" + data,
        lambda data: data.replace(b"|u1", b"|i1"),
        lambda data: data.replace(b"(7, 16, 8, 3)", b"(7, 8, 16, 3)"),
        lambda data: data.replace(b"'fortran_order': False", b"'fortran_order': True "),
    ],
)
def test_a_damaged_file_is_refused_with_the_remedy(records, folder, damage):
    cache.decoded(records, cache=folder)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    assert damage(whole) != whole
    path.write_bytes(damage(whole))
    with pytest.raises(ValueError, match=rf"{path.name}: damaged.*remove it, and it will be made again"):
        cache.decoded(records, cache=folder)
    path.unlink()
    np.testing.assert_array_equal(cache.decoded(records, cache=folder), cache.decoded(records))


def test_a_killed_writer_leaves_nothing_that_is_read(records, folder):
    killed = in_child(
        lambda: cache.decoded(records, cache=folder, progress=lambda done, _: die() if done == 4 else None)
    )
    assert killed == -9
    assert list(folder.glob("*.npy")) == []
    assert len(list(folder.iterdir())) == 1
    np.testing.assert_array_equal(cache.decoded(records, cache=folder), cache.decoded(records))
    assert [path.suffix for path in folder.iterdir()] == [".npy"], "the dead process's part is gone"


def test_an_unreadable_image_leaves_nothing(records, folder):
    records[5].path.write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"5\.png: not a readable image"):
        cache.decoded(records, cache=folder)
    assert list(folder.iterdir()) == []


def test_two_processes_write_at_the_same_time(records, folder, monkeypatch):
    other = []

    def meanwhile(done, _):
        if done == 3:
            with monkeypatch.context() as patch:
                patch.setattr(files.os, "getpid", os.getppid)
                other.append(cache.decoded(records, cache=folder))

    ours = cache.decoded(records, cache=folder, progress=meanwhile)
    expected = cache.decoded(records)
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(other[0], expected)
    assert [path.suffix for path in folder.iterdir()] == [".npy"]


def test_threads_change_neither_order_nor_the_error(records, monkeypatch):
    monkeypatch.setattr(images, "BLOCK", 2)
    found = list(images.decode(records, (16, 8)))
    for image, record in zip(found, records, strict=True):
        np.testing.assert_array_equal(image, images.read_image(record.path))
    for number in (6, 2):
        records[number].path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"2\.png: not a readable image"):
        list(images.decode(records, (16, 8)))


def test_resizing_is_pillows_bilinear(records):
    found = images.read_images(records, (32, 12), resize=True)
    for image, record in zip(found, records, strict=True):
        expected = Image.open(record.path).resize((12, 32), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image, np.asarray(expected))
    np.testing.assert_array_equal(images.read_images(records, resize=True), images.read_images(records))
