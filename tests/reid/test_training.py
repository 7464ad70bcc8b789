"""The training loop: it learns, it resumes exactly, it refuses what it cannot do well."""

import dataclasses
import json
import re
import warnings
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from reid import checkpoint, torchreid_api
from reid.configuration import FREE_OPTIONS, LATER_OPTIONS, determining_options, from_saved
from reid.dataset import MixedDataset
from reid.features import extract_features
from reid.metrics import distance_matrix, evaluate
from reid.mixing import MixPolicy, mix
from reid.rates import learning_rate
from reid.sources import cameras, identities
from reid.torchreid_api import torchreid
from reid.training import ReidConfig, TrainingState, _begin_epoch, _sampler, load_model, train
from tests.reference.noise import NoiseSource, people

SMALL = ReidConfig(
    height=64, width=32, epochs=3, batch=16, learning_rate=1e-3, steps=(2,), pad=2, erase=0.5, classifier_epochs=1
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def mixed(config, **options):
    real, synthetic = people(**options), people(per_identity=2, seed=1)
    return MixedDataset([real, synthetic], mix(real, [synthetic], MixPolicy()), config.view)


def trained(config, dataset=None, **options):
    """Every checkpoint, and every row."""
    states, rows = [], []
    dataset = dataset or mixed(config)
    train(config, dataset, num_classes=8, on_checkpoint=states.append, on_epoch=rows.append, **options)
    return states, rows


@pytest.fixture(scope="module")
def uninterrupted():
    return trained(SMALL)


def tensors(state):
    return checkpoint.from_bytes(state).tensors


def assert_same_state(one, two):
    one, two = tensors(one), tensors(two)
    assert one.keys() == two.keys()
    assert [key for key in one if not torch.equal(one[key], two[key])] == []


def test_it_overfits_eight_identities():
    config = ReidConfig(height=64, width=32, epochs=6, batch=16, learning_rate=2e-3, steps=())
    source = people(per_identity=8)
    dataset = MixedDataset([source], mix(source, [], MixPolicy()), config.view)
    states, rows = trained(config, dataset)
    assert rows[-1]["loss"] < 0.75 * rows[0]["loss"]
    assert rows[-1]["accuracy"] > 0.8

    unseen = people(per_identity=4, seed=7)
    model, _ = load_model(states[-1])
    features = extract_features(model, unseen, height=64, width=32)
    pids, camids = identities(unseen), cameras(unseen)
    found = evaluate(distance_matrix(features, features), pids, pids, camids, camids)
    assert found.mAP > 0.6  # by chance about 0.15


def test_rows_count_images_and_iterations(uninterrupted):
    _, rows = uninterrupted
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["iterations"] for row in rows] == [4, 8, 12]
    assert [row["images_seen"] for row in rows] == [64, 128, 192]
    assert [row["learning_rate"] for row in rows] == pytest.approx([1e-3, 1e-3, 1e-4])


@pytest.mark.parametrize("done", [1, 2])
def test_a_resumed_training_equals_an_uninterrupted_one(uninterrupted, done):
    states, rows = uninterrupted
    resumed_states, resumed_rows = trained(SMALL, resume=states[done - 1])
    assert_same_state(states[-1], resumed_states[-1])
    assert [row["loss"] for row in resumed_rows] == [row["loss"] for row in rows[done:]]


def test_workers_and_the_global_generator_change_nothing(uninterrupted):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    states, _ = trained(dataclasses.replace(SMALL, workers=2, epochs=3))
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_state(uninterrupted[0][-1], states[-1])


def test_a_finished_training_is_not_continued(uninterrupted):
    states, rows = trained(SMALL, resume=uninterrupted[0][-1])
    assert (states, rows) == ([], [])


def test_a_loaded_model_gives_the_features_of_the_trained_one(uninterrupted):
    source = people(per_identity=2)
    model = train(SMALL, mixed(SMALL), num_classes=8, resume=uninterrupted[0][-1])
    loaded, config = load_model(uninterrupted[0][-1])
    assert config == SMALL
    one, two = (extract_features(each, source, height=64, width=32) for each in (model, loaded))
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    three = extract_features(loaded, source, height=64, width=32, batch=5)
    np.testing.assert_allclose(two, three, rtol=1e-4, atol=1e-5)


def test_only_the_classifier_learns_at_first(uninterrupted):
    first, second = (tensors(state) for state in uninterrupted[0][:2])
    assert not any(key.startswith("optimiser.conv1") for key in first)
    assert any(key.startswith("optimiser.conv1") for key in second)


