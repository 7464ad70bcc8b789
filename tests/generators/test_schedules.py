"""The papers' learning rates, epoch by epoch."""

from itertools import pairwise

import pytest

from generators.schedules import SCHEDULES


def test_patns_700_epochs():
    factors = [SCHEDULES["patn"]((k - 1) / 700, 0.0) for k in (1, 499, 500, 600, 700)]
    assert factors == pytest.approx([1, 1, 1 - 1 / 201, 1 - 101 / 201, 0])


def test_dptns_200_epochs():
    factors = [SCHEDULES["dptn"]((k - 1) / 200, 0.0) for k in (1, 100, 101, 200)]
    assert factors == pytest.approx([1, 1, 1 - 1 / 101, 1 - 100 / 101])


def test_a_linear_decay_covers_the_last_share():
    assert [SCHEDULES["linear"](done, 0.5) for done in (0.0, 0.5, 0.75, 1.0)] == pytest.approx([1, 1, 0.5, 0])
    assert SCHEDULES["linear"](0.999, 0.0) == 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_never_rise_and_never_turn_negative(name):
    factors = [SCHEDULES[name](step / 1_000, 0.3) for step in range(1_001)]
    assert factors[0] == 1
    assert all(first >= second >= 0 for first, second in pairwise(factors))
