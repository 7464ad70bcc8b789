"""The synthetic set: round trips, shards that survive a kill, and a reader that a hostile file cannot fool."""

import errno
import os
import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest

from augment import files, store
from augment.plan import COLUMNS, Plan
from tests.killing import die, in_child

ROWS, HEIGHT, WIDTH = 10, 6, 4
PROVENANCE = {
    "tool": "test",
    "config": {"seed": 0, "poses": "random"},
    "generator": {"model": "dptn"},
    "versions": {"python": "3"},
    "data_digest": "0" * 64,
}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store.shards, "SHARD_ROWS", 4)


@pytest.fixture
def plan():
    rng = np.random.default_rng(0)
    poses = rng.uniform(0, 60, (3, 18, 2)).astype(np.float32)
    poses[0, 3] = np.nan
    return Plan(
        files=("0002_c1.jpg", "0004_c2.jpg", "ähnlich.jpg"),
        poses=poses,
        pid=np.asarray([2, 4] * 5),
        camid=np.asarray([1, 2] * 5),
        source_index=np.asarray([0, 1] * 5),
        target_index=np.arange(ROWS) % 3,
        seed=np.arange(ROWS).astype(np.uint64) + np.uint64(2**63),
    )


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (ROWS, HEIGHT, WIDTH, 3), dtype=np.uint8)


def make(out, plan, images, stop=None):
    """Shards, and the merged set where none is left out."""
    folder = store.shard_folder(out)
    attributes = store.begin(folder, plan, PROVENANCE)
    for shard in store.missing_shards(folder, plan)[:stop]:
        rows = store.shard_rows(plan, shard)
        store.write_shard(folder, shard, plan, images[rows.start : rows.stop], attributes)
    if stop is None:
        store.merge(folder, plan, out, attributes)
    return out


@pytest.fixture
def made(tmp_path, plan, images):
    return make(tmp_path / "x.h5", plan, images)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# What is written is what is read


def test_round_trip(made, plan, images):
    reader = store.Reader(made)
    assert len(reader) == ROWS
    assert reader.size == (HEIGHT, WIDTH)
    np.testing.assert_array_equal([reader.image(i) for i in range(ROWS)], images)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(reader, name), plan.column(name))
    np.testing.assert_array_equal(reader.target_pose, plan.poses[plan.target_index])
    assert (reader.identity(1), reader.camera(1), reader.source_name(1)) == (4, 2, "0004_c2.jpg")
    assert reader.target_name(2) == "ähnlich.jpg"
    assert reader.damaged() == []
    assert {key: reader.attributes[key] for key in PROVENANCE} == PROVENANCE
    assert reader.attributes["complete"]
    assert reader.attributes["plan_sha256"] == plan.sha256
    assert names(made.parent) == ["x.h5"], "shards are removed"


def test_the_file_is_as_documented(made):
    with h5py.File(made) as file:
        assert {name: file[name].dtype.str for name in COLUMNS} == COLUMNS
        assert file["images"].chunks == (1, HEIGHT, WIDTH, 3)
        assert file["images"].compression is None
        assert file["crc32"].dtype.str == "<u4"


def test_a_shard_is_a_set_of_its_rows(tmp_path, plan, images):
    make(tmp_path / "x.h5", plan, images, stop=2)
    shard = store.Reader(store.shard_path(tmp_path / "x.shards", 1))
    assert (len(shard), shard.attributes["start"], bool(shard.attributes["complete"])) == (4, 4, False)
    np.testing.assert_array_equal(shard.image(0), images[4])


def test_a_reader_crosses_pickle_and_fork(made, images):
    reader = store.Reader(made)
    reader.image(0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).image(3), images[3])
    handle = reader._base._open[0]

    def read():
        np.testing.assert_array_equal(reader.image(3), images[3])
        assert reader._base._open[0] is not handle, "the parent's handle is not shared"

    assert in_child(read) == 0
    np.testing.assert_array_equal(reader.image(4), images[4])


