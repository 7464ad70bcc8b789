"""Order of draws: complete, pure, independent of where an epoch begins."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.sampling import EpochBatches, shuffled


@given(st.integers(1, 20), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_a_stretch_of_the_row_is_that_stretch(count, start, length, rest):
    whole = shuffled(count, 0, start + length + rest, (1, 2))
    np.testing.assert_array_equal(shuffled(count, start, start + length, (1, 2)), whole[start : start + length])


@given(st.integers(1, 20), st.integers(0, 5))
def test_every_pass_holds_everything_once(count, number):
    assert sorted(shuffled(count, number * count, (number + 1) * count, (0,))) == list(range(count))


def batches(count=10, synthetic=0, **options):
    flags = np.arange(count) >= count - synthetic
    return EpochBatches(flags, **{"batch": 4, "seed": 0, "epochs": 3} | options)


def test_an_epoch_is_full_batches_without_repeats():
    drawn = list(batches())
    assert len(drawn) == len(batches()) == 3 * 2
    for epoch in range(3):
        items = [draw.item for batch in drawn[2 * epoch : 2 * epoch + 2] for draw in batch]
        assert len(set(items)) == 8


def test_each_epoch_has_an_order_of_its_own():
    items = np.array([[draw.item for draw in batch] for batch in batches(count=8, batch=8)])
    assert len(np.unique(items, axis=0)) == 3


def test_noise_is_never_used_twice():
    noise = [draw.noise for batch in batches(epoch_images=30) for draw in batch]
    assert len(set(noise)) == len(noise) == 3 * 28


def test_a_resumed_row_is_the_end_of_the_whole():
    for options in ({}, {"epoch_images": 17}, {"synthetic": 3, "quota": 0.3}):
        assert list(batches(first_epoch=1, **options)) == list(batches(**options))[len(batches(**options)) // 3 :]


def test_epoch_images_sets_the_length_and_draws_evenly():
    sampler = batches(count=10, epoch_images=40, batch=8)
    assert sampler.steps * sampler.batch == 40
    items = Counter(draw.item for batch in sampler for draw in batch)
    assert set(items.values()) == {12}


def test_fewer_images_than_a_batch_are_one_batch():
    assert [len(batch) for batch in batches(count=3)] == [3, 3, 3]


@given(st.floats(0.05, 0.95), st.integers(2, 33))
def test_the_quota_holds_in_every_batch(quota, batch):
    sampler = batches(count=60, synthetic=20, batch=batch, quota=quota, epochs=4)
    counts = [sum(draw.item >= 40 for draw in one) for one in sampler]
    assert all(abs(count - quota * batch) <= 1 for count in counts)
    assert abs(sum(counts) - quota * batch * len(counts)) <= 1


def test_a_quota_needs_both_kinds():
    with pytest.raises(ValueError, match="needs both real and synthetic"):
        batches(quota=0.5)
