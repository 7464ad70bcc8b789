"""A run leaves what it promises, and one that was stopped in any way equals one that was not."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch

from augment import files, train_generator
from augment.data import keypoints
from augment.data.pairs import ListedPairs
from augment.data.read import read_data
from augment.interruption import Preempted
from augment.train_generator import prepare, run
from generators import checkpoint
from generators.registry import create_recipe
from tests.killing import die, in_child
from tests.small_generators import CONFIG, RECIPE, TRAINING, losses, trained


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """An uninterrupted run."""
    weights = run(CONFIG, data, tmp_path_factory.mktemp("whole") / "run", device="cpu")
    assert weights.name == "generator.safetensors"
    return weights.parent


def require_equal(resumed, whole):
    assert (resumed / "generator.safetensors").read_bytes() == (whole / "generator.safetensors").read_bytes()
    assert [row["images"] for row in losses(resumed)] == [row["images"] for row in losses(whole)]
    first, second = (files.read_json(folder / "results.json") for folder in (resumed, whole))
    assert {**first, "seconds_of_last_process": 0} == {**second, "seconds_of_last_process": 0}


# What a run leaves


def test_a_run_leaves_weights_results_losses_and_sheets(data, whole):
    found = files.read_json(whole / "results.json")
    assert found["images_seen"] == 24
    assert found["weights_sha256"] == files.sha256(whole / "generator.safetensors")
    assert found["held_out"]["pairs"] == 8
    assert 0 < found["held_out"]["l1_copy"] < found["held_out"]["l1_generated"] < 255, "six steps from noise"
    assert checkpoint.read_metadata(whole)["trained_on"] == read_data(data).digest
    assert {"samples-00000024.png", "held-out.png", "config.json"} <= {path.name for path in whole.iterdir()}
    config = files.read_json(whole / "config.json")["config"]
    assert asdict(RECIPE.training).items() <= config.items()
    assert (config["network"], config["losses"]) == (asdict(RECIPE.network), asdict(RECIPE.weights))


def test_the_losses_have_a_row_every_few_steps_and_one_at_the_end(data, tmp_path):
    run(trained(images=20), data, tmp_path / "run", device="cpu")
    assert [row["images"] for row in losses(tmp_path / "run")] == ["8", "16", "20"]


@pytest.mark.parametrize(
    ("model", "network"),
    [
        ("pg2", {"channels": 4, "refine_channels": 4, "levels": 3}),
        ("patn", {"width": 4, "blocks": 1}),
        ("dptn-ta", {"width": 8, "max_width": 16}),
    ],
)
def test_every_system_trains_by_the_same_command(data, tmp_path, model, network):
    recipe = create_recipe(model, "tiny", network=network, training=TRAINING)
    weights = run(replace(CONFIG, recipe=recipe), data, tmp_path / "run", device="cpu")
    found = files.read_json(tmp_path / "run" / "results.json")["held_out"]
    assert {"l1_generated", "ssim_in_mask_generated", "l1_copy", "ssim_warp"} <= found.keys()
    assert checkpoint.load_generator(weights).stride > 1


def fashion(pedestrians, root):
    """The same people as a DeepFashion root in PATN's layout: two shots of each in each item of clothes."""
    dataset = read_data(pedestrians)
    points = keypoints.dataset_points(dataset)
    for split, records in (("train", dataset.train), ("test", (*dataset.query, *dataset.gallery))):
        (root / split).mkdir(parents=True)
        named, seen = {}, {}
        for record in records:
            if record.name not in points or record.pid <= 0 or not keypoints.has_torso(points[record.name]):
                continue
            shot = seen[record.pid] = seen.get(record.pid, 0) + 1
            name = f"fashionMENDenimid{record.pid:08d}01_{shot}front.jpg"
            (root / split / name).write_bytes(record.path.read_bytes())
            named[name] = points[record.name]
        keypoints.write_annotation(root / f"fasion-resize-annotation-{split}.csv", named)
        first = sorted(named)[:4]
        pairs = [f"{a},{b}" for a in first for b in first if a != b and a.split("_")[0] == b.split("_")[0]]
        (root / f"fasion-resize-pairs-{split}.csv").write_text("\n".join(["from,to", *pairs]) + "\n")
    return root


def test_deepfashion_trains_and_is_evaluated_like_market(data, tmp_path):
    root = fashion(data, tmp_path / "fashion_data")
    recipe = create_recipe(
        "dptn", "deepfashion", network={"width": 8, "max_width": 16}, training=TRAINING, perceptual=False
    )
    config = replace(CONFIG, recipe=recipe, same_camera=False)
    job = prepare(config, root)
    assert isinstance(job.pairs, ListedPairs)
    assert len(job.pairs) == len((root / "fasion-resize-pairs-train.csv").read_text().splitlines()) - 1
    run(config, root, tmp_path / "run", device="cpu")
    assert files.read_json(tmp_path / "run" / "results.json")["held_out"]["pairs"] == 8


# Finished, stopped, killed, in two processes


def test_a_finished_run_is_not_trained_again(data, whole):
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    log = []
    run(CONFIG, data, whole, device="cpu", log=log.append)
    assert log == ["already done"]
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before


def test_sigterm_saves_and_the_run_continues(data, whole, tmp_path):
    def terminate(seen, total):
        if seen == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    slow = replace(CONFIG, checkpoint_seconds=1e9)
    with pytest.raises(Preempted, match="stopped by SIGTERM, saved in"):
        run(slow, data, tmp_path / "run", device="cpu", progress=terminate)
    assert not (tmp_path / "run" / "generator.safetensors").exists()
    log, seen = [], []
    run(slow, data, tmp_path / "run", device="cpu", log=log.append, progress=lambda *now: seen.append(now))
    assert log[-1] == "continuing after 12 images"
    assert seen[0] == (16, 24)
    require_equal(tmp_path / "run", whole)


