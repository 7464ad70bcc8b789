"""Two processes on one global batch train as one does."""

from typing import Any

import pytest
import torch
import torch.distributed as dist

from generators import distributed
from generators.history import HistoryPool
from generators.objective import Batch
from generators.registry import create_recipe
from generators.training import TrainingState, train
from tests.reference.processes import in_group

SIZE = (32, 16)


def global_batch(step: int) -> Batch:
    rng = torch.Generator().manual_seed(step)
    source, target = torch.rand(2, 4, 3, *SIZE, generator=rng) * 2 - 1
    source_map, target_map = torch.rand(2, 4, 18, *SIZE, generator=rng)
    return Batch(source, source_map, target, target_map)


def train_a_little() -> tuple[list[dict[str, float]], list[float]]:
    """Loss curve (means over the processes) and a summary of the weights."""
    options = {"images": 20, "batch": 4, "average_images": 16}
    recipe = create_recipe("dptn", "tiny", network={"width": 8, "max_width": 16}, training=options)
    state = TrainingState(recipe, torch.device("cpu"))
    rows = distributed.share(4)
    mine = train(state, lambda step: Batch(*(part[rows] for part in global_batch(step)[:4])))
    curve = [{name: distributed.average(value).item() for name, value in losses.items()} for losses in mine]
    return curve, [value.double().abs().sum().item() for value in state.published.state_dict().values()]


def test_two_processes_have_the_loss_curve_of_one(tmp_path):
    curve, weights = train_a_little()
    (first, first_weights), (second, second_weights) = in_group(train_a_little, tmp_path)
    assert first == second
    assert first_weights == second_weights, "every process holds the same weights"
    for ours, theirs in zip(first, curve, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    # Adam turns the rounding of a true zero (a bias before a norm) into steps of the learning rate.
    assert first_weights == pytest.approx(weights, rel=1e-3, abs=5e-3)


def test_gradients_rows_and_votes_are_shared(tmp_path):
    def work() -> list[Any]:
        rank = dist.get_rank()
        used, unused = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
        used.grad = torch.full((2,), 2.0 * rank)
        distributed.average_gradients([used, unused])
        rows = distributed.gather_rows(torch.full((2, 1), float(rank)))
        assert unused.grad is not None
        return [
            used.grad.tolist(), unused.grad.tolist(), rows.flatten().tolist(),
            distributed.anywhere(rank == 1), distributed.anywhere(False),
        ]  # fmt: skip

    for found in in_group(work, tmp_path):
        assert found == [[1, 1], [0, 0], [0, 0, 1, 1], True, False]


def test_the_history_is_that_of_the_global_batch(tmp_path):
    samples = torch.arange(40.0).reshape(10, 4, 1)  # ten steps of four

    def work() -> list[Any]:
        pool = HistoryPool(5, seed=3)
        rows = distributed.share(4)
        shown = [pool.query(step[rows], number).flatten().tolist() for number, step in enumerate(samples)]
        return [shown, torch.stack(pool.samples).flatten().tolist()]

    alone_shown, alone_pool = work()
    (first, first_pool), (second, second_pool) = in_group(work, tmp_path)
    assert [ours + theirs for ours, theirs in zip(first, second, strict=True)] == alone_shown
    assert first_pool == second_pool == alone_pool


def test_one_process_shares_with_nobody():
    value = torch.ones(3)
    assert distributed.average(value) is value
    assert distributed.gather_rows(value) is value
    assert distributed.share(4) == slice(0, 4)


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 3)
    with pytest.raises(ValueError, match="a batch of 4 does not divide among 3 processes"):
        distributed.share(4)
