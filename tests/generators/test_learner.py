"""One guarded update, and an adversary that its opponent cannot move."""

import pytest
import torch
from torch import nn

from generators.history import HistoryPool
from generators.learner import Adversary, Guard, Learner


def learner(clip: float = 0.0, guard: Guard | None = None) -> Learner:
    network = nn.Linear(2, 1, bias=False)
    nn.init.ones_(network.weight)
    return Learner("line", network, 0.1, 0.5, guard or Guard(), clip)


def test_an_update_goes_down_the_sum_of_the_losses():
    line = learner()
    x = torch.tensor([[1.0, -1.0]])
    losses = line.update({"up": 3 * line.network(x).sum(), "down": -line.network(x).sum()})
    assert losses == {"up": 0, "down": 0}
    assert not losses["up"].requires_grad
    torch.testing.assert_close(line.network.weight, torch.tensor([[0.9, 1.1]]))  # Adam's first step is the rate


def test_the_factor_scales_the_rate():
    line = learner()
    line.set_factor(0.5)
    line.update({"loss": line.network(torch.ones(1, 2)).sum()})
    torch.testing.assert_close(line.network.weight, torch.tensor([[0.95, 0.95]]))


def test_gradients_are_clipped():
    line = learner(clip=1.0)
    line.update({"loss": 100 * line.network(torch.ones(1, 2)).sum()})
    assert line.network.weight.grad.norm().item() == pytest.approx(1)


def test_the_guard_names_the_term_and_the_images():
    guard = Guard()
    guard.images_seen = 64
    guard.watch({"fine": torch.tensor(1.0), "broken": torch.tensor(float("nan"))})
    guard.check(since=64)  # this step is judged later
    with pytest.raises(ValueError, match=r"^broken is not finite after 64 images; what was saved before is good"):
        guard.check()
    guard.check()


def test_the_guard_watches_gradients():
    line = learner()
    line.update({"loss": (line.network(torch.zeros(1, 2)) - 2).sum().sqrt()})
    with pytest.raises(ValueError, match="loss, gradient of line is not finite"):
        line.guard.check()


@pytest.fixture
def adversary() -> Adversary:
    judge = learner()
    return Adversary(judge, judge.network, "lsgan", weight=5.0)


def test_judging_reaches_the_images_only(adversary):
    image = torch.ones(1, 2, requires_grad=True)
    loss = adversary.judge(image)
    assert loss.item() == 5 * (2 - 1) ** 2
    loss.backward()
    assert image.grad.abs().sum() > 0
    weight = adversary.learner.network.weight
    assert weight.grad is None
    assert weight.requires_grad


def test_learning_takes_half_of_both_sides_and_spares_the_generator(adversary):
    fake = torch.tensor([[1.0, 2.0]], requires_grad=True)
    found = adversary.learn(torch.tensor([[2.0, 2.0]]), fake)
    assert {name: value.item() for name, value in found.items()} == {"line": 5 * 0.5 * ((4 - 1) ** 2 + 3**2)}
    assert fake.grad is None
    assert not torch.equal(adversary.learner.network.weight, torch.ones(1, 2))


def test_the_adversary_sees_its_history():
    judge = learner()
    pool = HistoryPool(1, seed=0)
    adversary = Adversary(judge, judge.network, "lsgan", pool=pool)
    for step in range(6):
        adversary.learn(torch.ones(1, 2), torch.full((1, 2), float(step)), step)
    assert len(pool.samples) == 1