def test_dropout_resumes_exactly(monkeypatch):
    def build(name, num_classes):
        layers = torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(3 * 64 * 32, num_classes)
        return torch.nn.Sequential(*layers)

    monkeypatch.setattr("reid.torchreid_api.build_model", build)
    config = dataclasses.replace(SMALL, classifier_epochs=0)
    states, _ = trained(config)
    torch.manual_seed(99)
    resumed, _ = trained(config, resume=states[0])
    assert_same_state(states[-1], resumed[-1])


@pytest.mark.parametrize("optimiser", ["sgd", "rmsprop"])
def test_other_optimisers_resume_exactly(optimiser):
    config = dataclasses.replace(SMALL, optimiser=optimiser, epochs=2, learning_rate=1e-3, schedule="cosine")
    states, _ = trained(config)
    resumed, _ = trained(config, resume=states[0])
    assert_same_state(states[-1], resumed[-1])


STRONG = dataclasses.replace(
    SMALL, model="resnet18", loss="triplet", instances=4, neck="bnneck", last_stride=1, optimiser="adam", jitter=True,
    colour=0.5, translate=0.5, warmup_epochs=2, clip=5.0, base_rate=0.1, quota_schedule="annealed", quota=0.25,
    triplet_real_only=True, classifier_epochs=1, epochs=3,
)  # fmt: skip


def test_the_strong_recipe_resumes_exactly():
    states, rows = trained(STRONG)
    assert rows[0]["loss"] > rows[-1]["loss"]
    resumed, resumed_rows = trained(STRONG, resume=states[0])
    assert_same_state(states[-1], resumed[-1])
    assert [row["loss"] for row in resumed_rows] == [row["loss"] for row in rows[1:]]

    model, config = load_model(states[-1])
    assert config == STRONG
    features = extract_features(model, people(per_identity=2), height=64, width=32)
    assert features.shape == (16, 512)


def test_several_heads_learn():
    config = dataclasses.replace(SMALL, model="pcb_p4", height=64, epochs=1, classifier_epochs=0, learning_rate=1e-4)
    states, _ = trained(config)
    trained_, fresh = tensors(states[0]), torchreid_api.build_model("pcb_p4", 8).state_dict()
    assert {key for key in trained_ if key.startswith("model.classifier")} == {
        f"model.{key}" for key in fresh if key.startswith("classifier")
    }
    moved = [f"optimiser.classifier.{head}.weight.exp_avg" for head in range(4)]
    assert all(trained_[key].abs().max() > 0 for key in moved)


class Loaders(NamedTuple):
    """What torchreid's engines ask of a data manager."""

    train_loader: DataLoader
    num_train_pids: int
    test_loader: None = None


@pytest.mark.parametrize(("loss", "rate"), [("softmax", 1e-2), ("triplet", 1e-8)])
def test_the_loss_curve_is_torchreids_on_the_same_batches(loss, rate):
    """Hard mining is no continuous function of the weights: where these move, a rounding may choose other triplets."""
    config = ReidConfig(
        height=64, width=32, epochs=1, batch=16, channels_last=False, loss=loss, instances=4, triplet_weight=0.7,
        optimiser="sgd", learning_rate=rate,
    )  # fmt: skip
    dataset = mixed(config)
    _, rows = trained(config, dataset)
    loader = DataLoader(dataset, batch_sampler=_sampler(config, dataset, 0))
    model = TrainingState(config, 8, torch.device("cpu")).model.train()
    optimiser = torchreid_api.build_optimiser(model, config.optimiser, config.learning_rate, config.weight_decay)
    engines, data = torchreid().engine, Loaders(loader, 8)
    if loss == "softmax":
        engine = engines.ImageSoftmaxEngine(data, model, optimiser, use_gpu=False)
    else:
        engine = engines.ImageTripletEngine(data, model, optimiser, weight_t=0.7, use_gpu=False)
    losses = [engine.forward_backward({"img": images, "pid": labels}) for images, labels, *_ in loader]
    expected = np.mean([one.get("loss", 0.7 * one.get("loss_t", 0) + one.get("loss_x", 0)) for one in losses])
    assert rows[0]["loss"] == pytest.approx(float(expected), rel=1e-4)


def test_frozen_layers_are_those_of_torchreid():
    config = dataclasses.replace(SMALL, new_layers=("fc", "classifier"))
    state = TrainingState(config, 8, torch.device("cpu"))
    for epoch in (0, 1):
        state.epoch = epoch
        _begin_epoch(state)
        theirs = torchreid_api.build_model(config.model, 8).train()
        if epoch == 0:
            torchreid().utils.open_specified_layers(theirs, list(config.new_layers))
        else:
            torchreid().utils.open_all_layers(theirs)
        found, expected = (
            [layer.training for layer in model.modules()] + [one.requires_grad for one in model.parameters()]
            for model in (state.model, theirs)
        )
        assert found == expected
    with pytest.raises(ValueError, match="classifier_epochs: the model has no layer head"):
        trained(dataclasses.replace(SMALL, new_layers=("head",)))


