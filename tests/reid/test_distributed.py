"""What processes exchange: rows of the batch with their gradients, sums, means, votes."""

import os
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from reid import distributed
from reid.configuration import ReidConfig
from reid.losses import seen, training_loss
from reid.training import synchronised
from tests.reference.processes import ends, in_group

CONFIG = ReidConfig(loss="triplet", instances=4, synthetic_weight=0.5, triplet_weight=0.7)


def gradients(config):
    """Loss and gradients of a linear network and classifier on this process's part of 16 images."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(16, 6, generator=generator)
    network, classifier = (torch.randn(*shape, generator=generator).requires_grad_() for shape in ((6, 5), (5, 4)))
    labels, synthetic = torch.arange(4).repeat_interleave(4), torch.arange(16) % 3 == 0
    part = distributed.part(16)
    features = rows[part] @ network
    found = seen(*(distributed.gather(head) for head in (features @ classifier, features)))
    whole = (distributed.gather(labels[part]), distributed.gather(synthetic[part]))
    assert torch.equal(whole[0], labels)
    assert torch.equal(whole[1], synthetic)
    loss = training_loss(config, found, *whole)
    loss.backward()
    distributed.add_up([network.grad, classifier.grad])
    return [loss.item(), *network.grad.flatten().tolist(), *classifier.grad.flatten().tolist()]


@pytest.mark.parametrize("world", [2, 4])
def test_the_sum_of_the_gradients_is_the_one_of_the_whole_batch(tmp_path, world):
    alone = gradients(CONFIG)
    found = in_group(lambda: gradients(CONFIG), tmp_path, world)
    assert all(one == found[0] for one in found), "every process takes the same step"
    assert found[0] == pytest.approx(alone, rel=1e-5, abs=1e-6)


def test_triplets_are_mined_in_the_whole_batch(tmp_path):
    """In this process's part alone, of two identities, other negatives would be the nearest."""
    config = replace(CONFIG, softmax_weight=0.0, margin=5.0)
    parts = [gradients(config)[0], *(found[0] for found in in_group(lambda: gradients(config), tmp_path))]
    assert parts == pytest.approx([parts[0]] * 3, rel=1e-6)


def test_sums_means_and_votes(tmp_path):
    def work():
        rank = distributed.rank()
        one, two = torch.full((2, 2), 1.0 + rank), torch.full((3,), 10.0 * rank)
        distributed.add_up([one, two])
        mean = torch.tensor([4.0 * rank])
        distributed.average([mean])
        spread = torch.full((1, 2), float(rank)).t()  # not contiguous
        votes = [distributed.anywhere(rank == 1), distributed.anywhere(False)]
        return [one.tolist(), two.tolist(), mean.tolist(), distributed.gather(spread).flatten().tolist(), votes]

    for found in in_group(work, tmp_path):
        assert found == [[[3, 3], [3, 3]], [10, 10, 10], [2], [0, 0, 1, 1], [True, False]]


def test_the_first_works_for_all(tmp_path):
    def work():
        made = distributed.in_first(lambda: distributed.rank() + 7)
        try:
            distributed.in_first(lambda: int("seven"))
        except ValueError as error:
            return [made, str(error)]

    first, second = in_group(work, tmp_path)
    assert first == [7, "invalid literal for int() with base 10: 'seven'"]
    assert second == [None, "the first process could not go on; its message says why"]


def test_one_process_exchanges_nothing():
    rows = torch.ones(3, requires_grad=True)
    assert distributed.gather(rows) is rows
    distributed.add_up([rows])
    distributed.average([rows])
    assert rows.tolist() == [1, 1, 1]
    assert (distributed.part(5), distributed.anywhere(True)) == (slice(0, 5), True)
    distributed.require_same({"options": "anything"})
    assert distributed.in_all(lambda: 7) == 7


@pytest.mark.parametrize(("batch", "processes"), [(16, 3), (2, 2), (7, 2)])
def test_a_batch_that_cannot_be_shared(batch, processes):
    with pytest.raises(ValueError, match=f"batch: {batch} images do not divide among {processes} processes"):
        distributed.part_size(batch, processes)
    assert distributed.part_size(2 * processes, processes) == 2


def test_processes_that_differ_are_refused(tmp_path):
    def work():
        distributed.require_same({"options": "the same", "epochs done": "1"})
        try:
            distributed.require_same({"options": "the same", "images": "1", "epochs done": str(distributed.rank())})
        except ValueError as error:
            return [type(error).__name__, str(error)]

    first, second = in_group(work, tmp_path)
    assert first[1].startswith("the processes differ in epochs done: start all of them")
    assert (first[0], second) == ("ValueError", ["Reported", first[1]])


def test_all_go_on_or_none(tmp_path):
    """A reason is given once, by the first process that has it."""
    reasons = {1: "disk", 2: "network", 3: "disk"}

    def work():
        def fail():
            if distributed.rank() in reasons:
                raise ValueError(reasons[distributed.rank()])

        made = distributed.in_all(lambda: distributed.rank() + 7)
        try:
            distributed.in_all(fail)
        except ValueError as error:
            return [made, type(error).__name__, str(error)]

    silent = "another process could not go on; its message says why"
    assert in_group(work, tmp_path, 4) == [
        [7, "Reported", silent],
        [8, "ValueError", "disk"],
        [9, "ValueError", "network"],
        [10, "Reported", silent],
    ]


def test_the_end_of_another_process_is_told_from_a_bug(tmp_path):
    def work():
        if distributed.rank() == 1:
            (tmp_path / "1.json").write_text("null")
            os._exit(0)
        with pytest.raises(distributed.PeerLost):
            distributed.anywhere(False)
        return "alone"

    assert in_group(work, tmp_path) == ["alone", None]
    with pytest.raises(RuntimeError, match="a bug") as caught, distributed._exchange():
        raise RuntimeError("a bug")
    assert not isinstance(caught.value, distributed.PeerLost)


def test_a_process_that_waits_for_ever_is_ended():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    assert ends([child], deadline=0.1) == [None]


def test_synchronised_networks_have_the_same_checkpoints():
    def network():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2), nn.BatchNorm1d(2))

    plain, converted = network(), synchronised(network(), torch.device("cuda"))
    plain.eval()(torch.ones(2, 3, 4, 4))
    converted.eval()(torch.ones(2, 3, 4, 4))
    assert [type(converted[place]) for place in (1, 4)] == [nn.SyncBatchNorm] * 2
    assert list(plain.state_dict()) == list(converted.state_dict())
    plain.load_state_dict(converted.state_dict())
    same = synchronised(plain, torch.device("cpu"))
    assert same is plain
    assert not any(isinstance(layer, nn.SyncBatchNorm) for layer in same.modules())
