"""Features in HDF5: round trips, files that say who they are, and damage that is noticed."""

import errno
import json
import shutil
import zlib

import h5py
import numpy as np
import pytest

from augment import files, store
from augment.store import Features, read_features, write_features
from tests.fuzzing import PROVENANCE as SET_PROVENANCE
from tests.fuzzing import ROWS, small_images, small_plan
from tests.killing import die, in_child

PROVENANCE = {
    "metric": "cosine",
    "checkpoint_sha256": "1" * 64,
    "test_digest": "2" * 64,
    "versions": {"python": "3", "torch": "2"},
}


def split(rows, seed, length=8):
    rng = np.random.default_rng(seed)
    return Features(
        rng.normal(size=(rows, length)).astype(np.float32),
        [f"ähnlich_{row:0{1 + row}d}.jpg" for row in range(rows)],
        rng.integers(-1, 10**12, rows),
        rng.integers(-2, 6, rows),
    )


PARTS = {"query": split(3, 0), "gallery": split(5, 1)}
WITH_SYNTHETIC = PARTS | {"synthetic": split(4, 2)}


@pytest.fixture
def written(tmp_path):
    return write_features(tmp_path / "f.h5", WITH_SYNTHETIC, PROVENANCE)


@pytest.mark.parametrize("parts", [PARTS, WITH_SYNTHETIC])
def test_what_is_written_is_read(tmp_path, parts):
    found, provenance = read_features(write_features(tmp_path / "f.h5", parts, PROVENANCE))
    assert provenance == PROVENANCE
    assert list(found) == list(parts)
    for name, held in parts.items():
        assert found[name].names == held.names
        for column in ("features", "pids", "camids"):
            read, wanted = getattr(found[name], column), getattr(held, column)
            assert read.dtype == wanted.dtype
            np.testing.assert_array_equal(read, wanted)


def test_any_hdf5_library_reads_it(written):
    with h5py.File(written) as file:
        assert sorted(file) == ["gallery", "query", "synthetic"]
        for part, held in WITH_SYNTHETIC.items():
            assert file[f"{part}/features"].dtype == np.dtype("<f4")
            assert file[f"{part}/features"].shape == held.features.shape
            assert [name.decode() for name in file[f"{part}/names"][()]] == held.names
        for name in ("metric", "checkpoint_sha256", "test_digest", "versions", "checksums"):
            assert h5py.check_string_dtype(file.attrs.get_id(name).dtype).length is not None, "variable length"


def test_features_in_any_order_are_stored_as_rows(tmp_path):
    held = split(3, 0)
    columns = Features(np.asfortranarray(held.features), held.names, held.pids, held.camids)
    found, _ = read_features(write_features(tmp_path / "f.h5", PARTS | {"query": columns}, PROVENANCE))
    np.testing.assert_array_equal(found["query"].features, held.features)


def replaced(file, name, values, **options):
    del file[name]
    file.create_dataset(name, data=values, **options)


DAMAGE = {
    "checksums differ": lambda file: file["gallery/features"].__setitem__((4, 7), 1e-3),
    r"damaged \(checksums differ\); write it again": lambda file: file["query/names"].__setitem__(0, b"other.jpg"),
    "checksums differ.*": lambda file: file["synthetic/camids"].__setitem__(0, 5),
    "no dataset 'gallery/pids', so it is no whole file of features": lambda file: file.pop("gallery/pids"),
    "no dataset 'query/names'": lambda file: file.pop("query"),
    r"query/pids is int64 \(2,\), expected <i8 \(3,\)": lambda file: replaced(file, "query/pids", np.arange(2)),
    r"query/features has the shape \(3,\)": lambda file: replaced(file, "query/features", np.zeros(3, "f4")),
    r"query/features is float64": lambda file: replaced(file, "query/features", np.zeros((3, 8))),
    "query/features is compressed or filtered": lambda file: replaced(
        file, "query/features", np.zeros((3, 8), "f4"), chunks=(3, 8), fletcher32=True
    ),
    "schema 2, this version reads schema 1; write it again": lambda file: file.attrs.__setitem__("schema", 2),
    "no file of features of augment": lambda file: file.attrs.pop("checkpoint_sha256"),
    "damaged provenance": lambda file: file.attrs.__setitem__("checksums", "{"),
}


