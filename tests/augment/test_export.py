"""Exports are read back by other readers than ours or by plain libraries; they are whole, or not there."""

import csv
import io
import json
import os
import shutil
import tarfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
from PIL import Image

from augment import export, store
from augment.data import market1501
from augment.data.images import read_image
from augment.export import ExportConfig, run
from augment.plan import Plan
from reid.torchreid_api import torchreid
from tests.killing import die, in_child

ROWS, SIZE = 5, (32, 16)
FOLDER, PNG = ExportConfig("folder"), ExportConfig("folder", quality=None)
SHARDS = ExportConfig("webdataset", quality=None)
NAMES = [
    "0002_c1s9_000000_00",
    "0004_c6s9_000001_00",
    "1501_c3s9_000002_00",
    "0002_c1s9_000003_00",
    "0004_c6s9_000004_00",
]
PLAN = Plan(
    files=("0002_c1s1_000001_01.jpg", "0004_c6s2_000007_02.jpg", 'ähnlich, "1501".jpg'),
    pid=np.asarray([2, 4, 1501, 2, 4]),
    camid=np.asarray([1, 6, 3, 1, 6]),
    source_index=np.asarray([0, 1, 2, 0, 1]),
    target_index=np.asarray([1, 2, 0, 0, 2]),
    poses=np.zeros((3, 18, 2), np.float32),
    seed=np.arange(ROWS).astype(np.uint64) + np.uint64(2**63),
)


def make(path, plan=PLAN):
    """A set of smooth images, which JPEG keeps well."""
    height, width = SIZE
    row, column = np.mgrid[:height, :width]
    images = np.stack([np.stack([row * 7, column * 15, row * 0 + 40 * i], -1) for i in range(ROWS)]).astype(np.uint8)
    provenance = {"tool": "test", "config": {"seed": 0}, "generator": {"model": "dptn"}, "versions": {}}
    folder = store.shard_folder(path)
    attributes = store.begin(folder, plan, provenance)
    store.write_shard(folder, 0, plan, images, attributes)
    return store.merge(folder, plan, path, attributes)


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "x.h5")


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(path, row):
    with h5py.File(path, "r+") as file:
        file["images"][row, 0, 0, 0] ^= 1


# The folder


def test_folder_is_a_market1501_root(made, tmp_path):
    reader = store.Reader(made)
    records = market1501.read_root(run(PNG, made, tmp_path / "out")).train
    assert [record.path.stem for record in records] == sorted(NAMES)
    by_name = {record.path.stem: record for record in records}
    for row, name in enumerate(NAMES):
        assert (by_name[name].pid, by_name[name].camid) == (PLAN.pid[row], PLAN.camid[row])
        np.testing.assert_array_equal(read_image(by_name[name].path), reader.image(row))


@pytest.mark.parametrize(("quality", "worst"), [(95, 6), (100, 4)])
def test_jpeg_keeps_full_colour(made, tmp_path, quality, worst):
    """At 100 only rounding is left: of 64 coefficients, and of the colours there and back."""
    reader = store.Reader(made)
    out = run(ExportConfig("folder", quality), made, tmp_path / "out")
    for row, name in enumerate(NAMES):
        with Image.open(out / "bounding_box_train" / f"{name}.jpg") as image:
            assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3, "4:4:4"
            difference = np.asarray(image).astype(int) - reader.image(row)
        assert np.abs(difference).max() <= worst


def test_table_says_where_each_image_comes_from(made, tmp_path):
    out = run(FOLDER, made, tmp_path / "out")
    with (out / "images.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"{name}.jpg" for name in NAMES]
    assert rows[2] == {
        "name": "1501_c3s9_000002_00.jpg", "pid": "1501", "camid": "3", "source": PLAN.files[2],
        "target": PLAN.files[0], "seed": str(2**63 + 2),
    }  # fmt: skip


def test_torchreids_own_loader_reads_a_training_folder_with_it(made, tmp_path, pedestrians):
    base = tmp_path / "market1501" / "Market-1501-v15.09.15"
    shutil.copytree(pedestrians, base)
    real = len(list((base / "bounding_box_train").iterdir()))
    shutil.copytree(
        run(FOLDER, made, tmp_path / "out") / "bounding_box_train", base / "bounding_box_train", dirs_exist_ok=True
    )
    kind = torchreid().data.datasets.image.market1501.Market1501
    loaded = kind(root=str(tmp_path), verbose=False)
    assert len(loaded.train) == real + ROWS, "no name of a real image was taken"
    cameras = {os.path.basename(entry[0]): entry[2] for entry in loaded.train}  # noqa: PTH119
    assert [cameras[f"{name}.jpg"] for name in NAMES] == [camid - 1 for camid in PLAN.camid]


def test_what_torchreid_would_not_read_is_said(tmp_path):
    plan = replace(PLAN, pid=PLAN.pid + 5000, camid=PLAN.camid + 4)
    lines = []
    run(PNG, make(tmp_path / "x.h5", plan), tmp_path / "out", log=lines.append)
    assert [word in line for word, line in zip(("PNG", "identities", "cameras"), lines, strict=True)] == [True] * 3
    assert {(r.pid, r.camid) for r in market1501.read_root(tmp_path / "out").train} == {
        (5002, 5),
        (5004, 10),
        (6501, 7),
    }


# Tar shards


def test_shards_hold_pixels_and_facts(made, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "SHARD_IMAGES", 2)
    reader = store.Reader(made)
    out = run(SHARDS, made, tmp_path / "set")
    assert sorted(path.name for path in out.glob("*.tar")) == [f"set-00000{i}.tar" for i in range(3)]
    row = 0
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            assert names == [f"{key:09d}.{kind}" for key in range(row, min(row + 2, ROWS)) for kind in ("png", "json")]
            for member in tar:
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
                data = tar.extractfile(member).read()
                if member.name.endswith(".png"):
                    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), reader.image(row))
                else:
                    assert json.loads(data) == {
                        "pid": PLAN.pid[row], "camid": PLAN.camid[row], "source": reader.source_name(row),
                        "target": reader.target_name(row), "seed": 2**63 + row,
                    }  # fmt: skip
                    row += 1
    assert row == ROWS


