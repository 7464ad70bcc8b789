"""The stage with a small untrained generator: the same set whoever is killed when, and only from the right inputs."""

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from augment import audit, files, planning, sheets, standing, store, synthesize
from augment.data import keypoints
from augment.data.images import read_image
from augment.data.read import read_data
from augment.data.records import DISTRACTOR
from augment.interruption import Preempted
from augment.synthesize import SynthesizeConfig, run
from generators import checkpoint
from generators.initialisation import initialise
from generators.registry import create_generator
from tests.command_line import caller
from tests.killing import die, in_child

CONFIG = SynthesizeConfig(ratio=0.5, batch=8)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store.shards, "SHARD_ROWS", 8)


def save_generator(path, data, seed=0):
    """Weights that say they were trained on `data`."""
    dataset = read_data(data)
    points = keypoints.dataset_points(dataset)
    digest = keypoints.digest(keypoints.usable(dataset.train, points), points)
    return save_weights(path, {"trained_on": dataset.digest, "points_digest": digest}, seed)


def save_weights(path, extra, seed=0):
    network = create_generator("dptn", "tiny", width=8, max_width=16)
    initialise(network, torch.Generator().manual_seed(seed), "lecun")
    path.write_bytes(checkpoint.generator_to_bytes("dptn", "tiny", network, extra))
    return path


@pytest.fixture(scope="module")
def generator(pedestrians, tmp_path_factory):
    return save_generator(tmp_path_factory.mktemp("g") / "generator.safetensors", pedestrians)


@pytest.fixture(scope="module")
def whole(pedestrians, generator, tmp_path_factory):
    """An uninterrupted set."""
    return run(CONFIG, pedestrians, generator, tmp_path_factory.mktemp("whole") / "x.h5", device="cpu")


def content(path):
    with h5py.File(path) as file:
        return {name: file[name][...].tobytes() for name in file}


def test_the_set_holds_what_was_planned(pedestrians, whole):
    reader = store.Reader(whole)
    dataset = read_data(pedestrians)
    names = {record.name: record for record in dataset.train}
    assert len(reader) == round(len(reader.files) * 0.5)
    assert reader.size == (128, 64)
    assert reader.damaged() == []
    for row in range(len(reader)):
        source = names[reader.source_name(row)]
        assert (reader.identity(row), reader.camera(row)) == (source.pid, source.camid)
        assert reader.target_name(row) in names, "poses of training images only"
    assert len({reader.image(row).tobytes() for row in range(len(reader))}) == len(reader)
    assert reader.attributes["data_digest"] == reader.attributes["generator"]["trained_on"] == dataset.digest


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


def test_other_weights_are_refused(pedestrians, generator, whole, tmp_path):
    other = save_generator(tmp_path / "generator.safetensors", pedestrians, seed=1)
    with pytest.raises(ValueError, match=r"generator\.weights_sha256"):
        run(CONFIG, pedestrians, other, whole, device="cpu")


def test_a_generator_of_another_split_is_refused_unless_it_is_said(pedestrians, whole, tmp_path):
    other = save_weights(tmp_path / "generator.safetensors", {"trained_on": "0" * 64})
    with pytest.raises(ValueError, match=r"training split \(000000000000\.\.\. there, .*--foreign-generator"):
        run(CONFIG, pedestrians, other, tmp_path / "x.h5", device="cpu")
    accepted = SynthesizeConfig(ratio=0.1, batch=8, foreign_generator=True)
    reader = store.Reader(run(accepted, pedestrians, other, tmp_path / "x.h5", device="cpu"))
    assert reader.attributes["generator"]["trained_on"] == "0" * 64
    assert reader.attributes["config"]["foreign_generator"] is True


