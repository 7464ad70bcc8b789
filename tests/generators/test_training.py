"""The training loop of all systems: exact resume, guards, averages, and losses that no change moves unnoticed."""

import json
import os
from pathlib import Path

import pytest
import torch

from generators.objective import Batch
from generators.registry import SYSTEMS, Recipe, create_recipe
from generators.training import TrainingState, learning_rate_factor, train
from generators.vgg import random_vgg19

CPU = torch.device("cpu")
CURVES = Path(__file__).parents[1] / "golden" / "loss_curves.json"
SIZE = (64, 32)
TRAINED = [name for name, system in SYSTEMS.items() if system.objective is not None]
# Networks that train a step in a few milliseconds.
SMALL = {
    "pg2": {"channels": 4, "refine_channels": 4, "height": 64, "width": 32},
    "patn": {"width": 4, "blocks": 2},
    "dptn": {"width": 8, "max_width": 16},
    "dptn-ta": {"width": 8, "max_width": 16},
}


def recipe(model: str, **training: object) -> Recipe:
    options = {"images": 24, "batch": 4, "average_images": 16} | training
    return create_recipe(model, "tiny", network=SMALL[model], training=options)


def begin(model: str, **training: object) -> TrainingState:
    wanted = recipe(model, **training)
    features = random_vgg19(wanted.vgg_layers, 0) if wanted.vgg_layers else None
    return TrainingState(wanted, CPU, features)


def batch_at(step: int) -> Batch:
    rng = torch.Generator().manual_seed(step)
    images = (torch.rand(4, 3, *SIZE, generator=rng) * 2 - 1 for _ in range(2))
    maps = (torch.rand(4, 18, *SIZE, generator=rng) for _ in range(2))
    mask = (torch.rand(4, 1, *SIZE, generator=rng) < 0.5).float()
    return Batch(next(images), next(maps), next(images), next(maps), mask)


def curve(steps) -> list[dict[str, float]]:
    return [{name: value.item() for name, value in losses.items()} for losses in steps]


@pytest.mark.parametrize("model", TRAINED)
def test_interrupted_equals_uninterrupted(model):
    whole = begin(model)
    expected = curve(train(whole, batch_at))

    stopped = begin(model)
    steps = train(stopped, batch_at)
    found = curve(next(steps) for _ in range(3))
    saved, metadata = stopped.tensors()
    saved = {key: value.clone() for key, value in saved.items()}
    torch.manual_seed(99)  # what else draws random numbers must not matter
    resumed = begin(model)
    resumed.load(saved, metadata)
    assert resumed.images_seen == 12
    found += curve(train(resumed, batch_at))

    assert found == expected
    assert len(found) == 6
    ours, theirs = whole.tensors()[0], resumed.tensors()[0]
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert torch.equal(theirs[key], value), key


@pytest.mark.parametrize("model", TRAINED)
def test_twenty_steps_lose_what_they_lost_before(model):
    """Golden curves: a change of these numbers is a change of results and belongs into the changelog.

    AUGMENT_UPDATE_GOLDEN=1 writes them anew. Another CPU rounds otherwise, which PG2, PATN and DPTN keep below 0.2 %
    over these steps; DPTN-TA's affinity term doubles such a difference with each step, so later ones are compared
    loosely.
    """
    found = curve(train(begin(model, images=80), batch_at))
    if os.environ.get("AUGMENT_UPDATE_GOLDEN"):
        curves = json.loads(CURVES.read_text()) if CURVES.exists() else {}
        rounded = [{name: float(f"{value:.6g}") for name, value in step.items()} for step in found]
        CURVES.write_text(json.dumps(curves | {model: rounded}, indent=1) + "\n")
    expected = json.loads(CURVES.read_text())[model]
    assert len(found) == len(expected) == 20
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours.keys() == theirs.keys(), step
        for name, value in ours.items():
            chaotic = model == "dptn-ta" and step >= 8
            tolerance = 0.2 if chaotic and name == "target_affinity" else 5e-2 if chaotic else 1e-2
            assert value == pytest.approx(theirs[name], rel=tolerance, abs=1e-3), (step, name)


@pytest.mark.parametrize("model", TRAINED)
def test_bf16_trains_alike(model):
    """The first steps in autocast stay within a few per cent of float32, and the weights stay float32."""
    full = curve(train(begin(model), batch_at))
    state = begin(model, precision="bf16")
    half = curve(train(state, batch_at))
    for ours, theirs in zip(half[:2], full[:2], strict=True):
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=0.1, abs=0.02), name
    assert {parameter.dtype for parameter in state.generator.parameters()} == {torch.float32}


