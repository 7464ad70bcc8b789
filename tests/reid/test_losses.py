"""The losses are torchreid's; synthetic images may count otherwise, and never by accident."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from reid.configuration import ReidConfig
from reid.losses import Seen, hard_triplets, seen, smoothed_loss, training_loss, triplet_loss
from reid.torchreid_api import torchreid
from tests.reference.triplets import hardest_triplets

TRIPLET = ReidConfig(loss="triplet", instances=4)


def batch_of_logits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=generator)
    return logits, torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([False, False, True, True, False, True])


def batch_of_features(seed=0, people=4, each=4, dimensions=16):
    features = torch.randn(people * each, dimensions, generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(people).repeat_interleave(each)
    return features.requires_grad_(), labels, torch.arange(people * each) % each == 0


def gradient(loss, features):
    return torch.autograd.grad(loss, features)[0]


def test_cross_entropy_is_torchreids():
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


@pytest.mark.parametrize(("seed", "margin"), [(0, 0.3), (1, 0.3), (2, 2.0), (3, 0.0)])
def test_triplets_and_their_slopes_are_torchreids(seed, margin):
    features, labels, synthetic = batch_of_features(seed)
    config = dataclasses.replace(TRIPLET, margin=margin)
    ours = triplet_loss(config, features, labels, synthetic)
    theirs = torchreid().losses.TripletLoss(margin)(features, labels)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-6)
    torch.testing.assert_close(gradient(ours, features), gradient(theirs, features), rtol=0, atol=1e-6)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=12), st.floats(0, 2))
def test_triplets_are_those_of_the_slow_search(images, margin):
    labels, takes_part = torch.tensor([label for label, _ in images]), torch.tensor([part for _, part in images])
    features = torch.randn(len(images), 3, generator=torch.Generator().manual_seed(len(images)), dtype=torch.float64)
    features.requires_grad_()
    losses, counts = hard_triplets(features, labels, takes_part, margin)
    expected = hardest_triplets(features.detach().numpy(), labels.tolist(), takes_part.tolist(), margin)
    assert counts.tolist() == [loss is not None for loss in expected]
    assert losses.tolist() == pytest.approx([loss or 0.0 for loss in expected], abs=1e-5)
    assert torch.isfinite(gradient(losses.sum(), features)).all()


def test_a_batch_of_one_identity_has_no_triplets_and_no_slope():
    features, _, synthetic = batch_of_features()
    loss = triplet_loss(TRIPLET, features, torch.zeros(16, dtype=torch.long), synthetic)
    assert float(loss.detach()) == 0
    assert not gradient(loss, features).any()


def test_triplets_of_real_images_are_those_of_the_batch_without_the_others():
    features, labels, synthetic = batch_of_features()
    config = dataclasses.replace(TRIPLET, triplet_real_only=True)
    loss = triplet_loss(config, features, labels, synthetic)
    alone = triplet_loss(TRIPLET, features[~synthetic], labels[~synthetic], synthetic[~synthetic])
    assert float(loss.detach()) == pytest.approx(float(alone.detach()), rel=1e-6)
    assert not gradient(loss, features)[synthetic].any()


def test_a_synthetic_anchor_may_count_less():
    features, labels, synthetic = batch_of_features()
    losses, _ = hard_triplets(features, labels, torch.ones(16, dtype=torch.bool), 0.3)
    found = triplet_loss(dataclasses.replace(TRIPLET, synthetic_weight=0.25), features, labels, synthetic)
    expected = (losses[~synthetic].sum() + 0.25 * losses[synthetic].sum()) / 16
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)


def test_both_losses_are_weighted_as_in_torchreids_engine():
    logits, labels, synthetic = batch_of_logits()
    features = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    config = dataclasses.replace(TRIPLET, triplet_weight=0.7, softmax_weight=0.2)
    loss = training_loss(config, seen(logits, features), labels, synthetic)
    losses = torchreid().losses
    expected = 0.2 * losses.CrossEntropyLoss(5, use_gpu=False)(logits, labels) + 0.7 * losses.TripletLoss()(
        features, labels
    )
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


def test_several_heads_are_torchreids_deep_supervision():
    logits, labels, synthetic = batch_of_logits()
    heads = [logits, 2 * logits, logits.flip(1)]
    criterion = torchreid().losses.CrossEntropyLoss(5, use_gpu=False)
    expected = torchreid().losses.DeepSupervision(criterion, heads, labels)
    found = training_loss(ReidConfig(), seen(heads), labels, synthetic)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_the_forms_of_an_output():
    one, two, three = torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2, 8)

    def shapes(found: Seen):
        return len(found.logits), len(found.features)

    assert shapes(seen(one)) == (1, 0)
    assert shapes(seen([one, two])) == (2, 0)
    assert shapes(seen(one, three)) == (1, 1)
    assert shapes(seen((one, two), (three, three))) == (2, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"triplet_weight": 0.0, "softmax_weight": 0.0}, "one of them must be above 0"),
        ({"synthetic_smoothing": 1.0}, "LSRO.*set triplet_real_only"),
        ({"instances": 0}, "instances 0: the triplet loss needs several images"),
        ({"margin": -0.1}, "margin -0.1: must be 0 or more"),
    ],
)
def test_losses_that_make_no_sense_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TRIPLET, **options)
