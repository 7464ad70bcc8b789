"""PG2's updates: losses of an independent restatement, who learns when, and what each option changes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from augment.data.posemaps import body_mask, render
from generators.initialisation import initialise
from generators.objective import Batch, TrainingConfig
from generators.objectives.pg2 import PRESETS, PG2Objective, PG2Weights
from generators.pg2 import PG2, PG2Config
from generators.registry import create_recipe
from generators.training import TrainingState, train
from tests.generators.test_dcgan_discriminator import build as restated_judge
from tests.generators.test_pg2 import READINGS, renamed

GOLDEN = Path(__file__).parents[2] / "golden"
CPU = torch.device("cpu")
SMALL = PG2Config(height=32, width=16, channels=4, levels=3, latent=8, refine_channels=4)
THIN = PG2Weights(first_stage=0.5, discriminator_channels=4)
LOOP = TrainingConfig(images=20, batch=2, learning_rate=1e-3, discriminator_learning_rate=1e-3, momentum=0.9)


def batch_of(seed=0, size=(32, 16), count=2):
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2 * count, 3, 4, 2, generator=rng) * 2 - 1
    source, target = F.interpolate(coarse, size=size, mode="bilinear").chunk(2)
    points = torch.rand(2, count, 18, 2, generator=rng) * torch.tensor(size)
    source_map, target_map = (render(person, size, kind="disc") for person in points)
    return Batch(source, source_map, target, target_map, body_mask(points[1], size))


def objective_of(weights=THIN, network=SMALL, training=LOOP):
    generator = PG2(network)
    initialise(generator, torch.Generator().manual_seed(0), "lecun")
    return PG2Objective(generator, weights, training, CPU)


def states(objective):
    parts = {"coarse": objective.generator.coarse, "refine": objective.generator.refine}
    parts |= objective.discriminators
    return {name: [p.clone() for p in part.parameters()] for name, part in parts.items() if part is not None}


def changed(before, after):
    return {name for name in after if not all(map(torch.equal, before[name], after[name]))}


@pytest.mark.parametrize(("padding", "reading"), READINGS)
def test_losses_equal_the_restatement(padding, reading):
    golden = load_file(GOLDEN / "pg2_networks_restated.safetensors")
    names = ("source_image", "target_pose_pm1", "target_image", "target_pose_pm1")
    source, source_map, target, target_map = (golden[f"input.{name}"].float() for name in names)
    mask = golden["input.target_mask"].float()
    batch = Batch(source, (source_map + 1) / 2, target, (target_map + 1) / 2, mask)
    found = {}
    for step, first_stage in ((0, 0.5), (0, 0.0), (1, 0.0)):  # G1's update; G2's; the discriminator's
        generator = PG2(PG2Config(channels=8, refine_channels=8, padding=padding))
        generator.load_state_dict(renamed(golden))
        weights = PG2Weights(first_stage=first_stage, discriminator_channels=8)
        objective = PG2Objective(generator, weights, replace(LOOP, images=8), CPU)
        objective.discriminators["discriminator"].load_state_dict(restated_judge(golden, padding).state_dict())
        found |= objective.step(batch, step, 2 * step)
    expected = {name: golden[f"output.{reading}.{name}"] for name in ("loss_G1", "loss_G2", "loss_D")}
    torch.testing.assert_close(found["coarse_reconstruction"], expected["loss_G1"], rtol=1e-5, atol=0)
    total = found["reconstruction"] + found["adversarial"]
    torch.testing.assert_close(total, expected["loss_G2"], rtol=1e-5, atol=0)
    l1 = golden[f"output.{reading}.l1_G2"] + golden[f"output.{reading}.pose_mask_l1_G2"]
    torch.testing.assert_close(found["reconstruction"], 10 * l1, rtol=1e-5, atol=0)
    torch.testing.assert_close(found["discriminator"], expected["loss_D"], rtol=1e-5, atol=0)
    assert found.keys() == {"coarse_reconstruction", "reconstruction", "adversarial", "discriminator"}


@pytest.mark.parametrize("judge", ["triplet", "pair"])
def test_one_network_learns_at_a_time(judge):
    """The first stage of 20 images is 9 long, so that it ends within the fifth step's batch."""
    objective = objective_of(replace(THIN, first_stage=0.45, discriminator=judge))
    learners = []
    for step in range(10):
        before = states(objective)
        losses = objective.step(batch_of(step), step, 2 * step)
        (learner,) = changed(before, states(objective))
        learners.append(learner)
        expected = {"coarse": {"coarse_reconstruction"}, "refine": {"reconstruction", "adversarial"}}
        assert losses.keys() == expected.get(learner, {"discriminator"})
        assert not any(value.requires_grad for value in losses.values())
    assert learners == ["coarse"] * 5 + ["refine", "discriminator"] * 2 + ["refine"]
    assert list(objective.learners) == ["coarse", "refine", "discriminator"]


def test_the_published_first_stage_is_22_000_steps():
    weights, training = PRESETS["market"]
    assert (training.images, training.batch) == (16 * (22_000 + 2 * 38_000), 16)
    objective = objective_of(replace(weights, discriminator_channels=4), training=training)
    for step, expected in ((21_999, "coarse"), (22_000, "refine"), (22_001, "discriminator")):
        before = states(objective)
        objective.step(batch_of(), step, 16 * step)
        assert changed(before, states(objective)) == {expected}
    weights, training = PRESETS["deepfashion"]
    assert weights.first_stage * training.images == pytest.approx(22_000)


