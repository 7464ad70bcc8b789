"""The history of generated images: what is shown, what is kept, and that neither depends on when one resumes."""

import pytest
import torch

from generators import distributed
from generators.history import HistoryPool


def numbered(start: int, count: int) -> torch.Tensor:
    """Samples that can be told apart."""
    return torch.arange(start, start + count, dtype=torch.float32).reshape(count, 1, 1, 1).expand(count, 2, 3, 2)


def told(samples: torch.Tensor) -> list[int]:
    return [int(sample.unique().item()) for sample in samples]


def run(pool: HistoryPool, steps: range, rows: int = 4) -> list[int]:
    return [number for step in steps for number in told(pool.query(numbered(step * rows, rows), step))]


def test_without_size_everything_passes():
    fresh = numbered(0, 3)
    pool = HistoryPool(0, 1)
    assert pool.query(fresh, 0) is fresh
    assert pool.tensors() == {}


def test_while_it_fills_samples_pass_and_are_kept():
    pool = HistoryPool(6, 0)
    assert run(pool, range(1)) == [0, 1, 2, 3]
    shown = run(pool, range(1, 2))
    assert shown[:2] == [4, 5]  # two places were left
    assert len(pool.samples) == 6


def test_afterwards_about_half_are_swapped_for_random_older_ones():
    pool = HistoryPool(50, 0)
    run(pool, range(13))
    shown = run(pool, range(13, 213))
    kept = sum(number == 52 + i for i, number in enumerate(shown))
    assert abs(kept - 400) < 4 * (800 * 0.25) ** 0.5  # of 800, four standard deviations
    assert all(number <= 52 + i for i, number in enumerate(shown))  # none from the future
    older = [52 + i - number for i, number in enumerate(shown) if number != 52 + i]
    # a place is overwritten with probability 1/2 * 1/50 a sample: the mean stay is 100 samples
    assert sum(older) / len(older) == pytest.approx(100, rel=0.25)


def test_a_sample_is_shown_at_most_once_after_it_was_kept():
    """Swapping moves samples: those shown and those kept are, together, all that came."""
    pool = HistoryPool(5, 2)
    shown = run(pool, range(10))
    filling = list(range(5))
    assert sorted(shown + told(pool.tensors()["samples"])) == sorted([*range(40), *filling])


def test_a_pure_function_of_seed_step_and_what_came():
    def shown(seed: int, offset: int = 0) -> list[int]:
        pool = HistoryPool(4, seed)
        return [n for i in range(6) for n in told(pool.query(numbered(4 * i, 4), i + offset))]

    assert shown(1) == shown(1)
    assert shown(1) != shown(2)
    assert shown(1) != shown(1, offset=1)


def test_saved_and_loaded_it_goes_on_as_if_never_stopped():
    one = HistoryPool(7, 3)
    run(one, range(5))
    other = HistoryPool(7, 3)
    other.load({key: tensor.clone() for key, tensor in one.tensors().items()}, torch.device("cpu"))
    assert run(one, range(5, 12)) == run(other, range(5, 12))
    empty = HistoryPool(7, 3)
    empty.load({}, torch.device("cpu"))
    assert run(empty, range(2)) == run(HistoryPool(7, 3), range(2))


def test_what_is_kept_belongs_to_the_pool():
    pool = HistoryPool(2, 0)
    fresh = numbered(1, 2).clone().requires_grad_()
    shown = pool.query(fresh * 1, 0)
    with torch.no_grad():
        shown.zero_()
        fresh.zero_()
    assert told(pool.tensors()["samples"]) == [1, 2]
    assert not pool.tensors()["samples"].requires_grad


def test_every_process_keeps_the_pool_of_the_global_batch(monkeypatch):
    alone, parts = HistoryPool(5, 9), [HistoryPool(5, 9), HistoryPool(5, 9)]
    for step in range(6):
        whole = numbered(4 * step, 4)
        expected = told(alone.query(whole, step))
        found = []
        with monkeypatch.context() as patch:
            patch.setattr(distributed, "gather_rows", lambda rows, whole=whole: whole)
            for rank, pool in enumerate(parts):
                patch.setattr(distributed, "share", lambda batch, rank=rank: slice(2 * rank, 2 * rank + 2))
                found += told(pool.query(whole[2 * rank : 2 * rank + 2], step))
        assert found == expected
        kept = [told(pool.tensors()["samples"]) for pool in (alone, *parts)]
        assert kept[0] == kept[1] == kept[2]