@pytest.mark.parametrize("said", DAMAGE)
def test_damage_is_named(written, said):
    with h5py.File(written, "r+") as file:
        DAMAGE[said](file)
    with pytest.raises(ValueError, match=rf"f\.h5: .*{said}"):
        read_features(written)


def test_a_flipped_bit_of_any_number_is_noticed(written):
    whole = written.read_bytes()
    with h5py.File(written) as file:
        places = [(file[name].id.get_offset(), file[name].nbytes) for name in ("query/features", "gallery/pids")]
    for start, length in places:
        for place in (start, start + length // 2, start + length - 1):
            written.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(ValueError, match="checksums differ"):
                read_features(written)


def test_a_flipped_bit_of_the_provenance_is_noticed(written):
    whole = written.read_bytes()
    texts = ["cosine", "1" * 64, "2" * 64, json.dumps(PROVENANCE["versions"], sort_keys=True)]
    for text in texts:
        start = whole.index(text.encode())
        for place in range(start, start + len(text)):
            bit = 1 << place % 7
            written.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            with pytest.raises(ValueError, match=r"damaged|no file of features"):
                read_features(written)


def test_what_else_is_known_is_read_and_checked(tmp_path):
    known = PROVENANCE | {"epoch": 3, "model": "osnet_x1_0"}
    path = write_features(tmp_path / "f.h5", PARTS, known)
    assert read_features(path)[1] == known
    with h5py.File(path, "r+") as file:
        del file.attrs["epoch"]
    with pytest.raises(ValueError, match="damaged provenance"):
        read_features(path)


def test_other_files_are_refused(tmp_path, written):
    with pytest.raises(ValueError, match=r"none\.h5: no such file; make a file of features with `augment"):
        read_features(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        read_features(tmp_path / "text.h5")
    (tmp_path / "short.h5").write_bytes(written.read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"short\.h5: "):
        read_features(tmp_path / "short.h5")
    store.write_set(tmp_path / "set.h5", small_plan(ROWS), SET_PROVENANCE, iter([small_images(ROWS)]))
    with pytest.raises(ValueError, match=r"set\.h5: an HDF5 file, but no file of features of augment; make one with"):
        read_features(tmp_path / "set.h5")
    with pytest.raises(ValueError, match=r"f\.h5: an HDF5 file, but no synthetic set"):
        store.Reader(written)


def test_parts_that_cannot_be_compared_are_refused(tmp_path):
    path = write_features(tmp_path / "f.h5", PARTS | {"gallery": split(5, 1, length=4)}, PROVENANCE)
    with pytest.raises(ValueError, match=r"features of different lengths \(\[4, 8\]\)"):
        read_features(path)


def test_a_kill_before_the_end_leaves_nothing_by_that_name(tmp_path, monkeypatch):
    def killed():
        monkeypatch.setattr(files, "sync", lambda path: die())
        write_features(tmp_path / "f.h5", PARTS, PROVENANCE)

    assert in_child(killed) == -9
    assert not (tmp_path / "f.h5").exists()
    write_features(tmp_path / "f.h5", PARTS, PROVENANCE)
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(OSError, match=r"f\.h5") as caught:
        write_features(tmp_path / "f.h5", PARTS, PROVENANCE)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_checksums_are_those_of_the_stored_bytes(written):
    with h5py.File(written) as file:
        stored = zlib.crc32(file["query/features"][()].tobytes())
        assert json.loads(file.attrs["checksums"])["query/features"] == stored
