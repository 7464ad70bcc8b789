"""Imported images are those of the files; their facts, sizes and poses those of table and data."""

import shutil

import numpy as np
import pytest
from PIL import Image

from augment import audit, export, importing, store, train_reid
from augment.data import keypoints
from augment.data.images import glance
from augment.importing import ImportConfig, run
from augment.plan import UNKNOWN, Plan
from augment.train_reid import TrainReidConfig
from reid.mixing import MixPolicy
from reid.training import ReidConfig
from tests.importing import CONFIG, SIZE, made, pixels

# What is imported


def test_images_and_facts(given, pedestrians, dataset, points):
    targets = [dataset.train[9].name, "", dataset.train[11].name, dataset.train[9].name, "nobody.jpg"]
    given.write(target=targets, seed=[7, "", 2**64 - 1, 0, 1])
    reader = made(given, pedestrians)
    for row, source in enumerate(given.sources):
        np.testing.assert_array_equal(reader.image(row), pixels(row))
        assert (reader.identity(row), reader.camera(row), reader.source_name(row)) == (
            source.pid, source.camid, source.name,
        )  # fmt: skip
    assert [reader.target_name(row) for row in range(5)] == [*targets[:4], ""]
    assert reader.target_index[[1, 4]].tolist() == [UNKNOWN, UNKNOWN]
    assert np.isnan(reader.target_pose[[1, 4]]).all()
    assert reader.seed.tolist() == [7, 0, 2**64 - 1, 0, 1]
    stored = glance(dataset.train[9].path)
    expected = points[dataset.train[9].name] * np.asarray(SIZE) / np.asarray(stored)
    np.testing.assert_allclose(reader.target_pose[0], expected, rtol=1e-6)
    assert reader.damaged() == []


def test_provenance(given, pedestrians, dataset):
    said = made(given, pedestrians).attributes
    assert said["generator"] == {"model": "diffusion", "preset": "imported", "weights_sha256": None}
    assert said["data_digest"] == dataset.digest
    assert said["config"]["command"] == "import"
    assert len(said["config"]["table_sha256"]) == len(said["config"]["images_sha256"]) == 64
    assert not {"points_digest", "pose_estimator", audit.TEST_IDENTITIES} & said.keys(), "no key points were read"
    given.write(target=[dataset.train[9].name] * 5)
    posed = made(given, pedestrians, force=True).attributes
    assert posed["pose_estimator"] == "annotation file"
    assert posed["points_digest"]


def test_an_export_comes_back(pedestrians, dataset, points, tmp_path):
    """Its table is the import's; PNG gives the very pixels."""
    records = keypoints.usable(dataset.train, points)[:6]
    names = [record.name for record in records]
    plan = Plan(
        files=tuple(names),
        poses=keypoints.stack(records, points),
        pid=np.asarray([record.pid for record in records]),
        camid=np.asarray([record.camid for record in records]),
        source_index=np.arange(6),
        target_index=np.asarray([5, 4, 3, UNKNOWN, 1, 0]),
        seed=np.arange(6).astype(np.uint64) + np.uint64(2**63),
    )
    provenance = {"tool": "t", "config": {}, "generator": {"model": "g"}, "versions": {}, "data_digest": dataset.digest}
    images = np.stack([pixels(seed, glance(records[0].path)) for seed in range(6)])
    first = store.Reader(store.write_set(tmp_path / "x.h5", plan, provenance, [images]))
    out = export.run(export.ExportConfig("folder", quality=None), first.path, tmp_path / "exported")
    back = store.Reader(run(CONFIG, out / "bounding_box_train", out / "images.csv", pedestrians, tmp_path / "back.h5"))
    for name in ("pid", "camid", "seed", "crc32", "target_pose"):
        np.testing.assert_array_equal(getattr(back, name), getattr(first, name))
    for row in range(6):
        np.testing.assert_array_equal(back.image(row), images[row])
        assert (back.source_name(row), back.target_name(row)) == (first.source_name(row), first.target_name(row))


def test_train_reid_accepts_it_and_refuses_a_stamped_one(given, pedestrians):
    config = TrainReidConfig(ReidConfig(init="random"), MixPolicy(ratio=0.1))
    job = train_reid.prepare(config, pedestrians, [made(given, pedestrians).path])
    assert "5 synthetic images" in str(job)
    stamped = ImportConfig("diffusion", allow_test_identities=True)
    with pytest.raises(ValueError, match="made with --allow-test-identities"):
        train_reid.prepare(config, pedestrians, [made(given, pedestrians, stamped, force=True).path])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_other_kinds_of_pixels_become_rgb(given, pedestrians, mode):
    image = Image.fromarray(pixels(9)).convert(mode)
    image.save(given.folder / "a.png")
    np.testing.assert_array_equal(made(given, pedestrians).image(0), np.asarray(image.convert("RGB")))


