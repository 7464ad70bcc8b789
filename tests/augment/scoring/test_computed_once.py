"""Scores are computed once, whoever is killed when and however many add to them."""

import errno
import fcntl
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from augment import cross_fitting, files, score_columns, scoring, store
from augment.data.read import read_data
from augment.interruption import Preempted
from augment.scoring import ScoreConfig, run
from tests.judging import CONFIG, FEATURES, PIXEL_SCORES, TRAINING, values
from tests.killing import die, in_child


def count_passes(monkeypatch):
    passes = []
    for name in ("pixel_columns", "identity_columns"):
        function = getattr(scoring, name)

        def counted(*arguments, name=name, function=function, **options):
            passes.append(name)
            return function(*arguments, **options)

        monkeypatch.setattr(scoring, name, counted)
    return passes


def test_only_what_is_missing_is_computed(synthetic, data, judges, monkeypatch):
    passes, log = count_passes(monkeypatch), []
    run(ScoreConfig(("sharpness",)), synthetic, data, device="cpu")
    before = store.Reader(synthetic).scores["sharpness"]
    run(CONFIG, synthetic, data, reid=judges, device="cpu", log=log.append)
    assert passes == ["pixel_columns", "pixel_columns", "identity_columns"]
    assert store.Reader(synthetic).scores["sharpness"].provenance == before.provenance
    assert set(values(synthetic)) == {*FEATURES, "source_l1", "sharpness"}
    assert [line.split(":")[1].strip() for line in log if "not computed" in line] == ["discriminator", "pose_agreement"]
    log.clear()
    run(CONFIG, synthetic, data, reid=judges, device="cpu", log=log.append)
    assert "already done" in log
    assert len(passes) == 3
    run(PIXEL_SCORES, synthetic, data, device="cpu", force=True)
    assert len(passes) == 4


def test_columns_are_computed_again_by_other_networks_but_not_for_other_versions(
    synthetic, data, judges, tmp_path, monkeypatch
):
    passes = count_passes(monkeypatch)
    config = replace(CONFIG, scores=("identity_margin",))
    run(config, synthetic, data, reid=judges, device="cpu")
    monkeypatch.setattr("augment.runs.versions", lambda: {"torch": "another"})
    run(config, synthetic, data, reid=judges, device="cpu")
    assert passes == ["identity_columns"]
    first = values(synthetic)["identity_margin"]
    other = replace(config, training=replace(TRAINING, epochs=1, seed=1))
    run(other, synthetic, data, reid=tmp_path / "other", device="cpu")
    assert passes == ["identity_columns"] * 2
    assert not np.array_equal(first, values(synthetic)["identity_margin"])
    said = store.Reader(synthetic).scores["identity_margin"].provenance
    expected = [files.sha256(tmp_path / "other" / f"fold-{network}.safetensors") for network in (0, 1)]
    assert said["reid"] == {
        "model": "osnet_x0_25", "height": 64, "width": 32, "seed": 1, "networks_sha256": expected
    }  # fmt: skip


def test_batch_and_blocks_move_nothing_but_the_last_digits(synthetic, data, judges, scored, monkeypatch):
    monkeypatch.setattr(score_columns, "ROWS", 7)
    run(replace(CONFIG, batch=5), synthetic, data, reid=judges, device="cpu")
    for name, column in values(synthetic).items():
        np.testing.assert_allclose(column, scored[name].reshape(-1), atol=1e-4, err_msg=name)


def test_a_kill_keeps_the_columns_that_were_whole(synthetic, data, judges, scored, monkeypatch):
    def killed():
        monkeypatch.setattr(scoring, "identity_columns", lambda *arguments, **options: die())
        run(CONFIG, synthetic, data, reid=judges, device="cpu")

    assert in_child(killed) == -9
    assert set(values(synthetic)) == {"source_l1", "sharpness"}
    run(CONFIG, synthetic, data, reid=judges, device="cpu")
    for name, column in values(synthetic).items():
        np.testing.assert_allclose(column, scored[name].reshape(-1), atol=1e-6, err_msg=name)


