"""`augment train-generator`: settings of network and losses, and what happens to wrong ones."""

import re

import pytest
import torch


def test_running_out_of_device_memory_is_one_line(augment, pedestrians, monkeypatch, tmp_path):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

    monkeypatch.setattr("augment.train_generator.run", full)
    found = augment("train-generator", pedestrians, "--out", tmp_path / "run", "--preset", "tiny")
    assert (found.code, found.out) == (2, "")
    assert found.err.strip().startswith(
        "Error: --device: CUDA out of memory. Tried to allocate 9.00 GiB.; take a smaller --batch"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--network", "blocks"], "--network: 'blocks' is not of the form KEY=VALUE"),
        (["--network", "width=8", "--network", "width=9"], "--network: width is given twice"),
        (["--network", "depth=3"], r"unknown dptn setting 'depth': expected one of"),
        (["--network", "width=wide"], r"dptn setting width='wide': expected int"),
        (["--loss", "lambda=3"], r"unknown dptn loss option 'lambda': expected one of reconstruction"),
        (["--loss", "discriminator=big"], "expected patch or residual"),
        (["--validation", "50"], r"50 identities for validation, but only 6 have key points"),
    ],
)
def test_mistakes_in_a_recipe(augment, pedestrians, tmp_path, options, words):
    found = augment("train-generator", pedestrians, "--out", tmp_path / "run", "--preset", "tiny", *options)
    assert found.code == 2
    assert re.search(words, found.err), found.err
    assert "Traceback" not in found.err
    assert not (tmp_path / "run").exists()


def test_settings_reach_the_recipe(augment, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("augment.train_generator.run", lambda config, *_, **__: asked.append(config) or tmp_path)
    network = ["--network", "blocks=3", "--network", "dropout=0.25"]
    losses = ["--loss", "shape=false", "--loss", "adversarial=2"]
    loop = ["--schedule", "patn", "--clip", "0", "--average-images", "10", "--compile", "--no-perceptual"]
    words = ["train-generator", "data", "--out", "x", "--model", "patn", *network, *losses, *loop]
    assert augment(*words).code == 0
    recipe = asked[0].recipe
    assert (recipe.model, recipe.network.blocks, recipe.network.dropout) == ("patn", 3, 0.25)
    assert (recipe.weights.shape, recipe.weights.adversarial, recipe.weights.perceptual) == (False, 2.0, 0.0)
    assert (recipe.training.schedule, recipe.training.clip, recipe.training.average_images) == ("patn", 0.0, 10)
    assert recipe.training.compile
