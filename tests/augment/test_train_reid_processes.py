"""The stage in several processes, as torchrun starts them: one run folder, one voice, one end."""

import contextlib
import csv
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from augment import cli, files
from augment.interruption import Preempted
from augment.train_reid import TrainReidConfig, prepare, run
from reid.mixing import MixPolicy
from reid.training import ReidConfig
from tests.reference.processes import forked

SMALL = TrainReidConfig(
    ReidConfig(height=32, width=16, epochs=3, batch=8, learning_rate=1e-3, classifier_epochs=3), MixPolicy(0.0)
)
WORDS = ["--size", "32x16", "--epochs", "3", "--batch", "8", "--learning-rate", "1e-3", "--classifier-epochs", "3",
         "--device", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def alone(pedestrians, tmp_path_factory):
    return run(SMALL, pedestrians, tmp_path_factory.mktemp("alone") / "run", device="cpu").parent


def weights(folder):
    return safetensors.torch.load_file(folder / "checkpoint.safetensors")


def require_same_result(found, expected):
    """Up to rounding: classifiers alone learn, so batch normalisation takes no statistics."""
    ours, theirs = weights(found), weights(expected)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-4, atol=1e-5, msg=key)
    ours, theirs = (files.read_json(folder / "results.json") for folder in (found, expected))
    for name in ("config", "images_seen", "iterations", "num_query", "num_gallery"):
        assert ours[name] == theirs[name]
    assert ours["mAP"] == pytest.approx(theirs["mAP"], abs=1e-6)


