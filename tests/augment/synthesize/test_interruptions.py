"""The same set whoever is killed when; what is there is continued, mended or left alone, and never mixed."""

import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from augment import planning, standing, store, synthesize
from augment.interruption import Preempted
from augment.synthesize import SynthesizeConfig, run
from generators import checkpoint
from tests.command_line import caller
from tests.killing import die, in_child
from tests.synthesizing import CONFIG, content


def test_a_set_that_was_killed_between_any_two_shards_is_the_same(pedestrians, generator, whole, tmp_path, monkeypatch):
    write = store.write_shard
    shards = -(-len(store.Reader(whole)) // 8)
    for last in range(shards):

        def write_and_die(*arguments, last=last):
            write(*arguments)
            assert arguments[1] == last, "a finished shard is made again"
            die()

        def work(write_and_die=write_and_die):
            monkeypatch.setattr(store, "write_shard", write_and_die)
            run(CONFIG, pedestrians, generator, tmp_path / "x.h5", device="cpu")

        assert in_child(work) == -9
    log = []
    run(CONFIG, pedestrians, generator, tmp_path / "x.h5", device="cpu", log=log.append)
    assert log == [f"continuing: {len(store.Reader(whole))} of {len(store.Reader(whole))} images are there"]
    assert content(tmp_path / "x.h5") == content(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_a_finished_set_is_not_made_again(pedestrians, generator, whole):
    written = whole.stat().st_mtime_ns
    log = []
    assert run(CONFIG, pedestrians, generator, whole, device="cpu", log=log.append) == whole
    assert log == ["already done"]
    assert whole.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (SynthesizeConfig(ratio=0.5, batch=8, seed=1), r"config\.seed \(0 there, 1 here\)"),
        (SynthesizeConfig(ratio=0.5, batch=8, precision="bf16"), r"config\.precision \(fp32 there, bf16 here\)"),
        (SynthesizeConfig(ratio=0.5, batch=8, poses="self"), r"config\.poses \(random there, self here\)"),
        (SynthesizeConfig(per_image=1, batch=8), r"config\.per_image \(None there, 1 here\)"),
    ],
)
def test_other_options_are_refused_naming_them(pedestrians, generator, whole, other, named):
    with pytest.raises(ValueError, match=named):
        run(other, pedestrians, generator, whole, device="cpu")


def test_other_options_are_refused_while_unfinished_too(pedestrians, generator, tmp_path, monkeypatch):
    def stop(*_):
        raise Preempted

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_shard", stop)
        with pytest.raises(Preempted):
            run(CONFIG, pedestrians, generator, tmp_path / "x.h5", device="cpu")
    other = SynthesizeConfig(ratio=0.5, batch=4)
    with pytest.raises(
        ValueError, match=r"x\.shards: was begun with another configuration: config\.batch \(8 there, 4 here\)"
    ):
        run(other, pedestrians, generator, tmp_path / "x.h5", device="cpu")
    assert store.Reader(run(other, pedestrians, generator, tmp_path / "x.h5", device="cpu", force=True)).damaged() == []


def test_sigterm_stops_between_batches_and_the_run_continues(pedestrians, generator, whole, tmp_path):

    def terminate(done, total):
        if done > total / 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted, match="the same command continues"):
        run(CONFIG, pedestrians, generator, tmp_path / "x.h5", device="cpu", progress=terminate)
    assert not (tmp_path / "x.h5").exists()
    run(CONFIG, pedestrians, generator, tmp_path / "x.h5", device="cpu")
    assert content(tmp_path / "x.h5") == content(whole)


def test_progress_ends_at_the_total(pedestrians, generator, tmp_path):
    seen = []
    made = run(CONFIG, pedestrians, generator, tmp_path / "x.h5", device="cpu", progress=lambda *n: seen.append(n))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (len(store.Reader(made)),) * 2


