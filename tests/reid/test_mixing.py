"""The mix is a pure function with exact counts, and identities survive it."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.mixing import MixPolicy, apportioned, mix
from tests.reference.noise import NoiseSource

real_sources = st.lists(st.sampled_from([2, 7, 11, 300]), min_size=1, max_size=30)
seeds = st.integers(0, 2**31)


@st.composite
def mixtures(draw):
    """A real source, synthetic sets of its identities, and ratio, portion and seed of a policy that they can meet."""
    pids = draw(real_sources)
    sets = draw(st.lists(st.lists(st.sampled_from(sorted(set(pids))), max_size=20), min_size=1, max_size=3))
    portion = draw(st.floats(0.01, 1))
    kept = sum(max(1, round(portion * count)) for count in Counter(pids).values())
    most = sum(map(len, sets)) / kept
    ratio = draw(st.floats(0, most).filter(lambda ratio: round(ratio * kept) <= sum(map(len, sets))))
    real = NoiseSource(pids, range(len(pids)))
    synthetic = [NoiseSource(one, [9] * len(one)) for one in sets]
    return real, synthetic, (ratio, portion, draw(seeds))  # type checks of a policy draw random numbers of their own


@settings(deadline=None)
@given(mixtures())
def test_counts_and_identities(mixture):
    real, synthetic, policy = mixture[0], mixture[1], MixPolicy(*mixture[2])
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
    real, synthetic, policy = mixture[0], mixture[1], MixPolicy(*mixture[2])
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


@settings(deadline=None)
@given(mixtures(), seeds, seeds)
def test_the_portion_has_a_seed_of_its_own(mixture, portion_seed, other):
    """Which images stay depends on it alone; which synthetic ones are drawn does not depend on it."""
    real, synthetic, (ratio, portion, seed) = mixture
    portion = min(portion, 0.99)
    usual = mix(real, [], MixPolicy(0.0, portion, portion_seed))
    for own in (seed, other):
        assert mix(real, [], MixPolicy(0.0, portion, own, portion_seed=portion_seed)) == usual
    assert mix(real, [], MixPolicy(0.0, portion, seed, portion_seed=seed)) == mix(
        real, [], MixPolicy(0.0, portion, seed)
    )
    kept = len(usual)
    ratio = min(ratio, sum(map(len, synthetic)) / kept * 0.99)
    drawn = [
        [item for item in mix(real, synthetic, MixPolicy(ratio, portion, seed, portion_seed=chosen)) if item.synthetic]
        for chosen in (None, portion_seed)
    ]
    assert drawn[0] == drawn[1]


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


OUT_OF_RANGE = [
    ({"ratio": -0.1}, "ratio -0.1: must be"),
    ({"ratio": float("nan")}, "ratio nan: must be"),
    ({"portion": 0.0}, "portion 0.0: must be"),
    ({"portion": 1.5}, "portion 1.5: must be"),
    ({"set_weights": (1.0, 0.0)}, "must be above 0"),
    ({"control": "blank"}, "must be one of none, real-duplicated"),
    ({"replace": True}, "nothing is withheld"),
    ({"portion_seed": 1}, "portion_seed: nothing is withheld"),
    ({"replace": True, "portion": 0.5, "set_weights": (1.0,)}, "leave set_weights out"),
]


@pytest.mark.parametrize(("options", "message"), OUT_OF_RANGE)
def test_policies_out_of_range_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        MixPolicy(**options)


@settings(deadline=None)
@given(mixtures(), st.lists(st.floats(0.1, 9), min_size=3, max_size=3))
def test_set_weights_are_shares(mixture, weights):
    real, synthetic, policy = mixture[0], mixture[1], MixPolicy(*mixture[2])
    policy = replace(policy, set_weights=tuple(weights[: len(synthetic)]))
    kept = len(mix(real, [], policy))
    counts = apportioned(round(policy.ratio * kept), policy.set_weights)
    if any(count > len(source) for count, source in zip(counts, synthetic, strict=True)):
        with pytest.raises(ValueError, match=r"synthetic set \d: its weight .* asks for"):
            mix(real, synthetic, policy)
        return
    items = mix(real, synthetic, policy)
    assert items == mix(real, synthetic, policy)
    found = Counter(item.source for item in items if item.synthetic)
    assert [found[number + 1] for number in range(len(synthetic))] == counts
    assert len({(item.source, item.index) for item in items}) == len(items)


@given(st.integers(0, 60), st.lists(st.floats(0.1, 9), min_size=1, max_size=4))
def test_apportioned_numbers(count, weights):
    found = apportioned(count, weights)
    assert sum(found) == count
    exact = [count * weight / sum(weights) for weight in weights]
    assert all(abs(number - share) < len(weights) for number, share in zip(found, exact, strict=True))
    assert all(less <= more for less, more in zip(found, apportioned(count + 1, weights), strict=True))


def test_apportioned_as_arithmetic():
    assert apportioned(12, [3.0, 1.0]) == [9, 3]
    assert apportioned(6, [1.0, 1.0, 1.0]) == [2, 2, 2]


def test_one_weight_a_set():
    with pytest.raises(ValueError, match="1 set_weights for 2 synthetic sets"):
        mix(NoiseSource([1, 2]), [NoiseSource([1]), NoiseSource([2])], MixPolicy(1.0, set_weights=(1.0,)))


@settings(deadline=None)
@given(real_sources, st.floats(0.05, 0.95), seeds, st.integers(0, 3))
def test_replacing_keeps_every_identitys_count(pids, portion, seed, more):
    real, policy = NoiseSource(pids), MixPolicy(0.0, portion, seed, replace=True)
    supply = [pid for pid in pids for _ in range(1 + more)]
    half = len(supply) // 2
    items = mix(real, [NoiseSource(supply[:half]), NoiseSource(supply[half:])], policy)
    assert Counter(item.pid for item in items) == Counter(pids)
    assert [item for item in items if not item.synthetic] == mix(real, [], policy)
    assert len({(item.source, item.index) for item in items}) == len(items)


def test_replacing_needs_enough_of_each_identity():
    real, synthetic = NoiseSource([1] * 10 + [2] * 10), NoiseSource([1] * 10 + [2] * 3)
    with pytest.raises(ValueError, match=r"identity 2 loses 5 real images, but has 3 synthetic .*\(1 such"):
        mix(real, [synthetic], MixPolicy(portion=0.5, replace=True))


@settings(deadline=None)
@given(mixtures())
def test_duplicates_take_the_places_of_synthetic_images(mixture):
    real, synthetic, policy = mixture[0], mixture[1], MixPolicy(*mixture[2])
    mixed = mix(real, synthetic, policy)
    control = mix(real, synthetic, replace(policy, control="real-duplicated"))
    kept = [item for item in mixed if not item.synthetic]
    assert [(item.pid, item.synthetic) for item in control] == [(item.pid, item.synthetic) for item in mixed]
    assert control[: len(kept)] == kept
    assert {item._replace(synthetic=False) for item in control} == set(kept), "nothing withheld comes back"
    copies = Counter(item.index for item in control if item.synthetic)
    for item in kept:
        others = [copies[other.index] for other in kept if other.pid == item.pid]
        assert max(others) - min(others) <= 1
