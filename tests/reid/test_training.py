"""The training loop: it learns, it resumes exactly, it refuses what it cannot do well."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reid import checkpoint
from reid.dataset import MixedDataset
from reid.features import extract_features
from reid.metrics import distance_matrix, evaluate
from reid.mixing import MixPolicy, mix
from reid.sources import cameras, identities
from reid.torchreid_api import torchreid
from reid.training import ReidConfig, learning_rate, load_model, smoothed_loss, train
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
    [{"batch": 1}, {"optimiser": "lion"}, {"erase": 1.5}, {"epochs": 0}, {"learning_rate": 0.0}, {"quota": 1.0}],
)
def test_options_out_of_range_are_errors(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=rf"{name} {value!r}: must be"):
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


def batch_of_logits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=generator)
    return logits, torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([False, False, True, True, False, True])


def test_the_loss_is_torchreids():
    logits, labels, synthetic = batch_of_logits()
    expected = torchreid().losses.CrossEntropyLoss(5, use_gpu=False)(logits, labels)
    assert float(smoothed_loss(ReidConfig(), logits, labels, synthetic)) == pytest.approx(float(expected), rel=1e-6)


def test_synthetic_images_may_be_smoothed_and_weighted_otherwise():
    logits, labels, synthetic = batch_of_logits()
    real = F.cross_entropy(logits[~synthetic], labels[~synthetic], label_smoothing=0.1, reduction="sum")
    uniform = -F.log_softmax(logits[synthetic], 1).mean(1).sum()
    config = ReidConfig(synthetic_smoothing=1.0, synthetic_weight=0.5)
    found = smoothed_loss(config, logits, labels, synthetic)
    assert float(found) == pytest.approx(float((real + 0.5 * uniform) / 6), rel=1e-6)


def test_features_that_are_not_finite_are_an_error():
    class Broken(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1) / 0

    with pytest.raises(ValueError, match="not finite"):
        extract_features(Broken(), people(), height=8, width=4)