def test_gradients_are_clipped():
    config = dataclasses.replace(SMALL, optimiser="sgd", weight_decay=0.0, epochs=1, learning_rate=1.0)
    clipped = dataclasses.replace(config, clip=1e-3, classifier_epochs=0)
    start = TrainingState(clipped, 8, torch.device("cpu")).model.state_dict()
    end = tensors(trained(clipped)[0][0])
    moved = sum(float((end[f"model.{name}"] - value).square().sum()) for name, value in start.items()
                if name.endswith((".weight", ".bias")))  # fmt: skip
    # four updates by at most clip each, the k-th one carried on by a momentum of 0.9
    assert 0 < moved**0.5 <= 1e-3 * sum(1 - 0.9 ** (k + 1) for k in range(4)) / (1 - 0.9) * (1 + 1e-3)


def test_checkpoints_of_earlier_versions_are_read(uninterrupted):
    before = {name: getattr(SMALL, name) for name in dataclasses.asdict(SMALL) if name not in LATER_OPTIONS}
    saved = json.loads(json.dumps(before))
    assert from_saved(saved) == SMALL
    with pytest.raises(ValueError, match=r"unknown options \(wings\): it needs a newer version"):
        from_saved(saved | {"wings": 2})


def test_what_determines_a_result_leaves_later_defaults_out():
    assert not determining_options(SMALL).keys() & {*LATER_OPTIONS, *FREE_OPTIONS}
    assert determining_options(dataclasses.replace(SMALL, clip=1.0))["clip"] == 1.0


def test_other_options_are_refused_by_name(uninterrupted):
    state = uninterrupted[0][0]
    with pytest.raises(ValueError, match=r"batch \(16 there, 8 asked\).*seed \(0 there, 1 asked\)"):
        trained(dataclasses.replace(SMALL, batch=8, seed=1), resume=state)
    with pytest.raises(ValueError, match="data_digest"):
        trained(SMALL, mixed(SMALL, per_identity=5), resume=state)
    with pytest.raises(ValueError, match="not a checkpoint of a re-ID training"):
        trained(SMALL, resume=state[:-100])


def test_a_diverging_loss_names_its_place_and_keeps_the_last_checkpoint():
    config = dataclasses.replace(SMALL, optimiser="sgd", learning_rate=1e30, classifier_epochs=0)
    states = []
    with pytest.raises(ValueError, match=r"not finite (at epoch 1, step \d|after epoch 1).*lower the learning rate"):
        train(config, mixed(config), num_classes=8, on_checkpoint=states.append)
    assert states == []


def test_one_identity_is_an_error():
    source = NoiseSource([4] * 20)
    dataset = MixedDataset([source], mix(source, [], MixPolicy()), SMALL.view)
    with pytest.raises(ValueError, match="20 images of 1 identities"):
        train(SMALL, dataset, num_classes=dataset.num_classes)


@pytest.mark.parametrize(
    "option",
    [
        {"batch": 1},
        {"optimiser": "lion"},
        {"erase": 1.5},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"quota": 1.0},
        {"neck": "long"},
        {"last_stride": 3},
        {"quota_schedule": "later"},
        {"colour": 2.0},
        {"new_layers": ()},
    ],
)
def test_options_out_of_range_are_errors(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=rf"{name} {re.escape(repr(value))}: must"):
        ReidConfig(**option)


def test_learning_rates_are_torchreids():
    for config, name in (
        (ReidConfig(epochs=12, steps=(3, 7)), "multi_step"),
        (ReidConfig(epochs=12, schedule="cosine"), "cosine"),
    ):
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.learning_rate)
        scheduler = torchreid().optim.build_lr_scheduler(optimiser, name, [3, 7], 0.1, 12)
        for epoch in range(12):
            assert learning_rate(config, epoch) == pytest.approx(optimiser.param_groups[0]["lr"])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the optimiser takes no step here
                scheduler.step()


def test_the_warm_up_rises_with_every_update():
    config = ReidConfig(epochs=12, steps=(3,), warmup_epochs=2, learning_rate=1.0)
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 0, 0.5) == pytest.approx(0.1 + 0.9 / 4)
    assert learning_rate(config, 1, 0.5) == pytest.approx(0.1 + 0.9 * 3 / 4)
    assert [learning_rate(config, epoch) for epoch in (2, 3)] == pytest.approx([1.0, 0.1])


def test_features_that_are_not_finite_are_an_error():
    class Broken(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1) / 0

    with pytest.raises(ValueError, match="not finite"):
        extract_features(Broken(), people(), height=8, width=4)