def test_one_stage_without_a_discriminator_learns_from_l1_alone():
    objective = objective_of(replace(THIN, adversarial=0.0), network=replace(SMALL, stages=1))
    assert list(objective.learners) == ["coarse"]
    assert objective.discriminators == {}
    assert objective.step(batch_of(), 9, 18).keys() == {"coarse_reconstruction"}


def test_one_stage_with_a_discriminator_plays_the_game_itself():
    objective = objective_of(replace(THIN, first_stage=0.5), network=replace(SMALL, stages=1))
    assert list(objective.learners) == ["coarse", "discriminator"]
    for step, learner, losses in (
        (4, "coarse", {"coarse_reconstruction"}),
        (5, "coarse", {"reconstruction", "adversarial"}),
        (6, "discriminator", {"discriminator"}),
    ):
        before = states(objective)
        assert objective.step(batch_of(), step, 2 * step).keys() == losses
        assert changed(before, states(objective)) == {learner}


def test_without_an_adversary_every_later_step_refines():
    objective = objective_of(replace(THIN, adversarial=0.0))
    assert list(objective.learners) == ["coarse", "refine"]
    for step in (5, 6):
        assert objective.step(batch_of(), step, 2 * step).keys() == {"reconstruction"}


def test_the_body_counts_twice():
    batch = batch_of()
    masked = objective_of().step(batch, 0, 0)["coarse_reconstruction"]
    plain = objective_of(replace(THIN, mask=False)).step(batch._replace(target_mask=None), 0, 0)
    with torch.no_grad():
        difference = (objective_of().generator.coarse(batch.source, batch.target_map) - batch.target).abs()
    assert batch.target_mask is not None
    torch.testing.assert_close(plain["coarse_reconstruction"], difference.mean())
    torch.testing.assert_close(masked, (difference * (1 + batch.target_mask)).mean())


def test_a_missing_mask_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="body mask in each batch; draw it, or set mask=False"):
        objective_of().step(batch_of()._replace(target_mask=None), 0, 0)


def test_weights_scale_their_terms_of_the_generator_alone():
    batch = batch_of()
    plain, double = (
        objective_of(replace(THIN, reconstruction=10 * factor, adversarial=factor)) for factor in (1.0, 2.0)
    )
    first, second = (objective.step(batch, 5, 10) for objective in (plain, double))
    for name in ("reconstruction", "adversarial"):
        torch.testing.assert_close(second[name], 2 * first[name])
    judged = [objective_of(replace(THIN, adversarial=weight)).step(batch, 6, 12) for weight in (1.0, 2.0)]
    assert torch.equal(judged[0]["discriminator"], judged[1]["discriminator"])


def test_pairs_are_judged_beside_their_source():
    batch = batch_of()
    objective = objective_of(replace(THIN, discriminator="pair"))
    judge = objective.discriminators["discriminator"]
    with torch.no_grad():
        refined = objective.generator.stages_of(batch.source, batch.target_map).refined
        shown = [torch.cat([batch.source, image], 1) for image in (batch.target, refined)]
        real, fake = judge(torch.cat(shown)).chunk(2)
    expected = 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
    torch.testing.assert_close(objective.step(batch, 6, 12)["discriminator"], expected)
    torch.testing.assert_close(
        objective_of(replace(THIN, discriminator="pair")).step(batch, 5, 10)["adversarial"], F.softplus(-fake).mean()
    )


def test_one_batch_is_learnt():
    batch = batch_of()
    weights = replace(THIN, first_stage=0.2, adversarial=0.01)
    objective = objective_of(weights, training=replace(LOOP, images=240, learning_rate=5e-3))
    found = {}
    for step in range(120):
        for name, value in objective.step(batch, step, 2 * step).items():
            found.setdefault(name, []).append(value.item())
    assert found["coarse_reconstruction"][-1] < 0.6 * found["coarse_reconstruction"][0]
    assert found["reconstruction"][-1] < 0.8 * found["reconstruction"][0]
    assert found["reconstruction"][-1] < 10 * found["coarse_reconstruction"][-1]  # better than G1, which is frozen
    assert found["discriminator"][-1] < found["discriminator"][0]


def test_half_precision_is_finite_in_every_update():
    objective = objective_of(training=replace(LOOP, precision="bf16"))
    for step in (0, 5, 6):
        losses = objective.step(batch_of(), step, 2 * step)
        assert all(value.isfinite() and value.dtype == torch.float32 for value in losses.values())
    objective.guard.check()


def test_no_loss_needs_vgg():
    assert PG2Objective.vgg_layers(PG2Weights()) == ()
    assert PG2Objective.needs_mask
    assert PG2Objective.schemes == ("xavier", "uniform")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"first_stage": 1.0}, "first_stage=1.0: expected a share from 0 to below 1.*stages=1 with adversarial=0"),
        ({"discriminator": "single"}, "discriminator='single': expected triplet or pair"),
    ],
)
def test_impossible_weights_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        PG2Weights(**options)


def test_an_untrained_refinement_is_not_shown():
    recipe = create_recipe(
        "pg2",
        "tiny",
        network={"channels": 4, "refine_channels": 4, "height": 32, "width": 16, "levels": 2},
        weights={"first_stage": 0.5},
        training={"images": 4, "batch": 2},
    )
    state = TrainingState(recipe, torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    source, target = torch.rand(2, 2, 3, 32, 16, generator=rng)
    maps, others = torch.rand(2, 2, 18, 32, 16, generator=rng)
    batch = Batch(source, maps, target, others, torch.ones(2, 1, 32, 16))
    steps = train(state, lambda step: batch)
    for equal in (True, False):
        next(steps)
        with torch.no_grad():
            coarse, refined = state.published.stages_of(source, others)
        assert torch.equal(coarse, refined) is equal