def test_images_depend_on_the_batch_by_a_level_in_rare_pixels_at_most(pedestrians, generator):
    job = synthesize.prepare(CONFIG, pedestrians, generator, device="cpu")
    rows = np.arange(6)
    together = synthesize.generate(job, rows).astype(int)
    alone = np.concatenate([synthesize.generate(job, rows[i : i + 1]) for i in rows]).astype(int)
    shuffled = synthesize.generate(job, rows[::-1].copy()).astype(int)[::-1]
    for other in (alone, shuffled):
        assert np.abs(together - other).max() <= 1
        assert (together != other).mean() < 1e-3


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        SynthesizeConfig("diverse", per_identity=5),
        SynthesizeConfig("canonical", per_image=3),
    ],
    ids=lambda config: config.poses,
)
def test_the_plan_does_not_depend_on_the_order_of_the_records(pedestrians, generator, tmp_path, config):
    lines = []
    for folder, split in (("bounding_box_train", "train"), ("query", "query"), ("bounding_box_test", "gallery")):
        for path in sorted((pedestrians / folder).glob("*.jpg")):
            pid, camera = path.name.split("_")[:2]
            lines.append(f"{path},{int(pid)},{camera[1]},{split}\n")
    annotation = pedestrians / "market-annotation-train.csv"
    digests = set()
    for order in (lines, lines[::-1]):
        (tmp_path / "manifest.csv").write_text("path,pid,camid,split\n" + "".join(order))
        job = synthesize.prepare(config, tmp_path / "manifest.csv", generator, annotation=annotation, device="cpu")
        digests.add((job.plan.sha256, json.dumps(job.provenance)))
    assert len(digests) == 1


def test_sigterm_stops_between_batches_and_the_run_continues(pedestrians, generator, whole, tmp_path):

    def terminate(done, total):
        if done > total / 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted, match="the same command continues"):
        run(CONFIG, pedestrians, generator, tmp_path / "x.h5", device="cpu", progress=terminate)
    assert not (tmp_path / "x.h5").exists()
    run(CONFIG, pedestrians, generator, tmp_path / "x.h5", device="cpu")
    assert content(tmp_path / "x.h5") == content(whole)