def epochs(folder):
    with (folder / "epochs.csv").open(newline="") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def test_two_processes_train_as_one(pedestrians, alone, tmp_path):
    """By torchrun, as a user starts it."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "augment"]
    words = ["train-reid", str(pedestrians), "--out", str(tmp_path / "run"), *WORDS]
    made = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    scores, path = made.stdout.strip().splitlines()
    assert path == str(tmp_path / "run" / "results.json")
    assert scores.startswith("mAP ")
    require_same_result(tmp_path / "run", alone)
    assert epochs(tmp_path / "run") == ["1", "2", "3"]
    assert files.read_json(tmp_path / "run" / "results.json")["provenance"]["processes"] == [2]


def test_a_rehearsal_speaks_once(pedestrians, tmp_path):
    def rehearsed(rank):
        words = ["train-reid", str(pedestrians), "--out", str(tmp_path / "run"), *WORDS, "--dry-run"]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            cli.group.main(words, standalone_mode=False)
        return said.getvalue()

    assert forked(rehearsed, tmp_path) == [f"{prepare(SMALL, pedestrians)}\n", ""]
    assert not (tmp_path / "run").exists()


def test_sigterm_to_one_stops_all_and_they_go_on(pedestrians, alone, tmp_path):
    """The signal meets the second process; the first one saves."""
    out = tmp_path / "run"

    def stopped(rank):
        (tmp_path / f"{rank}.pid").write_text(str(os.getpid()))

        def progress(seen, total):
            if seen == total // 2:
                os.kill(int((tmp_path / "1.pid").read_text()), signal.SIGTERM)

        try:
            run(SMALL, pedestrians, out, device="cpu", progress=progress)
        except Preempted as stop:
            return str(stop)

    first, second = forked(stopped, tmp_path)
    assert first == second == f"stopped by SIGTERM, saved in {out} (whole epochs); the same command continues"
    assert epochs(out) == ["1"]
    assert not (out / "results.json").exists()

    log = []
    run(SMALL, pedestrians, out, device="cpu", log=log.append)
    assert "continuing after epoch 1 of 3 by 1 processes (before: 2)" in log
    require_same_result(out, alone)
    assert files.read_json(out / "results.json")["provenance"]["processes"] == [1, 2]


def test_all_know_that_it_is_done(pedestrians, alone):
    def work(rank):
        log = []
        path = run(SMALL, pedestrians, alone, device="cpu", log=log.append)
        return [str(path), log]

    before = (alone / "results.json").stat().st_mtime_ns
    first, second = forked(work, alone.parent)
    assert first[0] == second[0] == str(alone / "results.json")
    assert (first[1][-1], second[1]) == ("already done", [])
    assert (alone / "results.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch": 7}, "batch: 7 images do not divide among 2 processes"),
        (
            {"epoch_images": 35},
            r"batch: 35 images \(a whole epoch, which batch 64 exceeds\) .* 2 from 4 to 35, or fewer",
        ),
        ({"erase": 0.5}, r"erase \(0.0 there, 0.5 asked\)"),
    ],
)
def test_all_end_where_they_cannot_begin(pedestrians, alone, change, words):
    """The first one says why."""
    training = replace(SMALL.training, batch=64 if "epoch_images" in change else 8)

    def work(rank):
        try:
            run(replace(SMALL, training=replace(training, **change)), pedestrians, alone, device="cpu")
        except ValueError as error:
            return [type(error).__name__, str(error)]

    first, second = forked(work, alone.parent)
    assert (first[0], second[0]) == ("ValueError", "Reported")
    assert re.search(words, first[1]), first[1]


def test_batches_of_identities_say_why_they_are_small(pedestrians, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    training = replace(SMALL.training, loss="triplet", instances=3, batch=30)
    words = r"batch: 18 images \(6 identities x 3 images, which batch 30 exceeds\) do not divide among 4 processes"
    with pytest.raises(ValueError, match=words):
        prepare(replace(SMALL, training=training), pedestrians)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--quota", "2"], "--quota: 2.0 is not in the range"),
        (["--margin", "0.5"], "--margin: only --loss triplet"),
        (["--loss", "triplet", "--batch", "30"], "use batch 28"),
        (["--batch", "7"], "batch: 7 images do not divide"),
        (["--batch", "7", "--dry-run"], "batch: 7 images do not divide"),
        (["--init", "absent.pth"], "absent.pth: no such file"),
    ],
)
def test_a_mistake_is_said_once(pedestrians, tmp_path, options, words):
    def mistaken(rank):
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as said:
            patch.setattr("augment.commands.train_reid.SILENCE", 0)
            patch.setattr(sys, "argv", ["augment", "train-reid", str(pedestrians), "--out", str(tmp_path / "run"),
                                        *WORDS, *options])  # fmt: skip
            try:
                cli.main()
            except SystemExit as stop:
                return [stop.code, said.getvalue()]

    first, second = forked(mistaken, tmp_path)
    assert (first[0], second) == (2, [2, ""])
    assert words in first[1]
    assert len(first[1].strip().splitlines()) == 1


@pytest.mark.parametrize("step", [1, 2])
def test_the_end_of_one_ends_the_others_with_what_is_saved(pedestrians, tmp_path, step):
    """As kill -9 does it: in the first epoch, and in the second one."""

    def work(rank):
        def progress(seen, total):
            if rank == 0 and seen >= step * total / 3:  # it alone has a `progress`
                (tmp_path / "0.json").write_text("null")
                os._exit(0)

        try:
            run(SMALL, pedestrians, tmp_path / "run", device="cpu", progress=progress)
        except Preempted as stop:
            return str(stop)

    saved = f"{step - 1} of 3 epochs are saved in {tmp_path / 'run'}"
    assert forked(work, tmp_path) == [None, f"another process ended; {saved}; the same command continues"]


def test_a_full_disk_ends_all(pedestrians, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "full", str(path))

    def work(rank):
        with monkeypatch.context() as patch:
            patch.setattr("augment.reid_training._publish", full)
            with pytest.raises((OSError, ValueError)) as stop:
                run(SMALL, pedestrians, tmp_path / "run", device="cpu")
        return str(stop.value)

    first, second = forked(work, tmp_path)
    assert first == f"[Errno {errno.ENOSPC}] full: '{tmp_path / 'run' / 'checkpoint.safetensors'}'"
    assert second == "the first process could not go on; its message says why"


def test_evaluation_needs_nobody_else(pedestrians, tmp_path, monkeypatch):
    """When the first process begins to evaluate, the others may end; the results are whole after a kill in between."""

    short = replace(SMALL, training=replace(SMALL.training, epochs=1))

    def fail(*_):
        assert not torch.distributed.is_initialized()
        raise KeyboardInterrupt

    def work(rank):
        with monkeypatch.context() as patch:
            patch.setattr("augment.train_reid._evaluate", fail)
            try:
                run(short, pedestrians, tmp_path / "run", device="cpu")
            except KeyboardInterrupt:
                return "killed"
        return "left"

    assert forked(work, tmp_path) == ["killed", "left"]
    found = json.loads(run(short, pedestrians, tmp_path / "run", device="cpu").read_text())
    assert found["provenance"]["processes"] == [2]
