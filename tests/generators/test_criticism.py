"""Scores of discriminators: those of the trained networks, on the inputs of their papers, image by image."""

from dataclasses import asdict

import pytest
import torch
from torch import nn

from generators.criticism import MEANINGS, create_critic, restore_recipe
from generators.objective import Batch
from generators.registry import SYSTEMS, create_recipe
from generators.training import TrainingState, train
from generators.vgg import random_vgg19

CPU = torch.device("cpu")
SIZE = (64, 32)
TRAINED = [name for name, system in SYSTEMS.items() if system.objective is not None]
SMALL = {
    "pg2": {"channels": 4, "refine_channels": 4, "height": 64, "width": 32},
    "patn": {"width": 4, "blocks": 2},
    "dptn": {"width": 8, "max_width": 16},
    "dptn-ta": {"width": 8, "max_width": 16},
}


def recipe(model, weights=None, preset="tiny", **training):
    options = {"images": 24, "batch": 4, "learning_rate": 1e-3} | training
    return create_recipe(model, preset, network=SMALL[model], weights=weights or {}, training=options)


def configuration(wanted):
    """What a run folder's config.json holds of it."""
    losses, network = asdict(wanted.weights), asdict(wanted.network)
    return asdict(wanted.training) | {
        "model": wanted.model, "preset": wanted.preset, "network": network, "losses": losses, "flip": False
    }  # fmt: skip


def batch_at(step):
    """Real images are bright in the middle; nothing that a young generator draws is."""
    rng = torch.Generator().manual_seed(step)
    images = [(torch.rand(4, 3, *SIZE, generator=rng) * 0.4 - 0.2).clamp(-1, 1) for _ in range(2)]
    for image in images:
        image[:, :, 16:48, 8:24] += 0.7
    maps = (torch.rand(4, 18, *SIZE, generator=rng) for _ in range(2))
    return Batch(images[0], next(maps), images[1], next(maps), torch.ones(4, 1, *SIZE))


def trained(wanted):
    features = random_vgg19(wanted.vgg_layers, 0) if wanted.vgg_layers else None
    state = TrainingState(wanted, CPU, features)
    for _ in train(state, batch_at):
        pass
    return state


