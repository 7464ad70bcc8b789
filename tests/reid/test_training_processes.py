"""Processes that share every batch train as one does, end alike, and continue what others began."""

import hashlib
import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch import nn

from reid import checkpoint, torchreid_api
from reid.dataset import MixedDataset
from reid.mixing import MixPolicy, mix
from reid.training import ReidConfig, train
from tests.reference.noise import people
from tests.reference.processes import in_group

SMALL = ReidConfig(height=64, width=32, epochs=2, batch=16, learning_rate=1e-3, steps=(1,), pad=2, erase=0.5)
TRIPLET = replace(
    SMALL, loss="triplet", instances=4, triplet_weight=0.7, synthetic_weight=0.5, synthetic_smoothing=0.3, quota=0.25,
    clip=0.5, optimiser="sgd",
)  # fmt: skip


def trained(config, folder, resume=None):
    """Rows, shown losses, and a digest of the weights in this process; the checkpoints go into `folder`."""
    real, synthetic = people(), people(per_identity=2, seed=1)
    dataset = MixedDataset([real, synthetic], mix(real, [synthetic], MixPolicy()), config.view)
    states, rows, losses, seen = [], [], [], []
    model = train(
        config, dataset, num_classes=8, resume=resume, on_checkpoint=states.append, on_epoch=rows.append,
        on_loss=lambda *point: losses.append(point), progress=lambda *counts: seen.append(counts),
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    for row, state in zip(rows, states, strict=True):
        (folder / f"epoch-{row['epoch']}").write_bytes(state)
    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in model.state_dict().values())).hexdigest()
    kept = [{name: row[name] for name in ("epoch", "images_seen", "loss", "accuracy")} for row in rows]
    return {"rows": kept, "losses": losses, "seen": seen, "digest": digest, "states": len(states)}


def require_as_one(config, folder):
    alone = trained(config, folder / "alone")
    first, second = in_group(lambda: trained(config, folder / "together"), folder)
    assert first["seen"] == second["seen"] == [list(counts) for counts in alone["seen"]], "images of the whole batch"
    assert first["states"] == config.epochs
    assert (second["rows"], second["losses"], second["states"]) == ([], [], 0), "the first process alone reports"
    assert first["digest"] == second["digest"]
    for ours, theirs in zip(first["rows"], alone["rows"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    ours, theirs = (checkpoint.from_bytes((folder / name / "epoch-2").read_bytes()) for name in ("together", "alone"))
    assert (ours.header["processes"], theirs.header["processes"]) == ([2], [1])
    assert ours.tensors.keys() == theirs.tensors.keys()
    for key, value in theirs.tensors.items():
        torch.testing.assert_close(ours.tensors[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_two_train_a_classifier_as_one_does(tmp_path):
    """The other layers are frozen, so that batch normalisation takes no statistics."""
    require_as_one(replace(SMALL, classifier_epochs=2), tmp_path)


def test_frozen_batches_of_identities(tmp_path):
    require_as_one(replace(TRIPLET, classifier_epochs=2, optimiser="adam"), tmp_path)


class Plain(nn.Module):
    """A network without batch normalisation, whose every layer learns."""

    def __init__(self, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 15 * 7, 16))
        self.classifier = nn.Linear(16, num_classes)

    def forward(self, images):
        features = self.layers(images)
        return (self.classifier(features), features) if self.training else features


def test_two_train_by_triplets_as_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr("reid.torchreid_api.build_model", lambda name, num_classes, *, features: Plain(num_classes))
    require_as_one(TRIPLET, tmp_path)


BOTH = replace(SMALL, model="mobilenetv2_x1_0", classifier_epochs=1)  # it has dropout


def test_whole_networks_end_alike_and_resume_exactly(tmp_path):
    """Batch statistics are each process's own on a CPU; the saved ones are averages."""
    first, second = in_group(lambda: trained(BOTH, tmp_path / "whole"), tmp_path)
    assert first["digest"] == second["digest"]
    begun = (tmp_path / "whole" / "epoch-1").read_bytes()
    (tmp_path / "again").mkdir()
    for found in in_group(lambda: trained(BOTH, tmp_path / "resumed", begun), tmp_path / "again"):
        assert found["digest"] == first["digest"]
    assert header(tmp_path / "resumed" / "epoch-2")["processes"] == [2]

    trained(BOTH, tmp_path / "alone", begun)
    assert header(tmp_path / "alone" / "epoch-2")["processes"] == [1, 2]


def test_processes_that_have_other_images_are_refused(tmp_path):
    def work():
        config = replace(SMALL, seed=torch.distributed.get_rank())
        try:
            trained(config, tmp_path)
        except ValueError as error:
            return str(error)

    for message in in_group(work, tmp_path):
        assert message.startswith("the processes differ in options, weights to start from: start all of them")


def test_processes_that_start_from_other_weights_are_refused(tmp_path):
    """The path, and all else that they are told, is the same; as on nodes whose files of that name differ."""
    for rank in range(2):
        torch.manual_seed(rank)
        torch.save(torchreid_api.build_model(SMALL.model, 8).state_dict(), tmp_path / f"{rank}.pth")

    def work():
        other = tmp_path / f"{torch.distributed.get_rank()}.pth"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("reid.training.initial_weights", lambda config: other)
            try:
                trained(replace(SMALL, init="weights.pth"), tmp_path)
            except ValueError as error:
                return str(error)

    for message in in_group(work, tmp_path):
        assert message.startswith("the processes differ in weights to start from: start all of them")


def test_processes_that_go_on_from_other_moments_are_refused(tmp_path):
    """Of the same epoch of the same training, which only ended otherwise."""
    trained(replace(SMALL, epochs=1), tmp_path / "one")
    saved = (tmp_path / "one" / "epoch-1").read_bytes()
    tensors = safetensors.torch.load(saved)
    moment = next(key for key in sorted(tensors) if key.endswith(".exp_avg"))
    tensors[moment] = tensors[moment] + 1e-6
    kept = {checkpoint.HEADER: json.dumps(checkpoint.from_bytes(saved).header)}
    states = (saved, safetensors.torch.save(tensors, kept))

    def work():
        try:
            trained(replace(SMALL, epochs=1), tmp_path, states[torch.distributed.get_rank()])
        except ValueError as error:
            return str(error)

    for message in in_group(work, tmp_path):
        assert message.startswith("the processes differ in weights to start from: start all of them")


def header(path):
    return checkpoint.from_bytes(path.read_bytes()).header
