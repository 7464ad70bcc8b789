"""Learning-rate schedules, as factors of the rate by the share of the training that is done."""

from collections.abc import Callable


def constant(done: float, decay: float) -> float:
    """DPTN's published Market-1501 weights (its decay never began) and PG2."""
    return 1.0


def linear(done: float, decay: float) -> float:
    """1, falling linearly to 0 over the last `decay` of the training."""
    left = 1 - done
    return 1.0 if left >= decay else max(0.0, left) / decay


def patn(done: float, decay: float) -> float:
    """PATN's 700 epochs of 4,000 pairs: epoch k (from 1) learns at 1 - max(0, k - 499) / 201, the last one at 0."""
    return 1 - max(0, _epoch(done, 700) - 499) / 201


def dptn(done: float, decay: float) -> float:
    """DPTN's nominal 200 epochs of all pairs: epoch k (from 1) learns at 1 - max(0, k - 100) / 101."""
    return 1 - max(0, _epoch(done, 200) - 100) / 101


def _epoch(done: float, epochs: int) -> int:
    return min(epochs, 1 + int(done * epochs + 1e-9))


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "constant": constant,
    "linear": linear,
    "patn": patn,
    "dptn": dptn,
}