def test_the_digest_of_a_plan_is_that_of_its_every_part(plan):
    others = [
        replace(plan, files=("a", *plan.files[1:])),
        replace(plan, pid=plan.pid + 1),
        replace(plan, target_index=plan.target_index[::-1].copy()),
        replace(plan, poses=plan.poses + 1),
        replace(plan, seed=plan.seed + np.uint64(1)),
    ]
    assert len({plan.sha256, *(other.sha256 for other in others)}) == 6
    assert replace(plan).sha256 == plan.sha256


# Kills, full disks, other configurations


def test_rows_of_shards_tile_the_plan(plan):
    assert [row for shard in range(store.shard_count(ROWS)) for row in store.shard_rows(plan, shard)] == list(
        range(ROWS)
    )


def test_a_kill_at_any_file_loses_that_file_only(tmp_path, plan, images, monkeypatch):
    whole = make(tmp_path / "whole.h5", plan, images).read_bytes()
    steps = ["manifest.json", "plan.h5", "part-00000.h5", "part-00001.h5", "part-00002.h5", "x.h5"]
    publish = files.sync
    for last in steps:

        def sync(path, last=last):
            if last in path.name and path.suffix == ".part":
                die()
            publish(path)

        def work(sync=sync):
            monkeypatch.setattr(files, "sync", sync)
            make(tmp_path / "x.h5", plan, images)

        assert in_child(work) == -9
        assert not (tmp_path / "x.h5").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "x.shards").glob("part-*")}
    assert len(kept) == 3
    make(tmp_path / "x.h5", plan, images)
    reader = store.Reader(tmp_path / "x.h5")
    np.testing.assert_array_equal([reader.image(i) for i in range(ROWS)], images)
    assert len((tmp_path / "x.h5").read_bytes()) == len(whole)
    assert names(tmp_path) == ["whole.h5", "x.h5"]


def test_a_kill_while_the_shards_are_removed(tmp_path, plan, images):
    make(tmp_path / "x.h5", plan, images, stop=3)
    folder = tmp_path / "x.shards"
    (folder / "part-00000.h5").unlink()
    (folder / store.PLAN).unlink()
    store.remove_shards(folder)
    assert names(tmp_path) == []
    folder.mkdir()
    store.remove_shards(folder)
    assert names(tmp_path) == []


def test_another_configuration_is_refused_naming_its_keys(tmp_path, plan):
    store.begin(tmp_path / "x.shards", plan, PROVENANCE)
    other = PROVENANCE | {"config": {"seed": 1, "poses": "random"}}
    with pytest.raises(ValueError, match=r"another configuration \(config\.seed differ\)"):
        store.begin(tmp_path / "x.shards", plan, other)
    with pytest.raises(ValueError, match=r"\(plan_sha256 differ\)"):
        store.begin(tmp_path / "x.shards", replace(plan, pid=plan.pid + 2), PROVENANCE)
    begun = store.begin(tmp_path / "x.shards", plan, PROVENANCE)
    assert begun == store.begin(tmp_path / "x.shards", plan, PROVENANCE)


@pytest.mark.parametrize("manifest", [None, "[]", '{"name": "a web page"}'])
def test_somebodys_folder_is_refused_and_never_removed(tmp_path, plan, manifest):
    folder = tmp_path / "x.shards"
    folder.mkdir()
    (folder / "part-00001.h5").touch()
    if manifest is not None:
        (folder / "manifest.json").write_text(manifest)
    held = names(folder)
    with pytest.raises(ValueError, match="choose another --out"):
        store.begin(folder, plan, PROVENANCE)
    store.remove_set(tmp_path / "x.h5")
    assert names(folder) == held


def test_force_removes_a_set_of_ours_and_nothing_else(made, tmp_path):
    store.remove_set(made)
    assert not made.exists()
    foreign = tmp_path / "thesis.h5"
    with h5py.File(foreign, "w") as file:
        file["measurements"] = np.arange(3)
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    for path in (foreign, text):
        with pytest.raises(ValueError, match="--force leaves it"):
            store.remove_set(path)
        assert path.exists()


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_at_a_shard_leaves_the_shards_before(tmp_path, plan, images, monkeypatch):
    make(tmp_path / "x.h5", plan, images, stop=1)
    with monkeypatch.context() as patch:
        patch.setattr("augment.files.sync", no_space)
        with pytest.raises(OSError, match="No space left") as caught:
            make(tmp_path / "x.h5", plan, images)
    assert caught.value.filename.endswith("part-00001.h5")
    assert names(tmp_path / "x.shards") == ["manifest.json", "part-00000.h5", "plan.h5"]
    assert store.Reader(make(tmp_path / "x.h5", plan, images)).damaged() == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is reserved on POSIX only")
