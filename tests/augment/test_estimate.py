"""Time left: expected, then measured."""

import pytest

from augment.estimate import Estimate, duration


def test_expected_until_measured():
    estimate = Estimate({"train-reid": 100.0})
    assert estimate.of("train-reid") == 100
    estimate.add("train-reid", 40.0)
    estimate.add("train-reid", 60.0)
    assert estimate.of("train-reid") == (40 + 60) / 2
    assert estimate.of("score") is None
    assert estimate.of("filter") == 0, "what computes nothing is short"


@pytest.mark.parametrize(
    ("rest", "slots", "words"),
    [
        ([], 2, "nothing left"),
        ([("train-reid", 0.0)] * 4, 2, "about 3 min left"),  # 4 x 100 s / 2 = 200 s
        ([("train-reid", 0.0)] * 4, 400, "about 2 min left"),  # no less than one of them: 100 s
        ([("train-reid", 30.0)], 1, "about 70 s left"),  # 100 - 30
        ([("train-reid", 130.0)], 1, "about 0 s left"),
        ([("train-reid", 30.0), ("score", 0.0)], 1, "at least 70 s left"),
        ([("score", 0.0)], 1, "time left unknown"),
        ([("score", 0.0), ("filter", 0.0)], 1, "time left unknown"),  # the filter is short, the score takes anything
        ([("filter", 0.0)], 1, "about 0 s left"),
    ],
)
def test_time_left(rest, slots, words):
    assert Estimate({"train-reid": 100.0}).left(rest, slots) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (36_000, "10.0 h")],
)
def test_duration(seconds, words):
    assert duration(seconds) == words
