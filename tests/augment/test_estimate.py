"""Time left: expected, then measured."""

import pytest

from augment.estimate import Estimate, Remaining, duration


def test_expected_until_measured():
    estimate = Estimate({"train-reid": 100.0})
    assert estimate.of("train-reid") == 100
    estimate.add("train-reid", 40.0)
    estimate.add("train-reid", 60.0)
    assert estimate.of("train-reid") == (40 + 60) / 2
    assert estimate.of("score") is None
    assert estimate.of("filter") == 0, "what computes nothing is short"


TRAIN, SCORE, FILTER = Remaining("train-reid"), Remaining("score"), Remaining("filter")
CHAIN = [Remaining("train-reid", needs=(f"unit-{number - 1}",)) for number in range(4)]  # unit-0 needs what is done


@pytest.mark.parametrize(
    ("rest", "slots", "words"),
    [
        ([], 2, "nothing left"),
        ([TRAIN] * 4, 2, "about 3 min left"),  # 4 x 100 s / 2 = 200 s
        ([TRAIN] * 4, 400, "about 2 min left"),  # no less than one of them: 100 s
        (CHAIN, 100, "about 7 min left"),  # one after another: 400 s
        ([*CHAIN[:2], *[TRAIN] * 6], 4, "about 3 min left"),  # 8 x 100 s / 4 = 200 s, and so is the chain
        ([Remaining("train-reid", gone=30.0)], 1, "about 70 s left"),  # 100 - 30
        ([Remaining("train-reid", gone=130.0)], 1, "about 0 s left"),
        ([Remaining("train-reid", gone=30.0), SCORE], 1, "at least 70 s left"),
        ([TRAIN, Remaining("score", ("unit-0",)), Remaining("train-reid", ("unit-1",))], 9, "at least 3 min left"),
        ([SCORE], 1, "time left unknown"),
        ([SCORE, FILTER], 1, "time left unknown"),  # the filter is short, the score takes anything
        ([FILTER], 1, "about 0 s left"),
    ],
)
def test_time_left(rest, slots, words):
    units = {f"unit-{number}": unit for number, unit in enumerate(rest)}
    assert Estimate({"train-reid": 100.0}).left(units, slots) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (36_000, "10.0 h")],
)
def test_duration(seconds, words):
    assert duration(seconds) == words
