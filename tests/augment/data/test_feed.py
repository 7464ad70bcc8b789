"""Training batches: pure functions of (seed, step), whose images, maps and flips belong together."""

import numpy as np
import pytest
import torch
from PIL import Image

from augment.data import feed, keypoints, posemaps
from augment.data.pairs import Pairs
from augment.data.read import read_data
from augment.data.records import Record
from generators import distributed
from generators.tensors import from_uint8, to_uint8

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def split(pedestrians):
    dataset = read_data(pedestrians)
    points = keypoints.dataset_points(dataset)
    return feed.load(keypoints.usable(dataset.train, points), points)


def feed_of(split, *, flip=False, seed=0, batch=6, pose_map="gaussian", masks=False):
    pairs = Pairs([record.pid for record in split.records])
    return feed.Feed(split, pairs, batch, seed, flip, CPU, pose_map, masks)


def assert_equal(found, expected):
    for tensor, same in zip(found, expected, strict=True):
        assert (tensor is None) == (same is None)
        if tensor is not None:
            assert torch.equal(tensor, same)


def test_pixels_and_points_are_in_the_order_of_the_records(pedestrians, split):
    points = keypoints.read_annotation(pedestrians / "market-annotation-train.csv")
    assert split.size == (128, 64)
    assert len(split.records) == len(split.pixels) == len(split.points)
    for index in (0, len(split.records) - 1):
        np.testing.assert_array_equal(split.points[index], points[split.records[index].name])
    chosen = np.asarray([3, 0, 3])
    torch.testing.assert_close(split.images(chosen, CPU), from_uint8(torch.from_numpy(split.pixels[chosen])))
    assert split.images(chosen, CPU).shape == (3, 3, 128, 64)
    expected = posemaps.render(torch.from_numpy(split.points[chosen]), (128, 64))
    torch.testing.assert_close(split.maps(chosen, CPU), expected)
    discs = posemaps.render(torch.from_numpy(split.points[chosen]), (128, 64), kind="disc")
    assert torch.equal(split.maps(chosen, CPU, "disc"), discs)


def test_a_batch_holds_the_drawn_pairs(split):
    batches = feed_of(split)
    source, target = batches.pairs.draw(0, 5, 6).T
    batch = batches.batch_at(5)
    for found, expected in (
        (batch.source, split.images(source, CPU)),
        (batch.source_map, split.maps(source, CPU)),
        (batch.target, split.images(target, CPU)),
        (batch.target_map, split.maps(target, CPU)),
    ):
        torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_batches_are_pure_and_differ_by_seed_and_step(split):
    first = feed_of(split, flip=True).batch_at(2)
    assert_equal(feed_of(split, flip=True).batch_at(2), first)
    assert not torch.equal(first.source, feed_of(split, flip=True).batch_at(3).source)
    assert not torch.equal(first.source, feed_of(split, flip=True, seed=1).batch_at(2).source)


