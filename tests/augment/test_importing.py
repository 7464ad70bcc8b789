"""Imported images are those of the files, their facts those of the table, and nobody's test identities slip in."""

import csv
import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment import audit, export, importing, store, train_reid
from augment.data import keypoints
from augment.data.images import glance
from augment.data.read import read_data
from augment.importing import ImportConfig, prepare, run
from augment.plan import UNKNOWN, Plan
from augment.train_reid import TrainReidConfig
from reid.mixing import MixPolicy
from reid.training import ReidConfig
from tests.command_line import caller
from tests.killing import die, in_child

SIZE = (24, 12)
CONFIG = ImportConfig("diffusion")


@pytest.fixture(scope="module")
def dataset(pedestrians):
    return read_data(pedestrians)


@pytest.fixture(scope="module")
def points(dataset):
    return keypoints.dataset_points(dataset)


@pytest.fixture
def augment(monkeypatch, capsys):
    return caller(monkeypatch, capsys)


def pixels(seed, size=SIZE, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


def write(path, entries):
    """A CSV whose columns are the keys of the first entry."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(entries[0]))
        table.writeheader()
        table.writerows(entries)
    return path


class Given:
    """A folder of five images and the table of them."""

    def __init__(self, root, dataset):
        self.folder, self.table, self.out = root / "images", root / "images.csv", root / "x.h5"
        (self.folder / "deep").mkdir(parents=True)
        self.sources = dataset.train[:5]
        self.names = ["a.png", "b.png", "deep/c.png", "d.png", "e.png"]
        for seed, name in enumerate(self.names):
            Image.fromarray(pixels(seed)).save(self.folder / name)
        self.entries = [
            {"name": name, "pid": source.pid, "camid": source.camid, "source": source.name, "target": "", "seed": ""}
            for name, source in zip(self.names, self.sources, strict=True)
        ]
        self.write()

    def write(self, **changed):
        """Write the table, row by row with the changed cells (a list of five a column)."""
        for column, cells in changed.items():
            for entry, cell in zip(self.entries, cells, strict=True):
                entry[column] = cell
        return write(self.table, self.entries)

    def without(self, *columns):
        self.entries = [{key: cell for key, cell in e.items() if key not in columns} for e in self.entries]
        return self.write()


@pytest.fixture
def given(tmp_path, dataset):
    return Given(tmp_path, dataset)


def made(given, data, config=CONFIG, **options):
    return store.Reader(run(config, given.folder, given.table, data, given.out, **options))


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


# Rows that are wrong


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("name", "", "name '' is no path inside of"),
        ("name", ".", r"name '\.' is no path inside of"),
        ("name", "/etc/passwd", "is no path inside of"),
        ("name", "../images/a.png", "is no path inside of"),
        ("name", "deep/../a.png", "is no path inside of"),
        ("name", "absent.png", r"name 'absent\.png': no such file in .*images"),
        ("name", "b\0.png", "no such file|not a UTF-8 CSV"),
        ("name", "deep", "name 'deep' is no file"),
        ("name", "b.png", r"b\.png is also in line 3"),
        ("name", "./deep/./c.png", r"deep/c\.png is also in line 4"),
        ("source", "", "source '' is no training image of DATA"),
        ("source", "9999_c1s1_000001_01.jpg", "is no training image of DATA"),
        ("pid", "123456", r"pid 123456, but its source \S+ has \d+"),
        ("pid", "2.0", r"pid '2\.0' is no integer"),
        ("camid", "77", r"camid 77, but its source"),
        ("seed", "-1", "seed -1: expected 0 to 18446744073709551615"),
        ("seed", "18446744073709551616", "seed 18446744073709551616: expected"),
        ("seed", "x", "seed 'x' is no integer"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(given, pedestrians, column, cell, said):
    cells = [entry[column] for entry in given.entries]
    wrong = 4 if column == "name" else 2
    given.write(**{column: [*cells[:wrong], cell, *cells[wrong + 1 :]]})
    with pytest.raises(ValueError, match=said) as caught:
        made(given, pedestrians, ImportConfig("g", ignore_unlisted=True))
    assert f"line {wrong + 2}" in str(caught.value) or "CSV" in str(caught.value)
    assert not given.out.exists()


def test_links_may_not_lead_out_of_the_folder(given, pedestrians, tmp_path):
    outside = tmp_path / "secret"
    outside.mkdir()
    Image.fromarray(pixels(0)).save(outside / "a.png")
    for link, goal in (("e.png", outside / "a.png"), ("link", outside), ("loop.png", given.folder / "loop.png")):
        (given.folder / link).unlink(missing_ok=True)
        (given.folder / link).symlink_to(goal)
    given.write(name=[*given.names[:3], "link/a.png", "e.png"])
    with pytest.raises(
        ValueError, match=r"line 5: name 'link/a\.png' leads out of .*; line 6: name 'e\.png' leads out"
    ):
        made(given, pedestrians)
    given.write(name=[*given.names[:4], "loop.png"])
    with pytest.raises(ValueError, match=r"loop\.png': no such file"):
        made(given, pedestrians)
    (given.folder / "inner.png").symlink_to(given.folder / "d.png")
    given.write(name=[*given.names[:3], "a2.png", "inner.png"])
    (given.folder / "a2.png").symlink_to("a.png")
    reader = made(given, pedestrians, ImportConfig("g", ignore_unlisted=True))
    np.testing.assert_array_equal(reader.image(4), pixels(3), "links inside of it are followed")


def test_up_to_five_problems_in_one_message(given, pedestrians):
    given.write(source=["x.jpg"] * 5, seed=["y"] * 5)
    with pytest.raises(ValueError, match=r"line 2: .*line 6: ") as caught:
        made(given, pedestrians)
    assert str(caught.value).count("is no training image") == 5
    for seed, name in enumerate(("f.png", "g.png")):
        shutil.copy(given.folder / "a.png", given.folder / name)
        given.entries.append(given.entries[seed] | {"name": name})
    write(given.table, given.entries)
    with pytest.raises(ValueError, match=r"line 6: .*; and 2 more$"):
        made(given, pedestrians)


def test_images_that_are_none(given, pedestrians):
    (given.folder / "a.png").write_text("no image")
    Image.fromarray(pixels(0)).save(given.folder / "b.png", format="BMP")
    (given.folder / "deep/c.png").write_bytes((given.folder / "deep/c.png").read_bytes()[:-400])
    Image.fromarray(pixels(0)[..., 0].astype(np.uint16) * 256).save(given.folder / "d.png")
    with pytest.raises(ValueError, match="line 2: ") as caught:
        made(given, pedestrians)
    for line, said in ((2, "not a readable image"), (3, "neither JPEG nor PNG"), (4, "not a readable"), (5, "I;16")):
        assert said in str(caught.value).split(f"line {line}: ")[1].split("; line")[0]
    assert "line 6" not in str(caught.value)


def test_a_transparent_image_is_refused_and_nothing_is_left(given, pedestrians):
    Image.fromarray(pixels(5, channels=4)).save(given.folder / "e.png")
    with pytest.raises(ValueError, match=r"e\.png: not a readable image \(partly transparent"):
        made(given, pedestrians)
    assert sorted(path.name for path in given.out.parent.iterdir()) == ["images", "images.csv"]


def test_images_without_a_row_are_named_or_left_out(given, pedestrians):
    for name in ("z.JPG", "deep/y.jpeg"):
        Image.fromarray(pixels(0)).save(given.folder / name, format="JPEG")
    for name in ("notes.txt", ".hidden.png"):
        (given.folder / name).write_text("x")
    with pytest.raises(
        ValueError, match=r"2 images are not in .*images\.csv \(deep/y\.jpeg, z\.JPG\).*--ignore-unlisted"
    ):
        made(given, pedestrians)
    lines = []
    assert len(made(given, pedestrians, ImportConfig("g", ignore_unlisted=True), log=lines.append)) == 5
    assert "2 images that are not in the table are left out" in lines[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lists no image"),
        ("name,source\n", "lists no image"),
        ("name,pid,camid\na.png,2,1\n", "no column source: of which training image .* no test identity"),
        ("source\na.jpg\n", "no column name in 'source'"),
        ("name;source\na.png;b.jpg\n", "no column name in 'name;source'"),
        ("name,source,name\na,b,c\n", "a column is there twice"),
        ("name,source\na.png\n", "line 2: 1 cells, the header has 2"),
        ("name,source\na.png,b.jpg,c\n", "line 2: 3 cells, the header has 2"),
        ('name,source\n"a.png,b.jpg\n', "not a UTF-8 CSV file"),
        ("name,source\n\xff", "not a UTF-8 CSV file"),
    ],
)
def test_tables_that_are_none(given, pedestrians, text, said):
    given.table.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=f"images.csv: .*{said}"):
        made(given, pedestrians)


# Test identities


@pytest.mark.parametrize("role", ["source", "target"])
@pytest.mark.parametrize("split", ["query", "gallery"])
def test_images_of_test_identities_are_refused(given, pedestrians, dataset, points, role, split):
    leaked = getattr(dataset, split)[0]
    given.entries[3] |= {role: leaked.name, "pid": "", "camid": ""}
    given.write()
    with pytest.raises(ValueError, match=f"line 5: {role} {leaked.name} is an image of query or gallery"):
        made(given, pedestrians)
    reader = made(given, pedestrians, ImportConfig("g", allow_test_identities=True))
    assert reader.attributes[audit.TEST_IDENTITIES]
    assert leaked.name in reader.used_files()
    if role == "source":
        assert (reader.identity(3), reader.camera(3)) == (leaked.pid, leaked.camid)
    else:
        assert not np.isnan(reader.target_pose[3]).all()


def test_the_stamp_is_part_of_what_a_set_is(given, pedestrians):
    made(given, pedestrians)
    with pytest.raises(ValueError, match=r"x\.h5: holds another set: test_identities \(None there, True here\)"):
        made(given, pedestrians, ImportConfig("diffusion", allow_test_identities=True))
    made(given, pedestrians, ImportConfig("diffusion", allow_test_identities=True), force=True)
    with pytest.raises(ValueError, match=r"test_identities \(True there, None here\)"):
        made(given, pedestrians)


def test_a_data_set_that_leaks_is_refused(given, dataset, tmp_path):
    lines = ["path,pid,camid,split"]
    for split, records in (("train", dataset.train), ("query", dataset.query), ("gallery", dataset.gallery)):
        lines += [f"{record.path},{record.pid},{record.camid},{split}" for record in records]
    same, taken = dataset.train[0].pid, dataset.query[0]
    manifest = tmp_path / "data.csv"
    manifest.write_text("\n".join(lines).replace(f"{taken.path},{taken.pid},", f"{taken.path},{same},") + "\n")
    with pytest.raises(ValueError, match="results would be leaked"):
        made(given, manifest)


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


# Done, other, killed


def test_done_work_is_recognised(given, pedestrians, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    reader, lines, seen = made(given, pedestrians), [], []
    held = reader.path.read_bytes()
    made(given, pedestrians, log=lines.append)
    assert lines == ["already done"]
    made(given, pedestrians, force=True, progress=lambda *count: seen.append(count))
    assert reader.path.read_bytes() == held
    assert seen[-1] == (5, 5)


def test_other_inputs_are_refused_naming_what_differs(given, pedestrians):
    made(given, pedestrians)
    held = given.out.read_bytes()
    with pytest.raises(ValueError, match=r"generator\.model \(diffusion there, other here\); choose .*--force"):
        made(given, pedestrians, ImportConfig("other"))
    with pytest.raises(ValueError, match=r"config\.size \(None there, \[24, 12\] here\)"):
        made(given, pedestrians, ImportConfig("diffusion", SIZE))
    Image.fromarray(pixels(77)).save(given.folder / "c2.png")
    shutil.move(given.folder / "c2.png", given.folder / "a.png")
    with pytest.raises(ValueError, match=r"holds another set: config\.images_sha256"):
        made(given, pedestrians)
    given.write(seed=[1] * 5)
    with pytest.raises(ValueError, match=r"plan_sha256.*table_sha256"):
        made(given, pedestrians)
    assert given.out.read_bytes() == held
    np.testing.assert_array_equal(made(given, pedestrians, force=True).image(0), pixels(77))


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_set_is_left_alone(given, pedestrians, force):
    given.out.write_text("x")
    with pytest.raises(ValueError, match=r"x\.h5: not an HDF5 file"):
        made(given, pedestrians, force=force)
    assert given.out.read_text() == "x"
    for name in ("x", "x.scores.h5"):
        given.out = given.out.with_name(name)
        with pytest.raises(ValueError, match="expected a file name"):
            made(given, pedestrians, force=force)


def test_a_set_that_is_not_replaced_after_all_stays(given, pedestrians):
    """What is found while images are decoded comes after the checks of --force."""
    made(given, pedestrians)
    held = given.out.read_bytes()
    Image.fromarray(pixels(5, channels=4)).save(given.folder / "e.png")
    with pytest.raises(ValueError, match="transparent"):
        made(given, pedestrians, force=True)
    assert given.out.read_bytes() == held


def test_a_kill_leaves_nothing_that_looks_whole(given, pedestrians, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    monkeypatch.setattr(importing, "BATCH", 2)
    for moment in range(5):

        def killed(moment=moment):
            real, calls = importing.read_image, []
            importing.read_image = lambda *a: die() if len(calls) == moment else (calls.append(1), real(*a))[1]
            made(given, pedestrians)

        assert in_child(killed) == -9
        assert not given.out.exists()
    whole = made(given, pedestrians).path.read_bytes()
    assert not list(given.out.parent.glob(".*part")), "what the killed ones left"
    assert made(given, pedestrians, force=True).path.read_bytes() == whole


def test_a_full_disk_is_said_before_anything_is_written(given, pedestrians, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        made(given, pedestrians)
    assert sorted(path.name for path in given.out.parent.iterdir()) == ["images", "images.csv"]


def test_images_are_streamed(given, pedestrians, monkeypatch):
    """No more of them are in memory than a batch."""
    monkeypatch.setattr(importing, "BATCH", 2)
    job = prepare(CONFIG, given.folder, given.table, pedestrians)
    assert [len(batch) for batch in importing._pixels(job, None)] == [2, 2, 1]


# Configuration and command


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"generator_name": " "}, "--generator-name"),
        ({"generator_name": "a\nb"}, "--generator-name"),
        ({"generator_name": "a", "size": (0, 4)}, "--size 0x4"),
    ],
)
def test_impossible_configurations(options, said):
    with pytest.raises(ValueError, match=said):
        ImportConfig(**options)


def test_command(augment, given, pedestrians):
    words = ["import", given.folder, "--table", given.table, "--data", pedestrians, "--out", given.out]
    code, out, _ = augment(*words, "--dry-run")
    assert (code, given.out.exists()) == (0, False)
    assert [line.split() for line in out.splitlines()[:2]] == [
        ["images", "5", "of", "24", "x", "12", "pixels"],
        ["identities", str(len({source.pid for source in given.sources}))],
    ]
    assert augment(*words)[:2] == (0, f"{given.out}\n")
    assert store.Reader(given.out).attributes["generator"]["model"] == "images", "the folder's name"
    assert "already done" in augment(*words).err
    code, out, err = augment(*words, "--size", "12x6")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert augment(*words, "--size", "12x6", "--force", "--generator-name", "SDXL").code == 0
    assert store.Reader(given.out).size == (12, 6)
    code, out, err = augment(*words[:-1], Path("y.h5"), "--poses", pedestrians / "market-annotation-train.csv")
    assert (code, err.count("\n")) == (2, 1)
    given.write(source=["x.jpg"] * 5)
    code, out, err = augment(*words, "--force")
    assert (code, out, err.count("\n")) == (2, "", 1)
