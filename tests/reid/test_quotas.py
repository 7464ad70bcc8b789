"""How the share of synthetic images moves over the epochs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.quotas import QUOTA_SCHEDULES, QuotaPlan, epoch_quotas
from reid.sampling import EpochBatches, shuffled

FLAGS = np.arange(40) >= 30


def quotas(schedule, quota=0.5, epochs=5, **options):
    found = epoch_quotas(FLAGS, quota, QuotaPlan(schedule, **options), epochs)
    assert found is not None
    return found.tolist()


def test_schedules_as_arithmetic():
    assert quotas("constant") == [0.5] * 5
    assert quotas("first") == [0.5, 0.5, 0.5, 0, 0]
    assert quotas("first", share=0.2) == [0.5, 0, 0, 0, 0]
    assert quotas("annealed") == pytest.approx([0.5, 0.375, 0.25, 0.125, 0])
    assert quotas("ramp") == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])
    assert quotas("annealed", quota=None) == pytest.approx([0.25, 0.1875, 0.125, 0.0625, 0])


@pytest.mark.parametrize("schedule", QUOTA_SCHEDULES)
def test_one_epoch_has_the_quota(schedule):
    assert quotas(schedule, epochs=1) == [0.5]


def test_without_quota_and_schedule_kinds_do_not_matter():
    assert epoch_quotas(FLAGS, None, QuotaPlan(), 3) is None


@pytest.mark.parametrize("flags", [np.zeros(4, bool), np.ones(4, bool)])
def test_a_schedule_needs_both_kinds(flags):
    with pytest.raises(ValueError, match="quota_schedule ramp: needs both real and synthetic"):
        epoch_quotas(flags, None, QuotaPlan("ramp"), 3)


def batches(schedule, **options):
    return EpochBatches(FLAGS, **{"batch": 8, "seed": 0, "epochs": 4, "plan": QuotaPlan(schedule)} | options)


@given(st.sampled_from(QUOTA_SCHEDULES), st.floats(0.05, 0.95), st.integers(2, 33), st.integers(1, 5))
def test_every_batch_of_every_epoch_has_its_share(schedule, quota, batch, epochs):
    made = batches(schedule, quota=quota, batch=batch, epochs=epochs)
    expected = np.repeat(quotas(schedule, quota, epochs), made.steps)
    counts = np.array([sum(bool(FLAGS[draw.item]) for draw in one) for one in made])
    assert (np.abs(counts - expected * made.batch) <= 1).all()
    assert abs(counts.sum() - expected.sum() * made.batch) <= 1


@pytest.mark.parametrize("schedule", QUOTA_SCHEDULES)
def test_a_resumed_row_is_the_end_of_the_whole(schedule):
    whole = list(batches(schedule))
    assert len(whole) == 4 * 5
    assert list(batches(schedule, first_epoch=2)) == whole[10:]


def test_real_images_alone_are_drawn_once_each_when_synthetic_ones_are_over():
    made = list(batches("first", epoch_images=30, batch=30, quota=0.5))
    assert all(not FLAGS[draw.item] for one in made[2:] for draw in one)
    drawn = [draw.item for one in made for draw in one if not FLAGS[draw.item]]
    assert drawn == shuffled(30, 0, len(drawn), (0, 1)).tolist()