def test_jpeg(given, pedestrians):
    for name in given.names:
        Image.fromarray(pixels(1)).save((given.folder / name).with_suffix(".jpg"), quality=90)
        (given.folder / name).unlink()
    given.write(name=[name.replace("png", "jpg") for name in given.names])
    with Image.open(given.folder / "a.jpg") as image:
        np.testing.assert_array_equal(made(given, pedestrians).image(0), np.asarray(image))


def test_facts_of_the_source_may_be_left_to_it(given, pedestrians):
    whole = made(given, pedestrians)
    given.write(pid=[""] * 5, camid=["", given.sources[1].camid, "", "", ""])
    blank = made(given, pedestrians, force=True)
    given.without("pid", "camid", "target", "seed")
    absent = made(given, pedestrians, force=True)
    for reader in (blank, absent):
        assert (reader.pid.tolist(), reader.camid.tolist()) == (whole.pid.tolist(), whole.camid.tolist())


def test_tables_as_spreadsheets_write_them(given, pedestrians):
    text = given.table.read_text(encoding="utf-8").replace(",", " , ", 3) + ",,,,,\n\n"
    given.table.write_text("\ufeff" + text, encoding="utf-8")
    assert len(made(given, pedestrians)) == 5


def test_columns_without_a_meaning_are_passed_over_and_said(given, pedestrians):
    given.write(prompt=["a man, walking"] * 5, guidance=[7.5] * 5)
    lines = []
    assert len(made(given, pedestrians, log=lines.append)) == 5
    assert lines == ["columns without a meaning here: prompt, guidance"]


# Sizes


def test_shrinking_averages_areas_and_growing_is_bicubic(given, pedestrians):
    half = made(given, pedestrians, ImportConfig("g", (12, 6)))
    means = pixels(0).reshape(12, 2, 6, 2, 3).mean(axis=(1, 3))
    assert np.abs(half.image(0) - means).max() <= 1, "rounded twice, after rows and after columns"
    grown = made(given, pedestrians, ImportConfig("g", (48, 24)), force=True)
    twin = Image.fromarray(pixels(0)).resize((24, 48), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(grown.image(0), np.asarray(twin))
    assert grown.attributes["config"]["size"] == [48, 24]


def test_poses_are_scaled_with_the_images(given, pedestrians, dataset, points):
    given.write(target=[dataset.train[9].name] * 5)
    stored = np.asarray(glance(dataset.train[9].path))
    same = made(given, pedestrians, ImportConfig("g", tuple(stored.tolist())))
    whole = same.target_pose[0]
    np.testing.assert_array_equal(whole, points[dataset.train[9].name])
    half = made(given, pedestrians, ImportConfig("g", tuple((stored // 2).tolist())), force=True)
    np.testing.assert_allclose(half.target_pose[0], whole / 2, rtol=1e-6)


def test_several_sizes_are_named(given, pedestrians):
    Image.fromarray(pixels(0, (12, 12))).save(given.folder / "b.png")
    Image.fromarray(pixels(0, (30, 10))).save(given.folder / "e.png")
    with pytest.raises(ValueError, match=r"line 3: b\.png is 12x12, the first is 24x12 .*; line 6: e\.png is 30x10"):
        made(given, pedestrians)
    assert made(given, pedestrians, ImportConfig("g", SIZE)).size == SIZE


def test_an_image_that_changes_meanwhile_is_not_resized(given, pedestrians, monkeypatch):
    real = store.write_set

    def change(*arguments):
        Image.fromarray(pixels(0, (30, 10))).save(given.folder / "e.png")
        return real(*arguments)

    monkeypatch.setattr(importing.store, "write_set", change)
    with pytest.raises(ValueError, match=r"e\.png: has become 30x10 meanwhile"):
        made(given, pedestrians)
    assert not given.out.exists()


# Key points


def test_key_points_from_elsewhere(given, pedestrians, dataset, points, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(pedestrians, bare, ignore=shutil.ignore_patterns("*.csv"))
    given.write(target=[dataset.train[9].name] * 5)
    lines = []
    unposed = made(given, bare, log=lines.append)
    assert lines == ["5 images have a target without key points: their poses stay unknown"]
    assert unposed.target_name(0) == dataset.train[9].name
    assert np.isnan(unposed.target_pose).all()
    annotation = pedestrians / "market-annotation-train.csv"
    with pytest.raises(ValueError, match=r"holds another set: plan_sha256.*points_digest \(None there"):
        made(given, bare, poses=annotation)
    posed = made(given, bare, poses=annotation, force=True)
    assert not np.isnan(posed.target_pose[0]).all()
    given.write(target=[""] * 5)
    with pytest.raises(ValueError, match=r"--poses .*train\.csv: no image has a known target"):
        made(given, bare, poses=annotation)


def test_targets_that_data_does_not_have_are_counted(given, pedestrians, dataset):
    given.write(target=["pose 1", "", dataset.train[9].name, "pose 2", ""])
    lines = []
    made(given, pedestrians, log=lines.append)
    assert lines == ["2 images have a target that DATA does not have: their poses stay unknown"]