def test_sigterm_ends_a_pass(synthetic, data, monkeypatch):
    def terminated(image):
        os.kill(os.getpid(), signal.SIGTERM)
        return 0.0

    monkeypatch.setattr(score_columns, "sharpness", terminated)
    with pytest.raises(Preempted, match=r"x\.scores\.h5 \(whole columns\)"):
        run(PIXEL_SCORES, synthetic, data, device="cpu")
    assert values(synthetic) == {}


def test_interrupted_judges_end_as_uninterrupted_ones(data, judges, tmp_path, monkeypatch):
    """Stopped in the second network's training, then in its test."""
    from contextlib import contextmanager

    dataset = read_data(data)
    pair = cross_fitting.prepare(tmp_path / "run", dataset, TRAINING)

    @contextmanager
    def stopping(description, unit):
        def progress(done, total):
            if "2 of 2" in description and done > total / 2:
                os.kill(os.getpid(), signal.SIGTERM)

        yield progress

    with pytest.raises(Preempted, match="whole epochs"):
        cross_fitting.train(pair, dataset, device="cpu", bar=stopping)
    with monkeypatch.context() as patch:
        patch.setattr(cross_fitting, "left_out_margin", lambda *_: die())
        assert in_child(lambda: cross_fitting.train(pair, dataset, device="cpu")) == -9
    assert not (tmp_path / "run" / "results.json").exists()
    log = []
    resumed = cross_fitting.train(pair, dataset, device="cpu", log=log.append)
    whole = files.read_json(judges / "results.json")
    for network in (0, 1):
        ours, theirs = (pair.weights(network), judges / f"fold-{network}.safetensors")
        assert tensors(ours) == tensors(theirs)
        assert resumed["networks"][network]["held_out"] == whole["networks"][network]["held_out"]


def tensors(path):
    """A checkpoint's content but its header, which tells the time."""
    from safetensors.torch import load_file

    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}


def test_processes_that_add_columns_at_once_lose_none(base, tmp_path):
    (tmp_path / "x.h5").write_bytes(base.read_bytes())
    reader = store.Reader(tmp_path / "x.h5")
    column = np.arange(len(reader)).astype(np.float32)

    def adding(letter):
        for number in range(20):
            store.write_scores(reader, {f"{letter}{number}": store.Score(column + number, {"by": letter})})

    def both():
        other = os.fork()
        if other == 0:
            try:
                adding("a")
            finally:
                os._exit(0)
        adding("b")
        os.waitpid(other, 0)

    assert in_child(both) == 0
    assert reader.scores.keys() == {f"{letter}{number}" for letter in "ab" for number in range(20)}
    assert all((score.values == column + int(name[1:])).all() for name, score in reader.scores.items())
    assert {path.name for path in tmp_path.iterdir()} == {"x.h5", "x.scores.h5"}, "no lock is left"


def test_a_killed_writer_frees_its_lock_and_no_locks_are_no_hindrance(synthetic, monkeypatch):
    reader = store.Reader(synthetic)
    score = store.Score(np.zeros(len(reader), np.float32), {})

    def killed():
        monkeypatch.setattr(store.scores, "write", lambda *arguments: die())
        store.write_scores(reader, {"first": score})

    assert in_child(killed) == -9
    assert synthetic.with_name(".x.scores.h5.lock").exists()
    store.write_scores(reader, {"first": score})

    def without_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "lockf", without_locks)
    store.write_scores(reader, {"second": score})
    assert reader.scores.keys() == {"first", "second"}
    assert not synthetic.with_name(".x.scores.h5.lock").exists()


def test_no_two_sets_share_a_file_of_scores(tmp_path):
    folders, whole = ("x", "x.shards", "x.h5.d", "x.shards.shards"), ("x.h5", "x.shards.h5", "x.shards-.h5")
    for name in folders:
        (tmp_path / name).mkdir()
    names = [store.scores_path(tmp_path / name).name for name in (*folders, *whole)]
    assert len(set(names)) == len(names)
    assert store.scores_path(tmp_path / "x.h5").name == "x.scores.h5"
    assert store.scores_path(tmp_path / "x").name == "x.shards-scores.h5"