@pytest.mark.parametrize("model", TRAINED)
def test_what_is_not_finite_is_named_and_cannot_be_saved(model):
    state = begin(model)
    broken = batch_at(0)._replace(target=torch.full((4, 3, *SIZE), float("nan")))
    steps = train(state, lambda step: broken)
    next(steps)
    with pytest.raises(ValueError, match=r"reconstruction.* not finite after 0 images.*what was saved before is good"):
        state.tensors()


def test_what_is_not_finite_stops_the_next_step():
    state = begin("dptn")
    steps = train(state, lambda step: batch_at(0)._replace(target=torch.full((4, 3, *SIZE), float("inf"))))
    next(steps)
    with pytest.raises(ValueError, match=r"discriminator.*target_reconstruction.*not finite after 0 images"):
        next(steps)


def test_the_average_follows_the_weights_and_copies_running_statistics():
    state = begin("patn")
    before = {key: value.clone() for key, value in state.average.state_dict().items()}
    for _ in train(state, batch_at):
        pass
    after, live = state.average.state_dict(), state.generator.state_dict()
    assert state.published is state.average
    assert all(torch.equal(after[key], live[key]) for key in after if "running" in key)
    weights = [key for key in after if "running" not in key and "num_batches" not in key]
    moved = [key for key in weights if not torch.equal(after[key], before[key])]
    assert len(moved) > len(weights) / 2
    assert all(not torch.equal(after[key], live[key]) for key in moved)


def test_without_an_average_the_last_weights_are_published():
    state = begin("dptn", average_images=0)
    for _ in train(state, batch_at):
        pass
    assert state.published is state.generator


def test_the_noise_of_a_step_depends_on_its_number_only():
    """PATN's dropout: the second step's losses do not depend on what was drawn in the first."""
    first, second = begin("patn"), begin("patn")
    steps = train(first, batch_at), train(second, batch_at)
    assert curve([next(steps[0])]) == curve([next(steps[1])])
    torch.rand(1_000)
    ahead = curve([next(steps[0])])
    torch.rand(17)
    assert ahead == curve([next(steps[1])])


def test_rates_follow_the_schedule():
    config = create_recipe("dptn", "tiny", training={"images": 100, "batch": 4, "decay": 0.5}).training
    assert [learning_rate_factor(config, seen) for seen in (0, 50, 75, 100)] == pytest.approx([1, 1, 0.5, 0])
    state = begin("dptn", images=16, decay=1.0)
    steps = train(state, batch_at)
    for factor in (1, 0.75, 0.5, 0.25):
        next(steps)
        for learner in state.objective.learners.values():
            rates = [group["lr"] for group in learner.optimiser.param_groups]
            assert rates == pytest.approx([factor * learner.learning_rate])


def test_perceptual_losses_need_weights():
    with pytest.raises(ValueError, match="need VGG19"):
        TrainingState(create_recipe("dptn", "market", network=SMALL["dptn"]), CPU)


def test_compiled_training_equals_eager(monkeypatch):
    """With torch.compile replaced by a counter: what is compiled is used, and nothing else changes."""
    compiled = []

    def counting(function):
        def call(*arguments):
            compiled.append(function)
            return function(*arguments)

        return call

    expected = curve(train(begin("dptn", images=8), batch_at))
    monkeypatch.setattr(torch, "compile", counting)
    assert curve(train(begin("dptn", images=8, compile=True), batch_at)) == expected
    assert len(compiled) == 2 * (1 + 3), "the generator, and the discriminator three times, in each of two steps"


def test_a_resumed_state_has_the_strides_that_fused_optimisers_want():
    first, second = begin("patn"), begin("patn")
    for _ in train(first, batch_at):
        pass
    saved, metadata = first.tensors()
    second.load({key: value.contiguous() for key, value in saved.items()}, metadata)
    seen = 0
    for learner in second.objective.learners.values():
        for parameter, slots in learner.optimiser.state.items():
            assert slots["exp_avg"].stride() == slots["exp_avg_sq"].stride() == parameter.stride()
            seen += parameter.dim() == 4 and not parameter.is_contiguous()
    assert seen > 0, "some parameters are channels last"