def test_about_half_of_the_pairs_is_mirrored_image_and_points_together(split):
    before = split.pixels.copy(), split.points.copy()
    plain, mirrored = (feed_of(split, flip=flip, batch=40).batch_at(0) for flip in (False, True))
    flipped = (plain.source != mirrored.source).flatten(1).any(dim=1)
    assert 8 <= flipped.sum() <= 32
    assert torch.equal(flipped, (plain.target != mirrored.target).flatten(1).any(dim=1)), "both images of a pair"
    torch.testing.assert_close(mirrored.source[flipped], plain.source[flipped].flip(-1), atol=0, rtol=0)
    expected = plain.target_map[flipped][:, list(keypoints.MIRROR)].flip(-1)
    torch.testing.assert_close(mirrored.target_map[flipped], expected, atol=1e-6, rtol=0)
    assert torch.equal(mirrored.source_map[~flipped], plain.source_map[~flipped])
    for array, kept in zip((split.pixels, split.points), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_a_mirrored_disc_is_the_mirrored_points_disc(split):
    plain, mirrored = (feed_of(split, flip=flip, batch=40, pose_map="disc").batch_at(0) for flip in (False, True))
    flipped = (plain.source != mirrored.source).flatten(1).any(dim=1)
    for name in ("source_map", "target_map"):
        before, after = getattr(plain, name), getattr(mirrored, name)
        assert torch.equal(after[flipped], before[flipped][:, list(keypoints.MIRROR)].flip(-1))
        assert not torch.equal(after[flipped], before[flipped].flip(-1)), "left and right swapped"
        assert torch.equal(after[~flipped], before[~flipped])


def test_masks_are_of_the_target_s_body(split):
    assert feed_of(split).batch_at(1).target_mask is None
    batches = feed_of(split, masks=True, flip=True, batch=20)
    batch = batches.batch_at(1)
    _, target = batches.pairs.draw(0, 1, 20).T
    expected = posemaps.body_mask(torch.from_numpy(split.points[target]), split.size)
    flipped = (batch.target != split.images(target, CPU)).flatten(1).any(dim=1)
    assert batch.target_mask is not None
    assert 0 < flipped.sum() < 20
    assert torch.equal(batch.target_mask[~flipped], expected[~flipped])
    points = keypoints.flip(split.points[target[flipped.numpy()]], split.size[1])
    assert torch.equal(batch.target_mask[flipped], posemaps.body_mask(torch.from_numpy(points), split.size))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_batch_of_one(split, monkeypatch, world):
    options = {"flip": True, "batch": 12, "pose_map": "disc", "masks": True}
    whole = feed_of(split, **options).batch_at(7)
    monkeypatch.setattr(distributed, "world", lambda: world)
    shares = []
    for rank in range(world):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(feed_of(split, **options).batch_at(7))
    assert all(len(share.source) == 12 // world for share in shares)
    assert_equal([torch.cat(parts) for parts in zip(*shares, strict=True)], whole)


def test_a_batch_that_does_not_divide_is_refused(split, monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 4)
    with pytest.raises(ValueError, match="a batch of 6 does not divide among 4 processes"):
        feed_of(split).batch_at(0)


def test_pixels_that_stay_on_the_device_make_the_same_batches(split, monkeypatch):
    before = split.pixels.copy()
    expected = [feed_of(split, flip=True).batch_at(step) for step in range(3)]
    monkeypatch.setattr(feed, "_room", lambda device: split.pixels.nbytes)
    monkeypatch.setattr(feed, "UPLOAD", 7)
    resident = feed_of(split, flip=True)
    for step in range(3):
        assert_equal(resident.batch_at(step), expected[step])
    assert resident._resident is not None
    np.testing.assert_array_equal(resident._resident.numpy(), before)
    monkeypatch.setattr(feed, "_room", lambda device: split.pixels.nbytes - 1)
    assert feed_of(split)._resident is None


def test_batches_come_from_a_cache_as_from_memory(pedestrians, split, tmp_path):
    points = keypoints.dataset_points(read_data(pedestrians))
    for _ in range(2):  # written, then found
        mapped = feed.load(split.records, points, cache=tmp_path / "cache")
        np.testing.assert_array_equal(mapped.points, split.points)
        assert_equal(feed_of(mapped, flip=True).batch_at(3), feed_of(split, flip=True).batch_at(3))
        assert torch.equal(mapped.images(np.asarray([1, 5]), CPU), split.images(np.asarray([1, 5]), CPU))


def test_resizing_moves_the_key_points_of_each_image(tmp_path):
    records, points = [], {}
    for number, (height, width) in enumerate([(64, 32), (32, 16), (64, 64)]):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (width, height), (number, 0, 0)).save(path)
        records.append(Record(path, 1, 1))
        points[path.name] = np.full((18, 2), (height / 4, width / 2), np.float32)
        points[path.name][3] = np.nan
    with pytest.raises(ValueError, match=r"1\.png: is 32x16, the others are 64x32"):
        feed.load(records, points)
    for folder in (None, tmp_path / "cache", tmp_path / "cache"):
        split = feed.load(records, points, (128, 48), cache=folder, resize=True)
        assert split.size == (128, 48)
        expected = np.full((18, 2), (32, 24), np.float32)
        expected[3] = np.nan
        for index in range(3):
            np.testing.assert_array_equal(split.points[index], expected)
            assert (to_uint8(split.images(np.asarray([index]), CPU))[0, :, :, 0] == index).all()
    assert feed.load(records, points, resize=True).size == (64, 32)
    assert points["0.png"][0].tolist() == [16, 16], "what was given is not changed"
