"""The dry run prints the plan and refuses what the run refuses, in the same words."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from augment import standing, store, synthesize
from augment.synthesize import SynthesizeConfig, run
from tests.command_line import caller
from tests.synthesizing import CONFIG, usable_points


def test_mistakes(pedestrians, generator, tmp_path):
    with pytest.raises(
        ValueError, match=r"--out .*: ends in \.hdf5; expected a file name that ends in \.h5, or a folder's name"
    ):
        run(CONFIG, pedestrians, generator, tmp_path / "x.hdf5", device="cpu")
    foreign = tmp_path / "thesis.h5"
    with h5py.File(foreign, "w") as file:
        file["measurements"] = np.arange(3)
    for force in (False, True):
        with pytest.raises(ValueError, match=r"thesis\.h5: "):
            run(CONFIG, pedestrians, generator, foreign, device="cpu", force=force)
    assert foreign.exists()


def test_the_time_is_that_of_a_warm_batch_for_each_image(pedestrians, generator, monkeypatch):
    config = SynthesizeConfig(per_image=1, batch=8)
    job = synthesize.prepare(config, pedestrians, generator, device="cpu")
    clock, asked = [0.0], []

    def generate(job, rows, precision):
        clock[0] += 0.5 * len(rows) if asked else 100  # the first batch is slow
        asked.append((rows.tolist(), precision))

    monkeypatch.setattr(synthesize, "generate", generate)
    monkeypatch.setattr(synthesize.time, "perf_counter", lambda: clock[0])
    assert synthesize.estimate_seconds(job, config) == 0.5 * len(job.plan)
    assert asked == [(list(range(8)), "fp32"), (list(range(8, 16)), "fp32")]
    asked.clear()
    assert synthesize.estimate_seconds(job, replace(config, batch=1000)) == 0.5 * len(job.plan)
    assert [rows for rows, _ in asked] == [list(range(len(job.plan)))] * 2, "one batch is all there is"


@pytest.mark.parametrize("option", [("--per-identity", "5"), ("--balance",), ("--balance", "--plan")])
def test_a_dry_run_prints_the_plan_and_makes_nothing(words, pedestrians, tmp_path, option, monkeypatch, capsys):
    real = Counter(int(name[:4]) for name in usable_points(pedestrians))
    outcome = caller(monkeypatch, capsys)(*words, *option, "--dry-run")
    lacking = sum(max(real.values()) - images for images in real.values())
    images = 5 * len(real) if option[0] == "--per-identity" else lacking
    assert outcome.code == 0, outcome.err
    rows = dict(line.strip().split("  ", maxsplit=1) for line in outcome.out.splitlines())
    assert rows["images"] == f"{images}"
    size = f"{images * 128 * 64 * 3 / 1e6:.1f} MB of 128 x 64 pixels, {2 * images * 128 * 64 * 3 / 1e6:.1f} MB while"
    assert rows["size"].startswith(size)
    assert rows["time"].endswith("(cpu, fp32, batch 64, 1 process)")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_is_printed_before_it_is_carried_out(words, monkeypatch, capsys):
    augment = caller(monkeypatch, capsys)
    planned = augment(*words, "--ratio", 0.3, "--dry-run").out.splitlines()
    outcome = augment(*words, "--ratio", 0.3, "--plan")
    assert (outcome.code, outcome.out) == (0, "x.h5\n")
    assert outcome.err.splitlines()[: len(planned) - 1] == planned[:-1], "but for the time"
    assert f"{len(store.Reader(Path('x.h5')))}" == planned[0].split()[1]


def test_the_plan_names_the_processes_of_this_launch(words, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "4")
    outcome = caller(monkeypatch, capsys)(*words, "--ratio", 0.3, "--dry-run")
    assert "(cpu, fp32, batch 64, 4 processes)" in outcome.out


@pytest.mark.parametrize("ratio", ["inf", "nan", "-inf", "1e308"])
def test_ratios_that_are_no_number_of_images(words, monkeypatch, capsys, ratio):
    outcome = caller(monkeypatch, capsys)(*words, "--ratio", ratio, "--dry-run")
    assert outcome.code == 2
    assert "--ratio" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def refusal(pedestrians, generator, out, config=CONFIG, **more):
    """What a run is refused with; the dry run must say the same, and neither writes anything."""
    before = {path: path.stat().st_mtime_ns for path in out.parent.rglob("*")}
    said = []
    for act in (synthesize.rehearse, run):
        with pytest.raises(ValueError, match=r"\S") as refused:
            act(config, pedestrians, generator, out, device="cpu", **more)
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert {path: path.stat().st_mtime_ns for path in out.parent.rglob("*")} == before
    return said[0]


def test_a_dry_run_refuses_what_the_run_does(pedestrians, generator, whole, tmp_path):
    other = replace(CONFIG, seed=1)
    assert "config.seed (0 there, 1 here)" in refusal(pedestrians, generator, whole, other)
    assert "holds files that are no unfinished synthetic set" in refusal(pedestrians, generator, pedestrians)
    assert "holds files that are no unfinished synthetic set" in refusal(
        pedestrians, generator, pedestrians, force=True
    )
    assert "ends in .txt; expected" in refusal(pedestrians, generator, tmp_path / "b" / "a.txt")
    (tmp_path / "folder.h5").mkdir()
    assert "is a folder" in refusal(pedestrians, generator, tmp_path / "folder.h5")
    (tmp_path / "file").write_text("thesis")
    assert "is a file" in refusal(pedestrians, generator, tmp_path / "file")
    assert "file is a file, not a folder" in refusal(pedestrians, generator, tmp_path / "file" / "x.h5")
    (tmp_path / "thesis.h5").write_text("thesis")
    assert "thesis.h5: not an HDF5 file" in refusal(pedestrians, generator, tmp_path / "thesis.h5")
    assert "so --force leaves it" in refusal(pedestrians, generator, tmp_path / "thesis.h5", force=True)


def test_a_dry_run_refuses_a_set_that_was_begun_as_another(pedestrians, generator, tmp_path):
    folder = run(CONFIG, pedestrians, generator, tmp_path / "x", device="cpu")
    store.shard_path(folder, 0).unlink()
    said = refusal(pedestrians, generator, folder, replace(CONFIG, batch=4))
    assert "was begun with another configuration: config.batch (8 there, 4 here); give the same options" in said
    (folder / "notes.txt").write_text("mine")
    assert "holds other files too (for example notes.txt)" in refusal(pedestrians, generator, folder, force=True)


def test_a_dry_run_says_what_is_there(pedestrians, generator, whole, tmp_path):
    def told(out, **more):
        log = []
        table = synthesize.rehearse(CONFIG, pedestrians, generator, out, device="cpu", log=log.append, **more)
        return log, dict(line.strip().split("  ", maxsplit=1) for line in table.splitlines())

    images = len(store.Reader(whole))
    log, rows = told(whole)
    assert (log, rows["still to make"]) == (["already done"], f"0 of {images} images")
    assert "time" not in rows
    folder = run(CONFIG, pedestrians, generator, tmp_path / "x", device="cpu")
    store.shard_path(folder, 0).unlink()
    log, rows = told(folder)
    assert (log, rows["still to make"]) == ([f"{images - 8} of {images} images are there"], f"8 of {images} images")
    assert "merged" not in rows["size"]
    log, rows = told(folder, force=True)
    assert log == []
    assert "still to make" not in rows
    assert not store.shard_path(folder, 0).exists()


def test_a_part_of_the_set_is_not_taken_for_it(pedestrians, generator, whole, tmp_path):
    folder = run(CONFIG, pedestrians, generator, tmp_path / "x", device="cpu")
    chosen = tmp_path / "chosen.h5"
    store.write_selection(chosen, store.Reader(whole), np.arange(len(store.Reader(whole))), {"top": 1.0})
    assert "chosen.h5: is a selection of" in refusal(pedestrians, generator, chosen)
    shard = store.shard_path(folder, 0)
    images = len(store.Reader(whole))
    assert f"holds 8 of the set's {images} images" in refusal(pedestrians, generator, shard)


def test_a_part_of_all_images_is_not_taken_for_the_set(pedestrians, generator, tmp_path, monkeypatch):
    monkeypatch.setattr(store.shards, "SHARD_ROWS", 1024)
    folder = run(CONFIG, pedestrians, generator, tmp_path / "x", device="cpu")
    assert "so it is a part of it" in refusal(pedestrians, generator, store.shard_path(folder, 0))


@pytest.mark.parametrize("suffix", [".hdf5", ".h5py", ".hdf", ".H5", ".txt", ".png", ".jpg", ".csv", ".json", ".zip"])
def test_names_of_other_files_are_refused(tmp_path, suffix):
    with pytest.raises(ValueError, match=rf"x{suffix}: ends in \{suffix}; expected a file name that ends in \.h5"):
        standing.require_name(tmp_path / f"x{suffix}")


def test_more_images_than_the_disk_has_room_for_are_not_even_planned(pedestrians, generator, tmp_path, monkeypatch):
    free = 10**9
    monkeypatch.setattr(standing.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    people = len(usable_points(pedestrians))
    needed = people * 10**6 * 128 * 64 * 3
    huge = SynthesizeConfig("self", per_image=10**6)
    said = refusal(pedestrians, generator, tmp_path / "x.h5", huge)
    assert said.startswith(f"--per-image 1000000: {people * 10**6:,} images take {needed / 1e6:,.1f} MB")
    assert f"the disk has {free / 1e6:,.1f} MB" in said
