"""PATN's losses and its training step against values of the authors' code, and the options around them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators import distributed
from generators.losses import gan_loss, imagenet_normalised, perceptual_loss, reconstruction
from generators.objective import Batch, TrainingConfig
from generators.objectives.patn import PRESETS, PATNObjective, PATNWeights
from generators.patn import PATN, PATNConfig
from generators.published.patn import convert, convert_discriminator
from generators.vgg import VGG19Features

GOLDEN = Path(__file__).parents[2] / "golden"
CPU = torch.device("cpu")
State = dict[str, torch.Tensor]
SMALL = PATNWeights(perceptual=0.0, discriminator_width=4, discriminator_blocks=1, pool=3)


def part(golden: State, prefix: str) -> State:
    return {key.removeprefix(prefix): tensor for key, tensor in golden.items() if key.startswith(prefix)}


def shallow_vgg(golden: State) -> VGG19Features:
    network = VGG19Features(["relu1_2"])
    network.load_state_dict(part(golden, "vgg."))
    return network


def objective(weights: PATNWeights = SMALL, training: TrainingConfig | None = None, dropout: float = 0.5):
    torch.manual_seed(0)
    generator = PATN(PATNConfig(width=4, blocks=2, pose_channels=5, dropout=dropout)).train()
    return PATNObjective(generator, weights, training or TrainingConfig(), CPU)


def batch(rows: int = 2) -> Batch:
    rng = torch.Generator().manual_seed(1)
    source, target = torch.rand(2, rows, 3, 32, 16, generator=rng) * 2 - 1
    source_map, target_map = torch.rand(2, rows, 5, 32, 16, generator=rng)
    return Batch(source, source_map, target, target_map)


# ---- losses


def test_l1_and_perceptual_losses_and_their_gradient_equal_those_of_the_authors():
    golden = load_file(GOLDEN / "patn_l1_perceptual_loss.safetensors")
    network = shallow_vgg(golden)
    x, y = golden["input.x"].clone().requires_grad_(), golden["input.y"]
    ours, theirs = network(imagenet_normalised(x)), network(imagenet_normalised(y))
    found = {
        "l1_times_10": 10 * reconstruction(x, y),
        "perceptual_l1_times_10": 10 * perceptual_loss(ours, theirs),
        "perceptual_l2_times_10": 10 * perceptual_loss(ours, theirs, "l2"),
        "total": 10 * reconstruction(x, y) + 10 * perceptual_loss(ours, theirs, "l1"),
    }
    for name, value in found.items():
        torch.testing.assert_close(value, golden[f"output.{name}"], rtol=1e-5, atol=0, msg=name)
    found["total"].backward()
    torch.testing.assert_close(x.grad, golden["output.grad_x_of_total"], rtol=0, atol=1e-7)


def test_images_of_the_mean_colour_are_normalised_to_zero():
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = torch.stack([mean, mean + deviation]).mul(2).sub(1)[:, :, None, None]
    expected = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 3, 1, 1)
    torch.testing.assert_close(imagenet_normalised(images), expected)


def test_unknown_distance_is_refused():
    with pytest.raises(ValueError, match="perceptual distance 'l3': expected one of l1, l2"):
        perceptual_loss({}, {}, "l3")


@pytest.mark.parametrize("real", [True, False])
def test_adversarial_losses_equal_those_of_the_authors(real):
    golden = load_file(GOLDEN / "patn_gan_loss.safetensors")
    for mode, given in {"bce": "input.sigmoid_of_logits", "lsgan": "input.logits"}.items():
        found = gan_loss(golden[given], real, mode, for_discriminator=True)
        torch.testing.assert_close(found, golden[f"output.{mode}.real={real}"], rtol=1e-5, atol=0)
    # probabilities are what a sigmoid makes of logits
    logits = golden["input.logits"]
    torch.testing.assert_close(
        gan_loss(logits.sigmoid(), real, "bce", for_discriminator=False),
        gan_loss(logits, real, "vanilla", for_discriminator=False),
    )


def test_a_saturated_probability_costs_what_the_smallest_float_does():
    certain = torch.tensor([0.0, 1.0], requires_grad=True)
    loss = gan_loss(certain, True, "bce", for_discriminator=True)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(torch.finfo(torch.float32).tiny) / 2)
    assert certain.grad is not None
    assert certain.grad.isfinite().all()


# ---- the authors' step


def test_a_training_step_equals_that_of_the_authors():
    golden = load_file(GOLDEN / "patn_train_step.safetensors")
    before = part(golden, "netG.before.")
    config, state = convert(before)
    assert config == PATNConfig(width=8, blocks=3, dropout=0.0)
    generator = PATN(config).train()
    generator.load_state_dict(state)
    weights = PATNWeights(discriminator_width=8, discriminator_dropout=0.0)
    subject = PATNObjective(generator, weights, TrainingConfig(batch=2), CPU, shallow_vgg(golden))
    judges = {}
    for name, theirs in (("appearance", "PP"), ("shape", "PB")):
        network = subject.discriminators[f"{name}_discriminator"]
        given = part(golden, f"netD_{theirs}.before.")
        judges[theirs] = (network, given, convert_discriminator(given, network.config))
        network.load_state_dict(judges[theirs][2])

    found = subject.step(Batch(*(golden[f"input.{name}"] for name in (
        "source_image", "source_pose", "target_image", "target_pose"
    ))), 0, 0)  # fmt: skip

    expected = part(golden, "step1.")
    sums = {
        "loss_originL1_x10": found["reconstruction"],
        "loss_perceptual_x10": found["perceptual"],
        "pair_GANloss": found["appearance_adversarial"] + found["shape_adversarial"],
        "loss_D_PP": found["appearance_discriminator"],
        "loss_D_PB": found["shape_discriminator"],
    }
    for name, value in sums.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=0, msg=name)
    for network, theirs, ours, prefix in (
        (generator, before, state, "G_grad_norm."),
        *((*judge, f"D_{name}_grad_norm.") for name, judge in judges.items()),
    ):
        parameters = dict(network.named_parameters())
        norms = part(expected, prefix)
        assert len(norms) == len(parameters)
        for key, norm in norms.items():
            name = next(name for name, tensor in ours.items() if tensor is theirs[key])
            torch.testing.assert_close(parameters[name].grad.norm(), norm, rtol=1e-3, atol=0, msg=key)

    after = part(golden, "after1.netG.")
    for key, expected_statistic in after.items():
        name = next(name for name, tensor in state.items() if tensor is before[key])
        torch.testing.assert_close(generator.state_dict()[name], expected_statistic, atol=1e-5, rtol=1e-5, msg=key)
    with torch.no_grad():
        image = generator.eval()(*(golden[f"input.{name}"] for name in ("source_image", "source_pose", "target_pose")))
    torch.testing.assert_close(image, golden["after1.fake_target_eval"], atol=1e-3, rtol=0)


# ---- options


def test_the_published_rows():
    weights, training = PRESETS["market"]
    assert (weights.reconstruction, weights.perceptual, weights.adversarial) == (10, 10, 5)
    assert (weights.gan, weights.pool, training.batch) == ("bce", 50, 32)
    assert training.images // training.batch == 87_500
    assert training.learning_rate == training.discriminator_learning_rate == 2e-4
    weights, training = PRESETS["deepfashion"]
    assert (weights.reconstruction, weights.perceptual, weights.adversarial) == (1, 1, 5)
    assert (weights.gan, weights.pool, training.batch) == ("lsgan", 0, 7)
    assert training.images == 700 * 4_000
    assert PRESETS["tiny"][0].perceptual == 0


def test_only_a_perceptual_loss_needs_vgg():
    assert PATNObjective.vgg_layers(PATNWeights()) == ("relu1_2",)
    assert PATNObjective.vgg_layers(SMALL) == ()
    with pytest.raises(ValueError, match="perceptual losses need VGG19's weights"):
        objective(replace(SMALL, perceptual=1.0))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gan": "hinge"}, "gan='hinge': expected bce or lsgan"),
        ({"perceptual_distance": "l3"}, "perceptual_distance='l3': expected l1 or l2"),
        ({"pool": -1}, "pool=-1: expected at least 0"),
    ],
)
def test_unknown_options_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        PATNWeights(**settings)


def test_each_discriminator_can_be_left_out_and_the_other_then_weighs_all():
    def terms(**settings: object) -> dict[str, torch.Tensor]:
        # With all their weights zero, discriminators of any input say sigmoid(0) = 1/2, which costs log 2.
        subject = objective(replace(SMALL, **settings))
        for network in subject.discriminators.values():
            for parameter in network.parameters():
                torch.nn.init.zeros_(parameter)
        return subject.step(batch(), 0, 0)

    both, one, none = terms(), terms(appearance=False), terms(adversarial=0.0)
    assert both.keys() == {"reconstruction"} | {
        f"{name}_{term}" for name in ("appearance", "shape") for term in ("adversarial", "discriminator")
    }
    assert one.keys() == {"reconstruction", "shape_adversarial", "shape_discriminator"}
    assert none.keys() == {"reconstruction"}
    log2 = torch.tensor(2.0).log()
    torch.testing.assert_close(both["appearance_adversarial"], 5 * log2 / 2)
    torch.testing.assert_close(both["shape_adversarial"], 5 * log2 / 2)
    torch.testing.assert_close(one["shape_adversarial"], 5 * log2)
    torch.testing.assert_close(one["shape_discriminator"], 5 * (log2 + log2) / 2)


def test_histories_keep_what_the_discriminators_saw():
    subject = objective()
    subject.step(batch(2), 0, 0)
    assert subject.pools.keys() == {"appearance_discriminator", "shape_discriminator"}
    images, poses = (subject.pools[f"{name}_discriminator"].tensors()["samples"] for name in ("appearance", "shape"))
    assert images.shape == (2, 3 + 3, 32, 16)
    assert poses.shape == (2, 3 + 5, 32, 16)
    assert torch.equal(images[:, 3:], batch().source)
    assert torch.equal(poses[:, 3:], batch().target_map)
    assert torch.equal(images[:, :3], poses[:, :3])  # one generated image for both
    assert objective(replace(SMALL, pool=0)).pools == {}


@pytest.mark.parametrize("gan", ["bce", "lsgan"])
def test_one_seed_one_step(gan):
    def losses(noise: int) -> dict[str, torch.Tensor]:
        subject = objective(replace(SMALL, gan=gan))
        torch.manual_seed(noise)
        return subject.step(batch(), 3, 24)

    first, again, other = losses(5), losses(5), losses(6)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["reconstruction"], other["reconstruction"])  # dropout


def test_half_precision_costs_about_the_same():
    exact, rough = (objective(training=TrainingConfig(precision=p), dropout=0.0) for p in ("fp32", "bf16"))
    expected, found = (subject.step(batch(), 0, 0) for subject in (exact, rough))
    assert all(loss.dtype == torch.float32 for loss in found.values())
    torch.testing.assert_close(found["reconstruction"], expected["reconstruction"], rtol=0.02, atol=0)


def test_processes_agree_on_running_statistics(monkeypatch):
    subject = objective()
    seen = []

    def average(value: torch.Tensor) -> torch.Tensor:
        seen.append(value)
        return value + 1

    monkeypatch.setattr(distributed, "average", average)
    subject.step(batch(), 0, 0)
    assert not seen
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "average_gradients", lambda parameters: None)
    monkeypatch.setattr(distributed, "gather_rows", lambda rows: rows)
    subject.step(batch(), 1, 2)
    networks = (subject.generator, *subject.discriminators.values())
    flat = [buffer.flatten() for network in networks for buffer in network.buffers() if buffer.is_floating_point()]
    assert len(seen) == 1
    torch.testing.assert_close(torch.cat(flat), seen[0] + 1)


def test_one_batch_is_learnt_by_heart():
    training = TrainingConfig(learning_rate=5e-3, momentum=0.9)
    subject = objective(replace(SMALL, adversarial=0.1), training, dropout=0.0)
    given = batch()
    first = subject.step(given, 0, 0)["reconstruction"]
    for step in range(1, 60):
        last = subject.step(given, step, 2 * step)["reconstruction"]
    assert last < 0.5 * first
