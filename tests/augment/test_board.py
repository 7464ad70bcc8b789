"""TensorBoard's curves of a re-ID training: the figures of epochs.csv and results.json, each once."""

import csv
import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from augment.board import Board
from augment.interruption import Preempted
from augment.train_reid import TrainReidConfig, run
from reid import checkpoint, training
from reid.mixing import MixPolicy
from reid.training import ReidConfig

SMALL = TrainReidConfig(ReidConfig(height=32, width=16, epochs=3, batch=8, learning_rate=1e-3), MixPolicy(0.0))


def curves(folder):
    """Of each curve its points, as TensorBoard shows them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_resumed_run_has_every_point_once(pedestrians, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECK_STEPS", 2)
    whole = run(SMALL, pedestrians, tmp_path / "whole", device="cpu", tensorboard=True).parent
    out = tmp_path / "run"

    def terminate(seen, total):
        if seen == 88:  # in the second epoch of 6 steps, after points that the second go makes again
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted):
        run(SMALL, pedestrians, out, device="cpu", tensorboard=True, progress=terminate)
    assert max(step for step, _ in curves(out / "tensorboard")["step/loss"]) == 80
    path = run(SMALL, pedestrians, out, device="cpu", tensorboard=True)
    found = curves(out / "tensorboard")
    assert found == curves(whole / "tensorboard")

    with (out / "epochs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("loss", "accuracy", "learning_rate"):
        expected = [(int(row["images_seen"]), pytest.approx(float(row[name]), rel=1e-6)) for row in rows]
        assert found[f"epoch/{name}"] == expected
    per_epoch = int(rows[0]["images_seen"])
    steps = [epoch * per_epoch + seen for epoch in range(3) for seen in (16, 32, 48)]
    assert [step for step, _ in found["step/loss"]] == steps
    first = [loss for _, loss in found["step/loss"][:3]]
    assert sum(first) / 3 == pytest.approx(float(rows[0]["loss"]), rel=1e-6)
    results = json.loads(path.read_text())
    assert found["results/mAP"] == [(3 * per_epoch, pytest.approx(results["mAP"], rel=1e-6))]
    assert found["results/rank-1"] == [(3 * per_epoch, pytest.approx(results["cmc"]["1"], rel=1e-6))]


def test_it_decides_nothing(pedestrians, tmp_path):
    config = replace(SMALL, training=replace(SMALL.training, epochs=1))
    plain, shown = (
        run(config, pedestrians, tmp_path / name, device="cpu", tensorboard=name == "shown").parent
        for name in ("plain", "shown")
    )
    assert [(folder / "tensorboard").exists() for folder in (plain, shown)] == [False, True]
    ours, theirs = (checkpoint.from_bytes((one / "checkpoint.safetensors").read_bytes()) for one in (plain, shown))
    assert ours.header | {"seconds": 0} == theirs.header | {"seconds": 0}
    assert ours.tensors.keys() == theirs.tensors.keys()
    assert [key for key, value in ours.tensors.items() if not torch.equal(value, theirs.tensors[key])] == []
    log = []
    run(config, pedestrians, plain, device="cpu", tensorboard=True, log=log.append)
    assert log[-1] == "already done"


def test_curves_of_a_failed_start_bind_nobody(pedestrians, tmp_path):
    """The first training leaves curves and a configuration only; the second one begins both afresh."""
    wild = replace(SMALL, training=replace(SMALL.training, learning_rate=1e30, epochs=1))
    with pytest.raises(ValueError, match="is not finite at epoch 1, step") as caught:
        run(wild, pedestrians, tmp_path, device="cpu", tensorboard=True)
    assert "checkpoint" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "tensorboard"]
    calm = replace(SMALL, training=replace(SMALL.training, epochs=1))
    run(calm, pedestrians, tmp_path, device="cpu", tensorboard=True)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2, "one file of the training, one of its results"


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Board(None, 0) as board:
        board.scalars("step", {"loss": 1.0}, 8)
        board.flush()
    assert list(tmp_path.iterdir()) == []
