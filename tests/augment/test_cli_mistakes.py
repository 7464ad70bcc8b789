"""A mistake of the user is one line and exit code 2; other ends have exit codes of their own."""

import os
import shutil
import signal

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch

from augment import store
from augment.plan import Plan
from generators import checkpoint
from generators.registry import create_generator
from tests.command_line import require_one_line

# Mistakes: one line, exit code 2


@pytest.fixture
def root(pedestrians, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(pedestrians, tmp_path / "data")


def first(folder):
    return sorted(folder.glob("*.jpg"))[0]


GENERATOR = ("train-generator", "--preset", "tiny", "--device", "cpu", "--validation", "0")


def test_no_such_command_or_option(augment):
    require_one_line(augment("trian-reid"), "trian-reid", "--help")
    require_one_line(augment("check", "--depe", "data"), "--depe", "--help")
    require_one_line(augment("check", "data", "more"), "more", "--help")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["check"], "DATA: missing"),
        (["inspect"], "X.h5: missing"),
        (["make-data"], "OUT: missing"),
        (["train-generator", "data"], "--out: missing"),
        (["synthesize", "data", "--out", "x.h5"], "--generator: missing"),
        (["train-reid", "data"], "--out: missing"),
    ],
)
def test_a_required_option_is_missing(augment, arguments, named):
    require_one_line(augment(*arguments), named)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train-generator", "data", "--out", "x", "--preset", "huge"], ["unknown dptn preset", "huge", "tiny"]),
        (["train-generator", "data", "--out", "x", "--images", "0"], ["--images:", "0"]),
        (["train-generator", "data", "--out", "x", "--images", "many"], ["--images:", "many"]),
        (["train-reid", "data", "--out", "x", "--size", "256"], ["--size:", "256", "128x64"]),
        (["train-reid", "data", "--out", "x", "--steps", "a,b"], ["--steps:", "a,b", "cosine"]),
        (["train-reid", "data", "--out", "x", "--erase", "2"], ["--erase:", "2"]),
        (["train-reid", "data", "--out", "x", "--synthetic", "nowhere.h5"], ["--synthetic:", "nowhere.h5"]),
        (["synthesize", "data", "--out", "x.h5", "--generator", "nowhere"], ["--generator:", "nowhere"]),
        (["make-data", "x", "--size", "8x8"], ["size", "8", "32"]),
        (["train-generator", "data", "--out", "x", "--device", "tpu"], ["--device", "tpu", "cpu"]),
        (["train-generator", "data", "--out", "x", "--device", "cuda:99"], ["--device cuda:99", "cpu"]),
    ],
)
def test_a_bad_value(augment, arguments, words):
    require_one_line(augment(*arguments), *words)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        [*GENERATOR, "--out", "run"],
        ["train-reid", "--out", "run"],
        ["train-reid", "--out", "run", "--dry-run"],
    ],
)
def test_data_that_is_not_there(augment, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    require_one_line(augment(*arguments, "nowhere"), "nowhere: no such folder", "augment make-data")
    (tmp_path / "empty").mkdir()
    require_one_line(augment(*arguments, "empty"), "empty: no data set", "bounding_box_train")
    (tmp_path / "image.jpg").write_bytes(b"\xff\xd8\xff")
    require_one_line(augment(*arguments, "image.jpg"), "image.jpg")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [GENERATOR, ("train-reid", "--device", "cpu")])
@pytest.mark.parametrize("folder", ["bounding_box_train", "query"])
def test_a_truncated_image(augment, root, tmp_path, arguments, folder):
    for path in (root / folder).iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    require_one_line(augment(*arguments, root, "--out", tmp_path / "run"), folder, "truncated", "restore it or remove")
    assert not (tmp_path / "run").exists(), "said before anything is begun"


def test_key_points_of_wrong_length(augment, root, tmp_path):
    path = root / "market-annotation-train.csv"
    path.write_text(path.read_text().replace("[", "[7, ", 1))
    require_one_line(augment(*GENERATOR, root, "--out", tmp_path / "run"), "line 2", "19 values, expected 18")


def test_no_key_points(augment, root, tmp_path):
    for path in root.glob("*.csv"):
        path.unlink()
    require_one_line(augment(*GENERATOR, root, "--out", tmp_path / "run"), "no key points", "--poses FILE")


@pytest.mark.parametrize("arguments", [GENERATOR, ("train-reid", "--device", "cpu")])
def test_an_identity_in_both_splits(augment, root, tmp_path, arguments):
    path = first(root / "bounding_box_train")
    shutil.copy(path, root / "bounding_box_test" / path.name)
    require_one_line(augment(*arguments, root, "--out", tmp_path / "run"), "1 identities", "leaked", path.name)


