"""DPTN's and DPTN-TA's step: the authors' first three, and what each option changes alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators.discriminators import DPTNDiscriminator
from generators.dptn import DPTN
from generators.objective import Batch
from generators.objectives.dptn import DPTNObjective, DPTNWeights
from generators.published.dptn import convert, convert_discriminator
from generators.registry import create_recipe
from generators.residual_discriminator import ResidualDiscriminator
from generators.training import TrainingState, train
from generators.vgg import VGG19Features, random_vgg19

GOLDEN = Path(__file__).parents[2] / "golden"
CPU = torch.device("cpu")
THIN = {"width": 8, "max_width": 64}
TERMS = {
    "target_reconstruction": ("loss_app_gen_t", 0.8),
    "target_content": ("loss_content_gen_t", 0.8),
    "target_style": ("loss_style_gen_t", 0.8),
    "source_reconstruction": ("loss_app_gen_s", 0.2),
    "source_content": ("loss_content_gen_s", 0.2),
    "source_style": ("loss_style_gen_s", 0.2),
    "adversarial": ("loss_ad_gen_t", 1.0),
}


def part(golden: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in golden.items() if key.startswith(prefix)}


def test_three_steps_equal_the_authors():
    golden = load_file(GOLDEN / "dptn_train_step.safetensors")
    recipe = create_recipe(
        "dptn",
        network=THIN,
        weights={"discriminator_width": 8, "discriminator_max_width": 32},
        training={"images": 6, "batch": 2},
    )
    vgg = VGG19Features(recipe.vgg_layers, (8, 16, 32, 64, 64))
    weights = part(golden, "vgg.")
    vgg.load_state_dict({key: weights[key] for key in vgg.state_dict()})
    config, start = convert(part(golden, "G.before."))
    assert config.widths == recipe.network.widths
    state = TrainingState(recipe, CPU, vgg, start)
    judge = state.objective.discriminators["discriminator"]
    judge.load_state_dict(convert_discriminator(part(golden, "D.before."))[1])
    batch = Batch(*(golden[f"input.{name}"] for name in ("source_image", "source_pose", "target_image", "target_pose")))

    steps = train(state, lambda step: batch)
    first = next(steps)
    for ours, (theirs, share) in TERMS.items():
        torch.testing.assert_close(first[ours], share * golden[f"step1.{theirs}"], rtol=1e-5, atol=1e-7, msg=ours)
    torch.testing.assert_close(first["discriminator"], golden["step1.loss_D"], rtol=1e-5, atol=0)
    total = sum(value for name, value in first.items() if name != "discriminator")
    torch.testing.assert_close(total, golden["step1.loss_G_total"], rtol=1e-5, atol=0)
    generator = state.generator
    assert isinstance(generator, DPTN)
    with torch.no_grad():
        target, source = generator.eval().both(batch.source, batch.source_map, batch.target_map)
    generator.train()
    torch.testing.assert_close(target, golden["after1.fake_target"], atol=1e-2, rtol=0)
    torch.testing.assert_close(source, golden["after1.fake_source"], atol=1e-2, rtol=0)

    next(steps)
    third = next(steps)
    for ours, (theirs, share) in TERMS.items():
        torch.testing.assert_close(third[ours], share * golden[f"step3.{theirs}"], rtol=1e-2, atol=0, msg=ours)
    assert next(steps, None) is None


def batch(size: tuple[int, int] = (32, 16)) -> Batch:
    rng = torch.Generator().manual_seed(0)
    source, target = torch.rand(2, 2, 3, *size, generator=rng) * 2 - 1
    source_map, target_map = torch.rand(2, 2, 18, *size, generator=rng)
    return Batch(source, source_map, target, target_map)


def first_losses(model: str, **weights: object) -> dict[str, float]:
    recipe = create_recipe(
        model, "tiny", network=THIN, weights=weights, training={"images": 2, "batch": 2, "features": "random"}
    )
    features = random_vgg19(recipe.vgg_layers, 0) if recipe.vgg_layers else None
    losses = next(train(TrainingState(recipe, CPU, features), lambda step: batch()))
    return {name: value.item() for name, value in losses.items()}


def test_affinity_and_discriminator_are_independent_options():
    plain = first_losses("dptn")
    affinity = first_losses("dptn", affinity=100.0)
    judge = first_losses("dptn", discriminator="residual")
    both = first_losses("dptn-ta")
    assert affinity.keys() == plain.keys() | {"target_affinity"} == both.keys()
    assert {name: affinity[name] for name in plain} == plain
    assert judge.keys() == plain.keys()
    assert judge["adversarial"] != plain["adversarial"]
    assert judge["target_reconstruction"] == plain["target_reconstruction"]
    assert both == judge | {"target_affinity": affinity["target_affinity"]}


def test_affinity_has_its_weight_and_the_target_tasks_share():
    full = first_losses("dptn", affinity=100.0)["target_affinity"]
    assert first_losses("dptn", affinity=50.0)["target_affinity"] == pytest.approx(full / 2)
    assert first_losses("dptn", affinity=100.0, target_share=0.4)["target_affinity"] == pytest.approx(full / 2)


def test_layers_of_vgg_are_those_of_the_terms():
    layers = DPTNObjective.vgg_layers
    nothing = replace(DPTNWeights(), content=0.0, style=0.0)
    assert layers(nothing) == ()
    assert layers(replace(nothing, affinity=1.0)) == ("relu4_1", "relu5_1")
    assert set(layers(DPTNWeights(affinity=1.0))) == set(layers(DPTNWeights()))


def test_the_discriminator_is_the_one_asked_for():
    for choice, kind in (("patch", DPTNDiscriminator), ("residual", ResidualDiscriminator)):
        recipe = create_recipe("dptn", "tiny", network=THIN, weights={"discriminator": choice})
        assert isinstance(TrainingState(recipe, CPU).objective.discriminators["discriminator"], kind)
    recipe = create_recipe("dptn", "tiny", network=THIN, weights={"adversarial": 0.0})
    state = TrainingState(recipe, CPU)
    assert state.objective.discriminators == {}
    assert "adversarial" not in next(train(state, lambda step: batch()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"affinity_temperature": 0.0}, "expected above 0"),
        ({"target_share": 2.0}, "from 0 to 1"),
        ({"discriminator": "big"}, "patch or residual"),
    ],
)
def test_bad_weights_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        DPTNWeights(**options)


@pytest.mark.parametrize("affinity", [0.0, 5.0])
def test_one_batch_is_learnt(affinity):
    training = {
        "images": 100,
        "batch": 2,
        "learning_rate": 2e-3,
        "schedule": "constant",
        "decay": 0.0,
        "features": "random",
    }
    recipe = create_recipe("dptn", "tiny", network=THIN, weights={"affinity": affinity}, training=training)
    features = random_vgg19(recipe.vgg_layers, 0) if recipe.vgg_layers else None
    state = TrainingState(recipe, CPU, features)
    curve = [step["target_reconstruction"].item() for step in train(state, lambda step: batch())]
    assert curve[-1] < 0.75 * curve[0]
