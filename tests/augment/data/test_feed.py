"""Training batches: pure functions of (seed, step), whose images, maps and flips belong together."""

import numpy as np
import pytest
import torch

from augment.data import feed, keypoints, posemaps
from augment.data.pairs import Pairs
from augment.data.read import read_data
from generators.tensors import from_uint8

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def split(pedestrians):
    dataset = read_data(pedestrians)
    points = keypoints.dataset_points(dataset)
    return feed.load(keypoints.usable(dataset.train, points), points)


def feed_of(split, *, flip=False, seed=0, batch=6):
    return feed.Feed(split, Pairs([record.pid for record in split.records]), batch, seed, flip, CPU)


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
    for tensor, same in zip(first, feed_of(split, flip=True).batch_at(2), strict=True):
        torch.testing.assert_close(tensor, same, atol=0, rtol=0)
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
