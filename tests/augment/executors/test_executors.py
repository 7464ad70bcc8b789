"""The table of executors and their options."""

from dataclasses import dataclass

import pytest

from augment import executors
from augment.executors import LIBRARIES, configured, open_executor


@dataclass(frozen=True)
class Options:
    partition: str = "gpu"
    gpus: int = 1
    exclusive: bool = False
    memory: str | int | None = None


def test_options_are_checked():
    assert configured(Options, "slurm", {}) == Options()
    assert configured(Options, "slurm", {"gpus": 2, "memory": 64}) == Options(gpus=2, memory=64)
    with pytest.raises(
        ValueError, match=r"^--executor-option gpu=2: no option of --executor slurm; expected some of part"
    ):
        configured(Options, "slurm", {"gpu": 2})
    with pytest.raises(ValueError, match=r"^--executor-option gpus=two: expected int, as in gpus=1$"):
        configured(Options, "slurm", {"gpus": "two"})
    with pytest.raises(ValueError, match="gpus=True: expected int"):
        configured(Options, "slurm", {"gpus": True})


def test_an_unknown_executor(tmp_path):
    with pytest.raises(ValueError, match=r"^--executor cloud: expected local, slurm, ray$"):
        open_executor("cloud", None, {}, tmp_path)


@pytest.mark.parametrize("name", LIBRARIES)
def test_an_absent_library_is_said(name, monkeypatch, tmp_path):
    monkeypatch.setattr(executors.importlib.util, "find_spec", lambda library: None)
    with pytest.raises(ValueError, match=rf"^--executor {name}: needs \w+: pip install 'reid-augment\[{name}\]'$"):
        open_executor(name, None, {}, tmp_path)


def test_local_has_no_options(tmp_path):
    with pytest.raises(ValueError, match="--executor-option gpus=1: no option of --executor local; there are none"):
        open_executor("local", None, {"gpus": 1}, tmp_path)
    assert open_executor("local", 3, {}, tmp_path).slots == 3


@pytest.mark.parametrize(("name", "settings"), [("slurm", {"cluster": "local"}), ("ray", {"address": "local"})])
def test_usual_slots_are_those_of_an_executor_without_jobs(name, settings, tmp_path):
    """Of Ray they are not known before its cluster is joined."""
    pytest.importorskip(executors.LIBRARIES[name])
    expected = executors.usual_slots(name, settings)
    assert expected == (100 if name == "slurm" else None)
    if name == "slurm":
        opened = open_executor(name, None, settings, tmp_path)
        assert opened.slots == expected
        opened.close()
    with pytest.raises(ValueError, match=rf"^--executor-option gpu=1: no option of --executor {name}"):
        executors.usual_slots(name, {"gpu": 1})


@pytest.mark.parametrize(("visible", "slots"), [("", 1), ("0", 1), ("0,2,3", 3)])
def test_usual_slots_here_are_the_gpus(visible, slots, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert executors.usual_slots("local", {}) == open_executor("local", None, {}, tmp_path).slots == slots