@pytest.mark.parametrize("model", TRAINED)
def test_the_judges_are_those_of_the_training(model):
    wanted = recipe(model)
    state = trained(wanted)
    tensors, _ = state.tensors()
    critic = create_critic(restore_recipe(configuration(wanted)), tensors, CPU)
    assert critic.judges.keys() == state.objective.discriminators.keys()
    for name, judge in critic.judges.items():
        theirs = state.objective.discriminators[name].state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in judge.state_dict().items())
        assert not judge.training
    batch = batch_at(99)
    found = critic(batch.target, batch.source, batch.target_map)
    assert found.shape == (4,)
    assert torch.isfinite(found).all()
    assert torch.equal(found, critic(batch.target, batch.source, batch.target_map))
    if critic.company is None:
        alone = [
            critic(*(part[i : i + 1] for part in (batch.target, batch.source, batch.target_map))) for i in range(4)
        ]
        torch.testing.assert_close(found, torch.cat(alone), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", ["dptn", "patn"])
def test_real_images_score_higher_than_generated_ones(model):
    wanted = recipe(model, images=120, discriminator_learning_rate=1e-3, learning_rate=1e-5)
    state = trained(wanted)
    critic = create_critic(restore_recipe(configuration(wanted)), state.tensors()[0], CPU)
    batch = batch_at(1000)
    with torch.inference_mode():
        fake = state.generator.eval()(batch.source, batch.source_map, batch.target_map)
    real_score, fake_score = (critic(image, batch.source, batch.target_map) for image in (batch.target, fake))
    assert real_score.min() > fake_score.max() + 0.005


class Recorder(nn.Module):
    """A discriminator that keeps what it is shown, and answers with numbered logits."""

    def __init__(self, logits):
        super().__init__()
        self.shown, self.logits = [], logits

    def forward(self, shown):
        self.shown.append(shown)
        return self.logits.expand(len(shown), *self.logits.shape)


def judged(model, logits, weights=None, preset="tiny"):
    """Scores where each discriminator always answers with `logits`, and what each was shown."""
    wanted = recipe(model, weights, preset, features="random")
    critic = create_critic(wanted, TrainingState(wanted, CPU, features(wanted)).tensors()[0], CPU)
    recorders = {name: Recorder(logits) for name in critic.judges}
    critic.judges.update(recorders)
    batch = batch_at(0)
    scores = critic(batch.target, batch.source, batch.target_map)
    return scores, {name: recorder.shown[0] for name, recorder in recorders.items()}, batch, critic


def features(wanted):
    return random_vgg19(wanted.vgg_layers, 0) if wanted.vgg_layers else None


def test_dptn_judges_the_image_alone_by_regression():
    scores, shown, batch, critic = judged("dptn", torch.tensor([[0.25, 0.75], [1.0, -1.0]]))
    assert torch.equal(shown["discriminator"], batch.target)
    torch.testing.assert_close(scores, torch.full((4,), 0.25))
    assert critic.meaning == MEANINGS["lsgan"]


@pytest.mark.parametrize(("gan", "expected"), [("vanilla", (0.5 + 0.75) / 2), ("hinge", 1.0986123 / 2)])
def test_logits_are_probabilities_where_the_loss_says_so(gan, expected):
    scores, *_ = judged("dptn", torch.tensor([0.0, 1.0986123]), {"gan": gan})  # ln 3: a probability of 3/4
    torch.testing.assert_close(scores, torch.full((4,), expected))


def test_patn_judges_beside_source_and_pose():
    scores, shown, batch, _ = judged("patn", torch.tensor([0.2, 0.4]))
    assert torch.equal(shown["appearance_discriminator"], torch.cat([batch.target, batch.source], 1))
    assert torch.equal(shown["shape_discriminator"], torch.cat([batch.target, batch.target_map], 1))
    torch.testing.assert_close(scores, torch.full((4,), 0.3))  # probabilities already


def test_one_of_patns_discriminators_may_be_off():
    _, shown, *_ = judged("patn", torch.tensor([0.2]), {"shape": False})
    assert shown.keys() == {"appearance_discriminator"}


def test_pg2_sees_the_sources_in_the_same_batch():
    scores, shown, batch, critic = judged("pg2", torch.zeros(1))
    assert torch.equal(shown["discriminator"], torch.cat([batch.source, batch.target]))
    torch.testing.assert_close(scores, torch.full((4,), 0.5))
    assert critic.company == 4
    _, shown, batch, _ = judged("pg2", torch.zeros(1), {"discriminator": "pair"})
    pairs = [torch.cat([batch.source, image], 1) for image in (batch.source, batch.target)]
    assert torch.equal(shown["discriminator"], torch.cat(pairs))


def test_the_published_networks_can_be_restored_without_their_generator():
    wanted = recipe("dptn", preset="market")  # whose losses need VGG19's weights, which judging does not
    judge = restore_recipe(configuration(wanted))
    assert judge.vgg_layers
    assert judge.weights == wanted.weights


def test_what_cannot_judge_is_said():
    with pytest.raises(ValueError, match="trained without a discriminator"):
        create_critic(recipe("dptn", {"adversarial": 0.0}), {}, CPU)
    with pytest.raises(ValueError, match="does not hold the weights of its discriminator"):
        create_critic(recipe("dptn"), {}, CPU)
    config = configuration(recipe("dptn"))
    with pytest.raises(ValueError, match="lacks losses, seed"):
        restore_recipe({key: value for key, value in config.items() if key not in ("losses", "seed")})
    with pytest.raises(ValueError, match="unknown dptn loss option 'sharpness'"):
        restore_recipe(config | {"losses": config["losses"] | {"sharpness": 1.0}})