def test_a_folder_keeps_its_shards(pedestrians, generator, whole, tmp_path, monkeypatch):
    log = []
    folder = run(CONFIG, pedestrians, generator, tmp_path / "x", device="cpu")
    reader, expected = store.Reader(folder), store.Reader(whole)
    assert reader.content_sha256 == expected.content_sha256
    assert not [path for path in folder.iterdir() if path.name == ".reserve"]
    run(CONFIG, pedestrians, generator, folder, device="cpu", log=log.append)
    assert log == ["already done"]
    store.shard_path(folder, 1).unlink()
    assert run(CONFIG, pedestrians, generator, folder, device="cpu") == folder
    assert store.Reader(folder).damaged() == []
    with pytest.raises(ValueError, match=r"another configuration: config\.seed \(0 there, 1 here\), plan_sha256"):
        run(replace(CONFIG, seed=1), pedestrians, generator, folder, device="cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="--force: 2 processes would remove each other's work"):
        run(CONFIG, pedestrians, generator, folder, device="cpu", force=True)


def test_a_damaged_shard_is_named_and_made_again_alone(pedestrians, generator, whole, tmp_path, monkeypatch):
    out, log = tmp_path / "x.h5", []
    with monkeypatch.context() as patch:
        patch.setattr(store, "merge", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(CONFIG, pedestrians, generator, out, device="cpu")
    path = store.shard_path(store.shard_folder(out), 1)
    with h5py.File(path, "r+") as file:
        file["images"][3, 5, 5, 0] ^= 1
    made = []
    monkeypatch.setattr(synthesize, "generate", lambda *a, made=made, generate=synthesize.generate: (
        made.append(a[1]), generate(*a)
    )[1])  # fmt: skip
    run(CONFIG, pedestrians, generator, out, device="cpu", log=log.append)
    assert any("part-00001.h5: damaged (checksum differs); it is made again" in line for line in log)
    np.testing.assert_array_equal(np.concatenate(made), np.arange(8, 16))
    assert store.Reader(out).content_sha256 == store.Reader(whole).content_sha256


def test_a_damaged_shard_of_a_finished_folder_is_made_again(pedestrians, generator, whole, tmp_path):
    log = []
    folder = run(CONFIG, pedestrians, generator, tmp_path / "x", device="cpu")
    with h5py.File(store.shard_path(folder, 1), "r+") as file:
        file["images"][3, 5, 5, 0] ^= 1
    run(CONFIG, pedestrians, generator, folder, device="cpu", log=log.append)
    assert any("part-00001.h5: damaged (checksum differs); it is made again" in line for line in log)
    assert store.Reader(folder).content_sha256 == store.Reader(whole).content_sha256
    assert store.Reader(folder).damaged() == []


def terminate(*_):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("place", "name"),
    [(synthesize, "read_data"), (checkpoint, "load_generator"), (planning, "draw_plan"), (synthesize, "plan_table")],
)
def test_sigterm_before_the_first_image_loses_nothing(pedestrians, generator, tmp_path, monkeypatch, place, name):
    real = getattr(place, name)

    def stopped(*given, **more):
        terminate()
        return real(*given, **more)

    monkeypatch.setattr(place, name, stopped)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match="nothing is lost, the same command begins again"):
        run(CONFIG, pedestrians, generator, tmp_path / "x.h5", device="cpu", plan=True)
    assert signal.getsignal(signal.SIGTERM) is before
    assert list(tmp_path.iterdir()) == []


def test_sigterm_while_the_sheet_is_drawn_lets_it_be_finished(pedestrians, generator, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesize, "_cells", lambda *a, real=synthesize._cells: (terminate(), real(*a))[1])
    run(CONFIG, pedestrians, generator, whole, device="cpu", sheet=tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").exists()


def test_a_finished_set_on_a_full_disk_is_done(pedestrians, generator, whole, monkeypatch):
    monkeypatch.setattr(standing.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    log = []
    run(CONFIG, pedestrians, generator, whole, device="cpu", log=log.append)
    assert log == ["already done"]


def test_a_relative_name_of_a_finished_set_is_done(words, monkeypatch, capsys):
    augment = caller(monkeypatch, capsys)
    for out in ("x.h5", "x"):
        option = (*words, "--ratio", 0.3, "--out", out)
        assert augment(*option).code == 0
        for more in ((), ("--dry-run",)):
            outcome = augment(*option, *more)
            assert (outcome.code, outcome.err) == (0, "already done\n")
