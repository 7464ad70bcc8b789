"""The mix is a pure function with exact counts, and identities survive it."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.mixing import MixPolicy, mix
from tests.reference.noise import NoiseSource

real_sources = st.lists(st.sampled_from([2, 7, 11, 300]), min_size=1, max_size=30)
seeds = st.integers(0, 2**31)


@st.composite
def mixtures(draw):
    """A real source, synthetic sets of its identities, and a policy that they can meet."""
    pids = draw(real_sources)
    sets = draw(st.lists(st.lists(st.sampled_from(sorted(set(pids))), max_size=20), min_size=1, max_size=3))
    portion = draw(st.floats(0.01, 1))
    kept = sum(max(1, round(portion * count)) for count in Counter(pids).values())
    most = sum(map(len, sets)) / kept
    ratio = draw(st.floats(0, most).filter(lambda ratio: round(ratio * kept) <= sum(map(len, sets))))
    real = NoiseSource(pids, range(len(pids)))
    synthetic = [NoiseSource(one, [9] * len(one)) for one in sets]
    return real, synthetic, MixPolicy(ratio, portion, draw(seeds))


@settings(deadline=None)
@given(mixtures())
def test_counts_and_identities(mixture):
    real, synthetic, policy = mixture
    items = mix(real, synthetic, policy)
    assert items == mix(real, synthetic, policy)
    kept = [item for item in items if not item.synthetic]
    drawn = [item for item in items if item.synthetic]

    expected = {pid: max(1, round(policy.portion * count)) for pid, count in Counter(real.pids).items()}
    assert Counter(item.pid for item in kept) == expected
    assert len(drawn) == round(policy.ratio * len(kept))
    assert len({(item.source, item.index) for item in items}) == len(items), "without replacement"

    sources = [real, *synthetic]
    for item in items:
        assert item.synthetic == (item.source > 0)
        assert item.pid == sources[item.source].identity(item.index)
        assert item.camid == sources[item.source].camera(item.index)


@settings(deadline=None)
@given(mixtures())
def test_the_draw_is_balanced(mixture):
    real, synthetic, policy = mixture
    available = Counter(pid for source in synthetic for pid in source.pids)
    taken = Counter(item.pid for item in mix(real, synthetic, policy) if item.synthetic)
    most = max(taken.values(), default=0)
    for pid, count in available.items():
        assert taken[pid] >= min(count, most - 1)


@given(real_sources, st.floats(0.01, 1), st.floats(0.01, 1), seeds)
def test_a_smaller_portion_is_a_part_of_a_larger(pids, one, other, seed):
    real = NoiseSource(pids)
    small, large = (set(mix(real, [], MixPolicy(0.0, portion, seed))) for portion in sorted((one, other)))
    assert small <= large


def test_the_real_images_kept_do_not_depend_on_the_synthetic_sets():
    real = NoiseSource([2] * 20 + [5] * 20)
    policy = MixPolicy(ratio=0.5, portion=0.5, seed=3)
    alone = mix(real, [], policy)
    mixed = mix(real, [NoiseSource([2, 5] * 10)], policy)
    assert mixed[: len(alone)] == alone
    assert len(mixed) == 30


def test_the_default_is_three_to_one():
    items = mix(NoiseSource([1, 2] * 30), [NoiseSource([1, 2] * 30)], MixPolicy())
    assert Counter(item.synthetic for item in items) == {False: 60, True: 20}


def test_seeds_differ():
    real, synthetic = NoiseSource([1] * 50), [NoiseSource([1] * 50)]
    assert mix(real, synthetic, MixPolicy(seed=0)) != mix(real, synthetic, MixPolicy(seed=1))


def test_unknown_identity_is_an_error():
    with pytest.raises(ValueError, match="synthetic set 2: identity 9 "):
        mix(NoiseSource([1, 2]), [NoiseSource([1]), NoiseSource([2, 9])], MixPolicy())


def test_too_few_synthetic_images_is_an_error():
    with pytest.raises(ValueError, match=r"ratio 2 asks for 20 .* there are 5: use a ratio of at most 0\.5"):
        mix(NoiseSource([1] * 10), [NoiseSource([1] * 5)], MixPolicy(ratio=2.0))


def test_no_real_images_is_an_error():
    with pytest.raises(ValueError, match="holds no images"):
        mix(NoiseSource([]), [], MixPolicy())


@pytest.mark.parametrize("options", [{"ratio": -0.1}, {"ratio": float("nan")}, {"portion": 0.0}, {"portion": 1.5}])
def test_policies_out_of_range_are_errors(options):
    with pytest.raises(ValueError, match="must be"):
        MixPolicy(**options)
