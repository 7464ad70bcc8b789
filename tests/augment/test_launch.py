"""Which device a process takes, and what is missing where several were started by hand."""

import pytest
import torch

from augment import launch


@pytest.fixture
def alone(monkeypatch):
    for name in (
        "WORLD_SIZE",
        "SLURM_STEP_NUM_TASKS",
        "RANK",
        "SLURM_PROCID",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, (2, 4)),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "3"}, (1, 3)),
        ({"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8"}, (0, 2)),
    ],
)
def test_ranks_are_those_of_torchrun_or_slurm(alone, monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launch.rank() == launch.Rank(*expected)
    assert launch.is_first() == (expected[0] == 0)


def test_a_rank_that_is_no_number(alone, monkeypatch):
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ValueError, match="'first'; unset them"):
        launch.rank()


def test_one_process_has_the_device_it_asks_for(alone, monkeypatch):
    monkeypatch.setattr(launch, "pick_device", lambda name: torch.device("cuda"))
    assert launch.own_device("auto") == torch.device("cuda")


def test_one_process_needs_no_group(alone):
    with launch.processes("cpu") as device:
        assert device == torch.device("cpu")
        assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("name", ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_an_address_is_asked_for(alone, monkeypatch, name):
    monkeypatch.setenv(name, "2")
    with (
        pytest.raises(ValueError, match="2 processes, but MASTER_ADDR and MASTER_PORT not set; start them"),
        launch.processes("cpu"),
    ):
        pass


def test_more_processes_than_gpus(alone, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(launch, "pick_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="process 3 of this node finds 2 GPUs"):
        launch.own_device("auto")


def test_each_process_has_its_gpu(alone, monkeypatch):
    chosen = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(launch, "pick_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert launch.own_device("auto") == torch.device("cuda", 1)
    assert chosen == [1]