def test_a_full_disk_leaves_no_plan_behind(tmp_path, plan, images, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", no_space)
        with pytest.raises(OSError, match="No space left") as caught:
            make(tmp_path / "x.h5", plan, images)
    assert caught.value.filename == str(tmp_path / "x.shards" / "plan.h5")
    assert names(tmp_path / "x.shards") == ["manifest.json"]
    assert store.Reader(make(tmp_path / "x.h5", plan, images)).damaged() == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is reserved on POSIX only")
def test_a_full_disk_at_the_merge_leaves_all_shards(tmp_path, plan, images, monkeypatch):
    make(tmp_path / "x.h5", plan, images, stop=3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", no_space)
        with pytest.raises(OSError, match="No space left") as caught:
            make(tmp_path / "x.h5", plan, images)
    assert caught.value.filename == str(tmp_path / "x.h5")
    assert names(tmp_path) == ["x.shards"]
    assert len(names(tmp_path / "x.shards")) == 2 + 3
    assert store.Reader(make(tmp_path / "x.h5", plan, images)).damaged() == []


# Damage and malice: each a ValueError that names the file


def change(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)


def test_a_name_that_is_no_text_is_refused(made):
    change(made, replaced("files", data=np.asarray([b"\xff", b"a", b"b"])))
    with pytest.raises(ValueError, match=r"x\.h5: damaged"):
        _ = store.Reader(made).files


def flip_a_pixel(file):
    file["images"][7, 2, 2, 0] ^= 1


def test_a_flipped_bit_is_found(made):
    change(made, flip_a_pixel)
    reader = store.Reader(made)
    assert reader.damaged() == [7]
    with pytest.raises(ValueError, match=r"x\.h5: image 7 is damaged"):
        reader.image(7)


@pytest.mark.parametrize("damage", ["pixel", "cut", "foreign", "other plan", "short"])
def test_the_merge_refuses_a_damaged_shard_by_name(tmp_path, plan, images, damage):
    make(tmp_path / "x.h5", plan, images, stop=3)
    folder = tmp_path / "x.shards"
    path = store.shard_path(folder, 1)
    if damage == "pixel":
        change(path, lambda file: file["images"].__setitem__((2, 0, 0), 0))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "foreign":
        path.write_text("no HDF5")
    elif damage == "other plan":
        change(path, lambda file: file.attrs.__setitem__("plan_sha256", "0" * 64))
    else:
        path.write_bytes(store.shard_path(folder, 2).read_bytes())
    with pytest.raises(ValueError, match=r"part-00001\.h5: .*remove it and run the same") as caught:
        make(tmp_path / "x.h5", plan, images)
    assert caught.value.shard == 1
    assert names(tmp_path) == ["x.shards"]
    path.unlink()
    assert store.Reader(make(tmp_path / "x.h5", plan, images)).damaged() == []


def replaced(name, **options):
    def edit(file):
        del file[name]
        file.create_dataset(name, **options)

    return edit


def external_storage(file):
    del file["images"]
    shape = (ROWS, HEIGHT, WIDTH, 3)
    file.create_dataset("images", shape, "u1", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def external_link(file):
    del file["pid"]
    file["pid"] = h5py.ExternalLink("other.h5", "/pid")


def soft_link(file):
    file["elsewhere"] = np.asarray(file["pid"])
    del file["pid"]
    file["pid"] = h5py.SoftLink("/elsewhere")


def virtual_dataset(file):
    layout = h5py.VirtualLayout((ROWS,), "<i4")
    layout[:] = h5py.VirtualSource("other.h5", "pid", (ROWS,))
    del file["pid"]
    file.create_virtual_dataset("pid", layout)


HOSTILE = {
    "external storage": (external_storage, "stored outside"),
    "external link": (external_link, "no dataset 'pid'"),
    "soft link": (soft_link, "no dataset 'pid'"),
    "virtual dataset": (virtual_dataset, "stored outside"),
    "missing column": (lambda file: file.__delitem__("seed"), "no dataset 'seed'"),
    "a group": (lambda file: (file.__delitem__("crc32"), file.create_group("crc32")), "no dataset 'crc32'"),
    "objects": (replaced("pid", shape=(ROWS,), dtype=h5py.string_dtype()), "objects"),
    "float images": (replaced("images", shape=(ROWS, HEIGHT, WIDTH, 3), dtype="f4"), "expected uint8"),
    "grey images": (replaced("images", shape=(ROWS, HEIGHT, WIDTH, 1), dtype="u1"), "expected uint8"),
    "no images": (replaced("images", shape=(0, HEIGHT, WIDTH, 3), dtype="u1"), "holds no image"),
    "a terabyte": (replaced("images", shape=(2**20, 1024, 1024, 3), dtype="u1", chunks=(1, 64, 64, 3)), "truncated"),
    "overflow": (replaced("images", shape=(2**32, 2**30, 4, 3), dtype="u1", chunks=(1, 64, 4, 3)), "truncated"),
    "flat images": (replaced("images", shape=(2**40, 0, 1, 3), dtype="u1", chunks=(1, 1, 1, 3), maxshape=(None,) * 4),
                    "holds no image"),
    "wide poses": (replaced("target_pose", shape=(ROWS, 2**20, 2**20), dtype="<f4", chunks=(1, 64, 64)),
                   "target_pose declares"),
    "many names": (replaced("files", shape=(2**40,), dtype="S8", chunks=(64,)), "declares"),
    "wrong type": (replaced("pid", data=np.arange(ROWS)), "pid is int64"),
    "wrong length": (replaced("pid", data=np.arange(ROWS - 1, dtype="<i4")), "pid is int32"),
    "outside of the table": (lambda file: file["source_index"].__setitem__(3, 3), "outside of the table"),
    "negative index": (lambda file: file["target_index"].__setitem__(3, -2), "outside of the table"),
    "no source": (lambda file: file["source_index"].__setitem__(3, -1), "outside of the table"),
    "a decompression bomb": (
        replaced("images", shape=(ROWS, HEIGHT, WIDTH, 3), dtype="u1", chunks=(1, HEIGHT, WIDTH, 3), compression=1),
        "compressed or filtered",
    ),
    "schema": (lambda file: file.attrs.__setitem__("schema", 2), "schema 2, this version reads schema 1"),
    "schemas": (lambda file: file.attrs.__setitem__("schema", [1, 1]), "damaged"),
    "array attribute": (lambda file: file.attrs.__setitem__("note", [1, 1]), "attributes"),
    "no configuration": (lambda file: file.attrs.__delitem__("config"), "no synthetic set of augment"),
    "broken configuration": (lambda file: file.attrs.__setitem__("config", "{"), "damaged provenance"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_or_damaged_file_is_refused(made, name):
    edit, reason = HOSTILE[name]
    change(made, edit)
    with pytest.raises(ValueError, match=rf"x\.h5: .*{reason}"):
        store.Reader(made)


def test_other_files_are_refused(tmp_path, made):
    cut, text, foreign = tmp_path / "cut.h5", tmp_path / "text.h5", tmp_path / "foreign.h5"
    cut.write_bytes(made.read_bytes()[:-1000])
    text.write_text("pid,camid\n")
    with h5py.File(foreign, "w") as file:
        file["measurements"] = np.arange(3)
    for path, reason in (
        (tmp_path / "nowhere.h5", "no such file"),
        (tmp_path, "holds no shards of a synthetic set"),
        (cut, "truncated"),
        (text, "not an HDF5 file"),
        (foreign, "no synthetic set of augment"),
    ):
        with pytest.raises(ValueError, match=reason) as caught:
            store.Reader(path)
        assert str(caught.value).startswith(str(path))
