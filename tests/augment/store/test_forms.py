"""One set in a file, in shards and through selections: the same rows, the same images, whole or refused."""

import multiprocessing
import os
import pickle
import resource

import numpy as np
import pytest

from augment import store
from augment.plan import COLUMNS, UNKNOWN
from tests.fuzzing import PROVENANCE, small_plan
from tests.killing import in_child
from tests.set_forms import FORMS, IMAGES, PLAN, change, damage, write_shards

LABELS = (*COLUMNS, "crc32")


# Every form


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_rows_of_the_plan(made, form):
    reader, rows = store.Reader(made / form), FORMS[form]
    assert len(reader) == len(rows)
    assert reader.size == IMAGES.shape[1:3]
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(reader, name), PLAN.column(name)[rows])
    np.testing.assert_array_equal(np.stack([reader.image(row) for row in range(len(rows))]), IMAGES[rows])
    assert [reader.identity(row) for row in (0, 1)] == PLAN.pid[rows[:2]].tolist()
    assert [reader.camera(row) for row in (0, 1)] == PLAN.camid[rows[:2]].tolist()
    assert reader.source_name(2) == PLAN.files[PLAN.source_index[rows[2]]]
    targets = [PLAN.files[index] if index != UNKNOWN else "" for index in PLAN.target_index[rows]]
    assert [reader.target_name(row) for row in range(len(rows))] == targets
    assert reader.used_files() == {PLAN.files[index] for index in PLAN.source_index[rows]} | set(targets) - {""}
    assert reader.damaged() == []
    assert reader.attributes["config"] == PROVENANCE["config"]
    assert reader.image(0).flags.writeable, "torch refuses to wrap what cannot be written"


@pytest.mark.parametrize("form", FORMS)
def test_poses_of_some_rows_are_those_of_all(made, form):
    reader = store.Reader(made / form)
    some = np.asarray([0, len(reader) // 2, len(reader) - 1])
    np.testing.assert_array_equal(reader.poses(some), reader.target_pose[some])
    assert reader.poses(some[:0]).shape == (0, 18, 2)


@pytest.mark.parametrize("form", FORMS)
def test_a_row_that_is_not_there(made, form):
    reader = store.Reader(made / form)
    for row in (len(reader), -len(reader) - 1):
        with pytest.raises(IndexError):
            reader.image(row)


def test_the_same_images_have_the_same_identity_in_a_file_and_in_shards(made):
    contents = {form: store.Reader(made / form).content_sha256 for form in FORMS}
    assert contents["file.h5"] == contents["shards"]
    assert contents["of-file.h5"] == contents["of-shards.h5"]
    assert len(set(contents.values())) == 3


def everything(readers):
    return [
        [*(getattr(reader, name) for name in LABELS), *(reader.image(row) for row in (0, len(reader) - 1))]
        for reader in readers
    ]


def test_every_form_crosses_pickle_fork_and_spawn(made):
    readers = [store.Reader(made / form) for form in FORMS]
    expected = everything(readers)
    copies = pickle.loads(pickle.dumps(readers))
    assert [copy.path for copy in copies] == [made / form for form in FORMS]

    def read():
        np.testing.assert_equal(everything(readers), expected)
        np.testing.assert_equal(everything(copies), expected)

    assert in_child(read) == 0
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_equal(pool.apply(everything, [readers]), expected)
    np.testing.assert_equal(everything(readers), expected)


# Folders of shards


def test_an_unfinished_folder_is_refused_naming_what_is_missing(copied):
    store.shard_path(copied / "shards", 1).unlink()
    with pytest.raises(ValueError, match=r"shards: unfinished, 1 of 5 shards are missing \(part-00001\.h5\)"):
        store.Reader(copied / "shards")


def test_damage_is_found_in_its_shard(copied):
    path = store.shard_path(copied / "shards", 1)
    damage(path)
    reader = store.Reader(copied / "shards")
    with pytest.raises(ValueError, match=r"part-00001\.h5: image 3 is damaged"):
        reader.image(store.SHARD_ROWS + 3)
    assert reader.damaged() == [store.SHARD_ROWS + 3]


def test_a_shard_that_was_cut_off_after_it_was_opened(copied):
    reader = store.Reader(copied / "shards")
    reader.image(0)
    os.truncate(store.shard_path(copied / "shards", 0), 10_000)
    assert len(reader.damaged()) > store.SHARD_ROWS - 10_000 // IMAGES[0].nbytes
    store.shard_path(copied / "shards", 0).unlink()
    with pytest.raises(ValueError, match=r"part-00000\.h5: image 7 cannot be read"):
        reader.image(7)


def as_one_block(file):
    images = file["images"][()]
    del file["images"]
    file["images"] = images


def without_some(file):
    images = file["images"][()]
    del file["images"]
    file.create_dataset("images", images.shape, "u1", chunks=(1, *images.shape[1:]))[:5] = images[:5]


@pytest.mark.parametrize("edit", [as_one_block, without_some])
def test_images_of_a_shard_lie_one_by_one(copied, edit):
    change(store.shard_path(copied / "shards", 1), edit)
    with pytest.raises(ValueError, match=r"part-00001\.h5: .*missing, or not stored one by one"):
        store.Reader(copied / "shards").image(store.SHARD_ROWS)


def test_shards_that_changed_places_are_refused(copied):
    first, second = (store.shard_path(copied / "shards", shard) for shard in (0, 1))
    first.rename(copied / "first")
    second.rename(first)
    (copied / "first").rename(second)
    with pytest.raises(ValueError, match=r"part-00000\.h5: a shard of another set"):
        store.Reader(copied / "shards")


def test_more_shards_than_a_process_may_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr(store.shards, "SHARD_ROWS", 1)
    rows = 60
    folder = write_shards(tmp_path / "many", small_plan(rows), IMAGES[:rows])

    def read():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        reader = store.Reader(folder)
        for row in [*range(rows), *range(rows)]:
            np.testing.assert_array_equal(reader.image(row), IMAGES[row])

    assert in_child(read) == 0