# Whole or not there


@pytest.mark.parametrize("config", [FOLDER, SHARDS])
def test_same_bytes_each_time_and_done_work_is_recognised(made, tmp_path, config):
    lines = []
    first = tree(run(config, made, tmp_path / "a" / "out", log=lines.append))
    assert lines == []
    assert tree(run(config, made, tmp_path / "b" / "out")) == first
    before = (tmp_path / "a" / "out").stat()
    run(config, made, tmp_path / "a" / "out", log=lines.append)
    assert lines == ["already done"]
    assert (tmp_path / "a" / "out").stat() == before


@pytest.mark.parametrize("config", [FOLDER, SHARDS])
@pytest.mark.parametrize("moment", ["encode", "write_json", "rename"])
def test_a_kill_leaves_nothing_that_looks_whole(made, tmp_path, monkeypatch, config, moment):
    out = tmp_path / "out"

    def killed():
        if moment == "encode":
            real, calls = export.encode, []
            export.encode = lambda *a: die() if len(calls) == 3 else (calls.append(1), real(*a))[1]
        elif moment == "write_json":
            export.files.write_json = lambda *a: die()
        else:
            export.Path.rename = lambda *a: die()
        run(config, made, out)

    assert in_child(killed) == -9
    assert not out.exists()
    whole = tree(run(config, made, out))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "x.h5"]
    assert whole == tree(run(config, made, tmp_path / "again" / "out"))


def test_an_error_leaves_nothing(made, tmp_path, monkeypatch):
    def full(config, image):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "encode", full)
    with pytest.raises(OSError, match="out"):
        run(FOLDER, made, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_an_empty_folder_is_taken_and_one_filled_meanwhile_is_not(made, tmp_path, monkeypatch):
    out, real = tmp_path / "out", export.encode
    out.mkdir()

    def fill(config, image):
        (out / "thesis.txt").write_text("x")
        return real(config, image)

    with monkeypatch.context() as patch:
        patch.setattr(export, "encode", fill)
        with pytest.raises(OSError, match="not empty"):
            run(FOLDER, made, out)
    assert tree(tmp_path).keys() == {"out/thesis.txt", "x.h5"}
    (out / "thesis.txt").unlink()
    assert len(tree(run(FOLDER, made, out))) == ROWS + 2


def test_a_replaced_export_comes_back_where_the_new_one_cannot_be_published(made, tmp_path, monkeypatch):
    out = run(FOLDER, made, tmp_path / "out")
    whole, real = tree(out), export.Path.rename

    def rename(path, target):
        if path.name.endswith(".new"):
            raise OSError(5, "Input/output error")
        return real(path, target)

    monkeypatch.setattr(export.Path, "rename", rename)
    with pytest.raises(OSError, match="Input/output"):
        run(PNG, made, out, force=True)
    assert tree(out) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "x.h5"]


def test_an_incomplete_export_is_not_done(made, tmp_path):
    out = run(FOLDER, made, tmp_path / "out")
    whole = tree(out)
    (out / "bounding_box_train" / f"{NAMES[1]}.jpg").unlink()
    with pytest.raises(ValueError, match=f"1 files .*{NAMES[1]}.jpg.*--force"):
        run(FOLDER, made, out)
    assert tree(run(FOLDER, made, out, force=True)) == whole