@pytest.mark.parametrize(("last", "images"), [("checkpoint.safetensors", 12), ("losses.csv", 16)])
def test_a_run_that_was_killed_while_saving_equals_one_that_was_not(data, whole, tmp_path, monkeypatch, last, images):
    sync = files.sync
    saved = []

    def sync_and_die(path):
        saved.append(path.name)
        if last in path.name and len([name for name in saved if last in name]) == 4:
            die()
        sync(path)

    def work():
        monkeypatch.setattr(files, "sync", sync_and_die)
        run(CONFIG, data, tmp_path / "run", device="cpu")

    assert in_child(work) == -9
    log = []
    run(CONFIG, data, tmp_path / "run", device="cpu", log=log.append)
    assert log[-1] == f"continuing after {images} images"
    require_equal(tmp_path / "run", whole)
    assert not list((tmp_path / "run").glob(".*")), "what the killed process left is removed"


def test_a_row_of_losses_that_was_begun_before_the_stop_is_whole(data, whole, tmp_path):
    def terminate(seen, total):
        if seen == 12:  # in the middle of the row of images 9 to 16
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted):
        run(replace(CONFIG, checkpoint_seconds=1e9), data, tmp_path / "run", device="cpu", progress=terminate)
    run(CONFIG, data, tmp_path / "run", device="cpu")
    assert (tmp_path / "run" / "losses.csv").read_bytes() == (whole / "losses.csv").read_bytes()


def test_validation_continues_as_if_never_stopped(data, tmp_path):
    config = replace(CONFIG, validation=2, sample_images=8)
    whole = run(config, data, tmp_path / "whole", device="cpu").parent

    def terminate(seen, total):
        if seen == 16:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted):
        run(config, data, tmp_path / "run", device="cpu", progress=terminate)
    resumed = run(config, data, tmp_path / "run", device="cpu").parent
    require_equal(resumed, whole)
    for name in ("validation.csv", "best.safetensors"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_weights_are_published_before_the_evaluation(data, whole, tmp_path, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_generator, "_evaluate", die)
        with pytest.raises(KeyboardInterrupt):
            run(CONFIG, data, tmp_path / "run", device="cpu")
    run(CONFIG, data, tmp_path / "run", device="cpu")
    require_equal(tmp_path / "run", whole)


def test_another_configuration_is_refused(data, whole):
    other = replace(trained(seed=1), flip=False)
    with pytest.raises(ValueError, match=r"flip \(True there, False asked\), seed \(0 there, 1 asked\)"):
        run(other, data, whole, device="cpu")
    free = replace(CONFIG, checkpoint_seconds=1.0, sample_images=1)
    assert run(free, data, whole, device="cpu").exists()


@pytest.mark.parametrize("content", [b"", b"no safetensors", "other"])
def test_a_checkpoint_of_something_else_is_refused(data, whole, tmp_path, content):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_bytes((whole / "config.json").read_bytes())
    if content == "other":
        content = checkpoint.to_bytes({"generator.weight": torch.zeros(3)}, {})
    (folder / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: no checkpoint of this run .*--force"):
        run(CONFIG, data, folder, device="cpu")


def test_training_starts_from_given_weights(data, whole, tmp_path):
    config = replace(trained(images=4), init=whole)
    made = run(config, data, tmp_path / "run", device="cpu")
    saved = files.read_json(tmp_path / "run" / "config.json")["config"]
    assert saved["init"] == files.sha256(whole / "generator.safetensors")
    first, second = (checkpoint.load_generator(path).state_dict() for path in (whole, made))
    assert all((first[key] - second[key]).abs().max() < 0.05 for key in first if first[key].is_floating_point())


def test_two_processes_train_as_one(data, whole, tmp_path):
    """By torchrun, as a user starts it."""
    words = ["train-generator", str(data), "--model", "dptn", "--preset", "tiny", "--images", "24", "--batch", "4",
             "--network", "width=8", "--network", "max_width=16", "--validation", "0", "--no-tensorboard",
             "--device", "cpu"]  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "augment"]
    made = subprocess.run(
        [*command, *words, "--out", str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip().splitlines() == [str(tmp_path / "run" / "generator.safetensors")]
    together, alone = (checkpoint.load_generator(folder).state_dict() for folder in (tmp_path / "run", whole))
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, atol=2e-3, rtol=0, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "network"),
    [
        ("dptn", ["width=8", "max_width=16"]),
        ("patn", ["width=4", "blocks=2"]),
        ("pg2", ["channels=4", "refine_channels=4", "levels=3"]),
    ],
)
def test_really_compiled_training_equals_eager(data, tmp_path, model, network):
    """In processes of their own, because dynamo cannot trace the shape checks of the tests."""
    words = ["train-generator", str(data), "--model", model, "--preset", "tiny", "--images", "80", "--batch", "4",
             "--validation", "0", "--no-tensorboard", "--device", "cpu"]  # fmt: skip
    settings = [word for setting in network for word in ("--network", setting)]
    for name, options in (("eager", []), ("compiled", ["--compile"])):
        command = [sys.executable, "-m", "augment", *words, *settings, *options, "--out", str(tmp_path / name)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
    (ours,), (theirs,) = (losses(tmp_path / name) for name in ("compiled", "eager"))
    assert {name: float(value) for name, value in ours.items()} == pytest.approx(
        {name: float(value) for name, value in theirs.items()}, rel=1e-2
    )