def test_the_sheet(pedestrians, generator, whole, tmp_path):
    run(CONFIG, pedestrians, generator, whole, device="cpu", sheet=tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        rows, groups = min(synthesize.SHEET_ROWS, len(store.Reader(whole))), 3
        assert sheet.width == groups * (4 * (2 * 64 + 4) + 8)
        assert sheet.height > -(-rows // groups) * 2 * 128
        assert len(np.unique(np.asarray(sheet))) > 50


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


@pytest.mark.parametrize("name", ["copy", "warp"])
def test_a_baseline_is_a_generator_by_its_name(pedestrians, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    made = run(CONFIG, pedestrians, Path(name), tmp_path / "x.h5", device="cpu")
    reader = store.Reader(made)
    assert reader.attributes["generator"]["model"] == name
    assert reader.attributes["generator"]["weights_sha256"] is None
    dataset = read_data(pedestrians)
    usable = keypoints.usable(dataset.train, keypoints.dataset_points(dataset))
    sources = sorted(usable, key=lambda record: record.name)
    same = [np.array_equal(reader.image(row), read_image(sources[reader.source_index[row]].path)) for row in range(8)]
    assert all(same) if name == "copy" else not any(same)


def test_a_file_of_a_baselines_name_is_a_file(pedestrians, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "warp").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="warp: not a complete safetensors file"):
        run(CONFIG, pedestrians, Path("warp"), tmp_path / "x.h5", device="cpu")


def test_budgets_and_policies_reach_the_plan(pedestrians, generator):
    job = synthesize.prepare(SynthesizeConfig("canonical", per_identity=5), pedestrians, generator, device="cpu")
    people = {record.pid for record in job.split.records}
    assert Counter(job.plan.pid.tolist()) == dict.fromkeys(people, 5)
    assert len(set(job.plan.target_index.tolist())) <= 8
    assert job.provenance["config"]["per_identity"] == 5
    assert "balance" not in job.provenance["config"], "a set that was made without it goes on"
    with pytest.raises(ValueError, match="exactly one of --per-image, --ratio, --per-identity and --balance"):
        synthesize.prepare(SynthesizeConfig(per_image=1, balance=True), pedestrians, generator, device="cpu")


def test_sources_reach_the_plan_and_its_provenance_if_asked_for(pedestrians, generator):
    one_each = SynthesizeConfig(per_image=2, sources="most-visible")
    job = synthesize.prepare(one_each, pedestrians, generator, device="cpu")
    groups = {(record.pid, record.camid) for record in job.split.records}
    assert Counter(zip(job.plan.pid.tolist(), job.plan.camid.tolist(), strict=True)) == dict.fromkeys(groups, 2)
    assert job.provenance["config"]["sources"] == "most-visible"
    job = synthesize.prepare(CONFIG, pedestrians, generator, device="cpu")
    assert {"balance", "sources", "allow_test_identities", "poses_sha256"}.isdisjoint(job.provenance["config"])
    assert audit.TEST_IDENTITIES not in job.provenance


def usable_points(data, split="train"):
    dataset = read_data(data)
    points = keypoints.dataset_points(dataset)
    return {record.name: points[record.name] for record in keypoints.usable(getattr(dataset, split), points)}


def test_poses_of_a_file(pedestrians, generator, tmp_path):
    """A training image's pose under another name gives that very image; on the sheet it has no true one."""
    names, poses = zip(*sorted(usable_points(pedestrians).items()), strict=True)
    given = keypoints.write_annotation(tmp_path / "poses.csv", {"nobody.jpg": poses[4], names[7]: poses[7]})
    config = SynthesizeConfig(str(given), ratio=0.4, batch=8)
    out = run(config, pedestrians, generator, tmp_path / "x.h5", device="cpu")
    reader = store.Reader(out)
    assert reader.files == [*names, "nobody.jpg"]
    assert {reader.target_name(row) for row in range(len(reader))} == {"nobody.jpg", names[7]}
    assert reader.attributes["config"]["poses"] == "file", "wherever the file lies"
    assert reader.attributes["config"]["poses_sha256"] == files.sha256(given)
    job = synthesize.prepare(config, pedestrians, generator, device="cpu")
    rows = np.flatnonzero(job.plan.target_index == len(names))[:6]
    same = replace(job.plan, target_index=np.full(len(job.plan), 4))
    np.testing.assert_array_equal(synthesize.generate(job, rows), synthesize.generate(replace(job, plan=same), rows))
    for row in synthesize.sheet_rows(reader, job.split, len(reader)):
        drawn = [np.array_equal(row[1], sheets.draw_skeleton(poses[index], reader.size)) for index in (4, 7)]
        assert sum(drawn) == 1
        assert row[3] is None or drawn == [False, True]

    again = run(config, pedestrians, generator, out, device="cpu", log=(log := []).append)
    assert (again, log) == (out, ["already done"])
    keypoints.write_annotation(given, {"nobody.jpg": poses[5], names[7]: poses[7]})
    with pytest.raises(ValueError, match=r"x\.h5: .*config\.poses_sha256"):
        run(config, pedestrians, generator, out, device="cpu")


def test_poses_of_test_images_are_refused(pedestrians, generator, tmp_path):
    name, pose = next(iter(usable_points(pedestrians, "gallery").items()))
    given = keypoints.write_annotation(tmp_path / "poses.csv", {"nobody.jpg": pose, name: pose})
    config = SynthesizeConfig(str(given), per_image=1)
    with pytest.raises(ValueError, match=rf"poses\.csv: 1 poses .*{name}.*--allow-test-identities"):
        synthesize.prepare(config, pedestrians, generator, device="cpu")
    config = replace(config, allow_test_identities=True)
    job = synthesize.prepare(config, pedestrians, generator, device="cpu")
    assert {job.plan.files[target] for target in job.plan.target_index} == {"nobody.jpg", name}
    with pytest.raises(ValueError, match="--poses upside-down: neither a policy"):
        synthesize.prepare(SynthesizeConfig("upside-down", per_image=1), pedestrians, generator, device="cpu")


def test_test_identities_are_sources_only_if_asked_for_and_the_set_says_so(pedestrians, generator, tmp_path):
    dataset = read_data(pedestrians)
    config = replace(CONFIG, allow_test_identities=True)
    out = run(config, pedestrians, generator, tmp_path / "x.h5", device="cpu")
    reader = store.Reader(out)
    assert reader.attributes[audit.TEST_IDENTITIES] is True
    pids = {record.pid for record in (*dataset.train, *dataset.query)}
    assert set(reader.pid.tolist()) == pids, "distractors are nobody"
    assert DISTRACTOR in {record.pid for record in dataset.gallery}
    usable = {**usable_points(pedestrians), **usable_points(pedestrians, "query")}
    assert usable.keys() < set(reader.files)
    with pytest.raises(ValueError, match=r"config\.allow_test_identities \(True there, None here\)"):
        run(CONFIG, pedestrians, generator, out, device="cpu")
    assert {"test_digest", "test_points_digest"} <= reader.attributes["config"].keys()


def test_identities_in_both_splits_are_refused_unless_test_identities_are_asked_for(pedestrians, tmp_path):
    train = sorted((pedestrians / "bounding_box_train").glob("*.jpg"))
    lines = [f"{path},{int(path.name[:4])},1,{'gallery' if row % 2 else 'train'}" for row, path in enumerate(train)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,pid,camid,split", *lines]) + "\n")
    annotation = {"annotation": pedestrians / "market-annotation-train.csv", "device": "cpu"}
    with pytest.raises(ValueError, match="are both in training and in query or gallery"):
        synthesize.prepare(CONFIG, tmp_path / "manifest.csv", Path("copy"), **annotation)
    allowed = replace(CONFIG, allow_test_identities=True)
    job = synthesize.prepare(allowed, tmp_path / "manifest.csv", Path("copy"), **annotation)
    assert [record.name for record in job.split.records] == sorted(usable_points(pedestrians))


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


@pytest.fixture
def words(pedestrians, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ["synthesize", pedestrians, "--generator", "copy", "--out", "x.h5", "--device", "cpu", "--poses", "diverse"]


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


@pytest.mark.parametrize("name", ["v1.0", "set.2024-05", "x.y.h5"])
def test_names_with_dots(pedestrians, tmp_path, name):
    out = run(CONFIG, pedestrians, Path("copy"), tmp_path / name, device="cpu")
    assert out.is_dir() == (out.suffix != ".h5")
    assert store.Reader(out).damaged() == []


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


def test_a_finished_set_on_a_full_disk_is_done(pedestrians, generator, whole, monkeypatch):
    monkeypatch.setattr(standing.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    log = []
    run(CONFIG, pedestrians, generator, whole, device="cpu", log=log.append)
    assert log == ["already done"]


@pytest.mark.parametrize(("poses", "true"), [("self", True), ("same-identity", True), ("other-identity", False)])
def test_the_sheet_is_full_whatever_the_policy(pedestrians, tmp_path, poses, true):
    config = SynthesizeConfig(poses, per_image=1)
    reader = store.Reader(run(config, pedestrians, Path("copy"), tmp_path / "x.h5", device="cpu"))
    split = synthesize.prepare(config, pedestrians, Path("copy"), device="cpu").split
    count = len(reader) - 3
    rows = synthesize.sheet_rows(reader, split, count)
    assert [row[3] is not None for row in rows] == [true] * count


def test_the_sheet_has_half_with_a_true_image_where_there_are_as_many(pedestrians, tmp_path):
    config = SynthesizeConfig("random", per_image=4)
    reader = store.Reader(run(config, pedestrians, Path("copy"), tmp_path / "x.h5", device="cpu"))
    split = synthesize.prepare(config, pedestrians, Path("copy"), device="cpu").split
    people = [record.pid for record in split.records]
    same = sum(people[target] == pid for target, pid in zip(reader.target_index, reader.pid, strict=True))
    for count in (4, len(reader), len(reader) + 5):
        there = [row[3] is not None for row in synthesize.sheet_rows(reader, split, count)]
        assert len(there) == min(count, len(reader))
        assert sum(there) == (count // 2 if count == 4 else same)


def test_the_sheet_names_its_rows(pedestrians, generator, whole, tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(sheets, "write_sheet", lambda path, rows, titles, **more: given.update(more, rows=rows))
    reader = store.Reader(whole)
    split = synthesize.prepare(CONFIG, pedestrians, generator, device="cpu").split
    synthesize.write_sheet(tmp_path / "sheet.png", reader, split)
    assert given["head"] == f"x.h5: {len(reader)} of {len(reader)} images, poses: random, generator: dptn"
    for label, cells in zip(given["labels"], given["rows"], strict=True):
        _, row, _, pid, _, camera = label.split()
        assert np.array_equal(cells[2], reader.image(int(row)))
        assert (int(pid), int(camera)) == (reader.identity(int(row)), reader.camera(int(row)))


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


def test_a_relative_name_of_a_finished_set_is_done(words, monkeypatch, capsys):
    augment = caller(monkeypatch, capsys)
    for out in ("x.h5", "x"):
        option = (*words, "--ratio", 0.3, "--out", out)
        assert augment(*option).code == 0
        for more in ((), ("--dry-run",)):
            outcome = augment(*option, *more)
            assert (outcome.code, outcome.err) == (0, "already done\n")