def test_weights_of_another_architecture(augment, pedestrians, tmp_path):
    network = create_generator("dptn", "tiny", width=8, max_width=16)
    foreign, other, text = (tmp_path / f"{name}.safetensors" for name in ("foreign", "other", "text"))
    foreign.write_bytes(safetensors.torch.save({"weight": torch.zeros(1)}))
    other.write_bytes(checkpoint.generator_to_bytes("dptn", "tiny", network, {}))
    text.write_text("no weights")
    for path, words in ((foreign, ["no generator description"]), (other, ["config.width"]), (text, ["safetensors"])):
        require_one_line(augment(*GENERATOR, pedestrians, "--out", tmp_path / "run", "--init", path), str(path), *words)
    synthesize = ("synthesize", pedestrians, "--device", "cpu", "--out", tmp_path / "x.h5", "--generator")
    require_one_line(augment(*synthesize, foreign), str(foreign), "no generator description")
    require_one_line(augment(*synthesize, tmp_path), "generator.safetensors: no such file")
    require_one_line(augment(*synthesize, other), "training split", "--foreign-generator")
    train_reid = ("train-reid", pedestrians, "--device", "cpu", "--size", "64x32", "--out", tmp_path / "run", "--init")
    code, _, err = augment(*train_reid, text)
    assert code == 2
    assert err.splitlines()[-1].startswith(f"Error: {text}: cannot be read as weights")
    require_one_line(augment(*train_reid, "nowhere.pth"), "nowhere.pth: no such file")


def test_a_set_that_is_not_ours(augment, pedestrians, tmp_path):
    foreign, text = tmp_path / "foreign.h5", tmp_path / "text.h5"
    with h5py.File(foreign, "w") as file:
        file["images"] = np.zeros((3, 8, 4, 3), np.uint8)
    text.write_text("no HDF5")
    for path, words in ((foreign, "no synthetic set of augment"), (text, "not an HDF5 file")):
        require_one_line(augment("inspect", path), str(path), words)
        require_one_line(
            augment("train-reid", pedestrians, "--device", "cpu", "--out", tmp_path / "run", "--synthetic", path),
            str(path), words,
        )  # fmt: skip


def test_a_folder_of_somebodys_files(augment, pedestrians, tmp_path):
    (tmp_path / "notes.txt").touch()
    for force in ([], ["--force"]):
        require_one_line(augment(*GENERATOR, pedestrians, "--out", tmp_path, *force), "holds files but no config.json")
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(augment, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    require_one_line(augment("make-data", tmp_path / "locked" / "data"), "locked", "Permission denied")


def test_an_error_in_a_loader_process_is_one_line_too(augment, pedestrians, monkeypatch):
    text = "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  ...\n"

    def fail(*_, **__):
        raise ValueError(text + "ValueError: a.jpg: cannot be read; restore it\n")

    monkeypatch.setattr("augment.check.check", fail)
    assert augment("check", pedestrians) == (2, "", "Error: a.jpg: cannot be read; restore it\n")


def test_debug_shows_the_traceback(augment):
    code, _, err = augment("--debug", "check", "nowhere")
    assert code == 2
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("Error: nowhere: no such folder")


# Other exit codes


def test_check_fails_with_1(augment, root):
    assert augment("check", root).code == 0
    first(root / "query").write_bytes(b"")
    code, out, err = augment("check", root)
    assert (code, err) == (1, "")
    assert "error: 1 unreadable images" in out


def test_inspect_finds_damage(augment, tmp_path):
    zeros = [np.zeros(2, int) for _ in range(4)]
    plan = Plan(("a.jpg",), np.zeros((1, 18, 2), np.float32), *zeros, np.zeros(2, np.uint64))
    path = tmp_path / "x.h5"
    attributes = store.begin(store.shard_folder(path), plan, {"config": {}, "generator": {}, "versions": {}})
    store.write_shard(store.shard_folder(path), 0, plan, np.zeros((2, 8, 4, 3), np.uint8), attributes)
    store.merge(store.shard_folder(path), plan, path, attributes)
    assert augment("inspect", path, "--checksums", "--json", "--sheet", tmp_path / "sheet.png").code == 0
    assert (tmp_path / "sheet.png").exists()
    with h5py.File(path, "r+") as file:
        file["images"][1, 0, 0, 0] = 1
    assert augment("inspect", path).code == 0
    code, out, _ = augment("inspect", path, "--checksums")
    assert code == 1
    assert "damaged_rows  [1]" in out


def test_an_interruption_exits_with_130(augment, pedestrians, monkeypatch):
    monkeypatch.setattr("augment.check.check", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
    code, out, err = augment("check", pedestrians)
    said = "interrupted; the same command goes on from what was saved, or starts again where nothing was"
    assert (code, out, err.strip()) == (130, "", said)


def test_a_stage_that_is_preempted_exits_with_75(augment, pedestrians, monkeypatch, tmp_path):
    monkeypatch.setattr("augment.train_generator.train", terminating)
    monkeypatch.setattr("augment.train_generator.SHEET_PAIRS", 1)
    code, out, err = augment(*GENERATOR, pedestrians, "--out", tmp_path / "run")
    assert (code, out) == (75, "")
    assert err.splitlines()[-1] == f"stopped by SIGTERM, saved in {tmp_path / 'run'}; the same command continues"
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def terminating(state, *_):
    os.kill(os.getpid(), signal.SIGTERM)
    yield {"loss": torch.zeros(())}
