"""A set holds what was planned, from the right generators, sources and poses only."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from augment import audit, files, sheets, store, synthesize
from augment.data import keypoints
from augment.data.images import read_image
from augment.data.read import read_data
from augment.data.records import DISTRACTOR
from augment.synthesize import SynthesizeConfig, run
from tests.synthesizing import CONFIG, save_generator, save_weights, usable_points


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


@pytest.mark.parametrize("name", ["v1.0", "set.2024-05", "x.y.h5"])
def test_names_with_dots(pedestrians, tmp_path, name):
    out = run(CONFIG, pedestrians, Path("copy"), tmp_path / name, device="cpu")
    assert out.is_dir() == (out.suffix != ".h5")
    assert store.Reader(out).damaged() == []
