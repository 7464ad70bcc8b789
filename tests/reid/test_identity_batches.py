"""Batches of P identities with K images: complete, pure, with the share of synthetic images that was asked for."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid.quotas import QuotaPlan
from reid.sampling import IdentityBatches


@st.composite
def lists(draw, both=False):
    """Identities and kinds of a training list, in which every identity has a real image."""
    people = draw(st.integers(2, 9))
    real = [draw(st.integers(1, 6)) for _ in range(people)]
    fake = [draw(st.integers(int(both), 5)) for _ in range(people)]
    pids = np.repeat([*range(people), *range(people)], [*real, *fake]) * 7 + 3
    order = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(pids))
    return pids[order], (np.arange(len(pids)) >= sum(real))[order]


def sampler(pids, synthetic, **options):
    return IdentityBatches(pids, synthetic, **{"batch": 8, "instances": 4, "seed": 0, "epochs": 3} | options)


sizes = st.tuples(st.integers(1, 4), st.integers(2, 5)).map(lambda size: (size[0] * size[1], size[0]))
quotas = st.none() | st.floats(0.05, 0.95)


@settings(deadline=None)
@given(lists(both=True), sizes, quotas)
def test_batches_hold_p_different_identities_with_k_images_each(members, size, quota):
    pids, synthetic = members
    batch, instances = size
    made = sampler(pids, synthetic, batch=batch, instances=instances, quota=quota)
    expected = min(batch // instances, len(np.unique(pids)))
    assert expected >= 2
    for one in made:
        counts = Counter(int(pids[draw.item]) for draw in one)
        assert len(one) == made.batch
        assert set(counts.values()) == {instances}
        assert len(counts) == expected


@settings(deadline=None)
@given(lists(), sizes)
def test_images_of_an_identity_differ_as_far_as_it_has_enough(members, size):
    pids, synthetic = members
    batch, instances = size
    held = Counter(pids.tolist())
    for one in sampler(pids, synthetic, batch=batch, instances=instances):
        shown = Counter(draw.item for draw in one)
        assert all(count <= -(-instances // held[int(pids[item])]) for item, count in shown.items())


@settings(deadline=None)
@given(lists())
def test_a_row_of_batches_shows_every_identity(members):
    pids, synthetic = members
    people = len(np.unique(pids))
    rows = -(-people // 2)
    drawn = list(sampler(pids, synthetic, epoch_images=8 * rows))
    for start in range(0, len(drawn), rows):
        row = [draw.item for one in drawn[start : start + rows] for draw in one]
        assert len(np.unique(pids[row])) == people


@settings(deadline=None)
@given(lists(both=True), st.floats(0.05, 0.95), sizes)
def test_the_quota_holds_in_every_batch_and_identity(members, quota, size):
    pids, synthetic = members
    batch, instances = size
    for one in sampler(pids, synthetic, quota=quota, batch=batch, instances=instances):
        fake = Counter(int(pids[draw.item]) for draw in one if synthetic[draw.item])
        assert abs(sum(fake.values()) - quota * len(one)) < 1 + 1e-9
        assert all(abs(fake[int(pids[draw.item])] - quota * instances) < 1 + 1e-9 for draw in one)


@settings(deadline=None)
@given(lists(), st.floats(0.05, 0.95))
def test_identities_without_synthetic_images_show_real_ones(members, quota):
    pids, synthetic = members
    synthetic = synthetic & (pids != pids[0])
    assume(synthetic.any())
    have = set(pids[synthetic].tolist())
    for one in sampler(pids, synthetic, quota=quota):
        draws = 4 * len({int(pids[draw.item]) for draw in one} & have)
        assert abs(sum(bool(synthetic[draw.item]) for draw in one) - quota * draws) < 1 + 1e-9


def people(count=6, real=4, fake=3):
    pids = np.repeat([*range(count), *range(count)], [real] * count + [fake] * count)
    return pids, np.arange(len(pids)) >= count * real


@pytest.mark.parametrize("options", [{}, {"quota": 0.3}, {"quota": 0.3, "plan": QuotaPlan("annealed")}])
def test_a_resumed_row_is_the_end_of_the_whole(options):
    whole = list(sampler(*people(), **options))
    assert list(sampler(*people(), **options)) == whole
    assert list(sampler(*people(), first_epoch=2, **options)) == whole[-len(whole) // 3 :]
    assert list(sampler(*people(), seed=1, **options)) != whole


def test_the_share_is_exact_on_average_and_every_image_comes():
    drawn = [draw for one in sampler(*people(), quota=0.3, epochs=100) for draw in one]
    items = np.array([draw.item for draw in drawn])
    assert np.mean(items >= 24) == pytest.approx(0.3, abs=0.01)
    assert len(set(items.tolist())) == 42
    assert len({draw.noise for draw in drawn}) == len(drawn)


def test_fewer_identities_than_places_make_smaller_batches():
    made = sampler(*people(count=3), batch=32)
    assert (made.batch, made.steps) == (12, 21 // 12)
    assert all(len(one) == 12 for one in made)


def test_one_identity_is_an_error():
    with pytest.raises(ValueError, match="at least 2 identities"):
        sampler(*people(count=1))
