"""The training loop against the authors' first steps, exact resume, and its guards."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators import dptn, losses
from generators.adversarial import Adversary
from generators.discriminators import DPTNDiscriminator, DPTNDiscriminatorConfig
from generators.discriminators import from_reference as discriminator_from_reference
from generators.training import (
    TRAINING_PRESETS,
    Batch,
    TrainingConfig,
    TrainingState,
    learning_rate_factor,
    train,
    training_preset,
)

GOLDEN = Path(__file__).parents[1] / "golden"
CPU = torch.device("cpu")
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


def thin_vgg(golden: dict[str, torch.Tensor]) -> losses.VGG19Features:
    network = losses.VGG19Features(losses.CONTENT_LAYERS + losses.STYLE_LAYERS, (8, 16, 32, 64, 64), "thin")
    weights = part(golden, "vgg.")
    network.load_state_dict({key: weights[key] for key in network.state_dict()})
    return network


def test_three_steps_equal_the_authors():
    golden = load_file(GOLDEN / "dptn_train_step.safetensors")
    config = TrainingConfig(images=6, batch=2)
    state = TrainingState("dptn", "market", config, CPU)
    network = dptn.DPTNConfig(width=8, max_width=64)
    judge = DPTNDiscriminatorConfig(width=8, max_width=32)
    state.generator = dptn.DPTN(network)
    state.generator.load_state_dict(dptn.from_reference(part(golden, "G.before."), network))
    state.optimiser = torch.optim.Adam(state.generator.parameters(), 2e-4, (0.5, 0.999))
    state.discriminator = DPTNDiscriminator(judge)
    state.discriminator.load_state_dict(discriminator_from_reference(part(golden, "D.before."), judge))
    optimiser = torch.optim.Adam(state.discriminator.parameters(), 2e-5, (0.5, 0.999))
    state.adversary = Adversary(state.discriminator, optimiser)
    batch = Batch(*(golden[f"input.{name}"] for name in ("source_image", "source_pose", "target_image", "target_pose")))

    steps = train(state, lambda step: batch, thin_vgg(golden))
    first = next(steps)
    for ours, (theirs, share) in TERMS.items():
        torch.testing.assert_close(first[ours], share * golden[f"step1.{theirs}"], rtol=1e-5, atol=1e-7, msg=ours)
    torch.testing.assert_close(first["adversary"], golden["step1.loss_D"], rtol=1e-5, atol=0)
    total = sum(value for name, value in first.items() if name != "adversary")
    torch.testing.assert_close(total, golden["step1.loss_G_total"], rtol=1e-5, atol=0)
    with torch.no_grad():
        target, source = state.generator.eval().both(batch.source, batch.source_map, batch.target_map)
    state.generator.train()
    torch.testing.assert_close(target, golden["after1.fake_target"], atol=1e-2, rtol=0)
    torch.testing.assert_close(source, golden["after1.fake_source"], atol=1e-2, rtol=0)

    next(steps)
    third = next(steps)
    for ours, (theirs, share) in TERMS.items():
        torch.testing.assert_close(third[ours], share * golden[f"step3.{theirs}"], rtol=1e-2, atol=0, msg=ours)
    assert next(steps, None) is None


@pytest.fixture
def small() -> TrainingConfig:
    return training_preset("tiny", images=24, batch=4, average_images=16)


def batch_at(step: int, size: tuple[int, int] = (32, 16)) -> Batch:
    rng = torch.Generator().manual_seed(step)
    images = (torch.rand(4, 3, *size, generator=rng) * 2 - 1 for _ in range(2))
    maps = (torch.rand(4, 18, *size, generator=rng) for _ in range(2))
    return Batch(next(images), next(maps), next(images), next(maps))


def test_interrupted_equals_uninterrupted(small):
    whole = TrainingState("dptn", "tiny", small, CPU)
    curve = [step["target_reconstruction"].item() for step in train(whole, batch_at)]

    stopped = TrainingState("dptn", "tiny", small, CPU)
    steps = train(stopped, batch_at)
    resumed_curve = [next(steps)["target_reconstruction"].item() for _ in range(3)]
    saved, metadata = stopped.tensors()
    saved = {key: value.clone() for key, value in saved.items()}
    resumed = TrainingState("dptn", "tiny", small, CPU)
    resumed.load(saved, metadata)
    assert resumed.images_seen == 12
    resumed_curve += [step["target_reconstruction"].item() for step in train(resumed, batch_at)]

    assert resumed_curve == curve
    expected, _ = whole.tensors()
    found, _ = resumed.tensors()
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_one_batch_is_learnt(small):
    from dataclasses import replace

    config = replace(small, images=4 * 120, adversarial=0.0, learning_rate=1e-3)
    state = TrainingState("dptn", "tiny", config, CPU)
    batch = batch_at(0)
    curve = [step["source_reconstruction"].item() for step in train(state, lambda step: batch)]
    assert curve[-1] < 0.6 * curve[0]


def test_loss_that_is_not_finite_is_named_and_leaves_the_state_whole(small):
    state = TrainingState("dptn", "tiny", small, CPU)
    before = {key: value.clone() for key, value in state.generator.state_dict().items()}
    broken = batch_at(0)._replace(target=torch.full((4, 3, 32, 16), float("nan")))
    with pytest.raises(ValueError, match=r"target_reconstruction.* not finite after 0 images.*checkpoint is good"):
        next(train(state, lambda step: broken))
    assert all(torch.equal(value, before[key]) for key, value in state.generator.state_dict().items())


def test_adversary_is_read_only_in_the_generators_step(small):
    state = TrainingState("dptn", "tiny", small, CPU)
    image = batch_at(0).source.requires_grad_()
    state.adversary.judge(image).backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in state.discriminator.parameters())


def test_learning_rate_falls_over_the_last_share():
    config = training_preset("tiny", images=100, decay=0.5)
    factors = [learning_rate_factor(config, seen) for seen in (0, 50, 75, 100)]
    assert factors == pytest.approx([1, 1, 0.5, 0])
    assert learning_rate_factor(TrainingConfig(), 811_199) == 1


def test_average_follows_the_weights(small):
    state = TrainingState("dptn", "tiny", small, CPU)
    first = state.average.state_dict()["encoder.0.conv1.weight"].clone()
    for _ in train(state, batch_at):
        pass
    assert state.published is state.average
    assert not torch.equal(state.average.state_dict()["encoder.0.conv1.weight"], first)
    assert not torch.equal(state.average.encoder[0].conv1.weight, state.generator.encoder[0].conv1.weight)


def test_market_preset_is_the_published_command_line():
    preset = TRAINING_PRESETS["market"]
    assert (preset.images, preset.batch) == (25_350 * 32, 32)
    assert (preset.learning_rate, preset.discriminator_learning_rate) == (2e-4, 2e-5)
    assert (preset.reconstruction, preset.content, preset.style, preset.adversarial) == (2, 0.5, 500, 5)
    assert (preset.target_share, preset.perceptual, preset.initialisation) == (0.8, True, "published")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "fp8"}, "fp32 or bf16"),
        ({"images": 0}, "at least 1"),
        ({"decay": 2.0}, "from 0 to 1"),
        ({"speed": 1}, "unknown training option speed"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        training_preset("market", **options)


def test_perceptual_losses_need_weights():
    state = TrainingState("dptn", "tiny", TrainingConfig(images=4, batch=4), CPU)
    with pytest.raises(ValueError, match="need VGG19"):
        next(train(state, batch_at))