def test_another_export_is_kept_without_force(made, tmp_path):
    out = run(FOLDER, made, tmp_path / "out")
    with pytest.raises(ValueError, match=r"export\.to .*--force"):
        run(SHARDS, made, out)
    with pytest.raises(ValueError, match=r"export\.quality"):
        run(PNG, made, out)
    run(SHARDS, made, out, force=True)
    assert sorted(path.name for path in out.iterdir()) == ["export.json", "out-000000.tar"]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_export_is_left_alone(made, tmp_path, force):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="no export"):
        run(FOLDER, made, tmp_path / "out", force=force)
    assert tree(tmp_path / "out") == {"thesis.txt": b"x"}
    with pytest.raises(ValueError, match="no folder"):
        run(FOLDER, made, made, force=force)


def test_force_never_removes_what_the_user_added(made, tmp_path):
    out = run(FOLDER, made, tmp_path / "out")
    (out / "bounding_box_train" / "0002_c1s1_000001_01.jpg").write_bytes(b"a real image")
    with pytest.raises(ValueError, match="0002_c1s1_000001_01"):
        run(FOLDER, made, out, force=True)
    assert (out / "bounding_box_train" / "0002_c1s1_000001_01.jpg").exists()


# Sets that cannot be exported


@pytest.mark.parametrize(("rows", "said"), [([3], "row 3 is damaged"), ([0, 4], r"2 rows \(0, 4\) are damaged")])
def test_damaged_rows_are_named(made, tmp_path, rows, said):
    for row in rows:
        damage(made, row)
    with pytest.raises(ValueError, match=rf"x\.h5: {said}"):
        run(FOLDER, made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_are_taken_or_impossible_are_refused(tmp_path):
    taken = make(tmp_path / "taken.h5", replace(PLAN, files=("a.jpg", "b.jpg", f"train/{NAMES[2]}.jpg")))
    with pytest.raises(ValueError, match=f"1 of its training images .*{NAMES[2]}"):
        run(FOLDER, taken, tmp_path / "out")
    run(SHARDS, taken, tmp_path / "shards")
    negative = make(tmp_path / "negative.h5", replace(PLAN, pid=np.asarray([2, -1, 2, 2, 2])))
    with pytest.raises(ValueError, match="row 1 is of a negative identity"):
        run(FOLDER, negative, tmp_path / "out")


def test_an_unknown_camera_is_c0_in_names_and_unknown_in_tables(tmp_path):
    made = make(tmp_path / "x.h5", replace(PLAN, camid=np.asarray([-1, 6, -1, -1, 6])))
    log = []
    run(FOLDER, made, tmp_path / "out", log=log.append)
    assert "the camera of 3 of 5 images is unknown: their names say c0, and images.csv -1" in log
    read = market1501.read_root(tmp_path / "out").train
    assert {r.name: r.camid for r in read if r.camid == 0} == {
        "0002_c0s9_000000_00.jpg": 0, "1501_c0s9_000002_00.jpg": 0, "0002_c0s9_000003_00.jpg": 0,
    }  # fmt: skip
    with (tmp_path / "out" / "images.csv").open(encoding="utf-8") as file:
        assert [int(row["camid"]) for row in csv.DictReader(file)] == [-1, 6, -1, -1, 6]
    run(SHARDS, made, tmp_path / "shards", log=log.append)
    broken = make(tmp_path / "broken.h5", replace(PLAN, camid=PLAN.camid - 3))
    with pytest.raises(ValueError, match=r"2 rows \(0, 3\) are of a negative identity or camera"):
        run(FOLDER, broken, tmp_path / "none")


def test_names_inside_a_set_are_no_paths(tmp_path):
    plan = replace(PLAN, files=("../../evil.jpg", "/etc/evil.jpg", "..\\evil.jpg"))
    made = make(tmp_path / "in" / "x.h5", plan)
    for config in (FOLDER, SHARDS):
        run(config, made, tmp_path / "in" / config.to)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("config", [{"to": "zip"}, {"to": "folder", "quality": 0}, {"to": "folder", "quality": 101}])
def test_impossible_configurations(config):
    with pytest.raises(ValueError, match=r"--to zip|--quality"):
        ExportConfig(**config)


# The command


def test_command(augment, made, tmp_path):
    out = tmp_path / "out"
    code, said, _ = augment("export", made, out, "--to", "folder", "--dry-run")
    assert (code, said, out.exists()) == (0, "5 images of 3 identities\n", False)
    assert augment("export", made, out, "--to", "folder", "--png")[:2] == (0, f"{out}\n")
    assert len(list((out / "bounding_box_train").glob("*.png"))) == ROWS
    assert "already done" in augment("export", made, out, "--to", "folder", "--png").err
    code, _, err = augment("export", made, tmp_path / "b", "--to", "folder", "--png", "--quality", 90)
    assert (code, err.count("\n")) == (2, 1)
    damage(made, 1)
    code, _, err = augment("export", made, tmp_path / "c", "--to", "webdataset")
    assert (code, err.count("\n")) == (2, 1)
    assert "x.h5: row 1 is damaged" in err
