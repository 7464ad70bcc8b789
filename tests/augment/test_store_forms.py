"""One set in a file, in shards and through selections: the same rows, the same images, the same scores."""

import json
import multiprocessing
import os
import pickle
import resource
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from augment import merging, store
from augment.plan import COLUMNS, UNKNOWN, Plan
from tests.fuzzing import PROVENANCE, small_images, small_plan
from tests.killing import in_child

ROWS = 4 * store.SHARD_ROWS + 12  # five shards, and more than one block of columns
IMAGES = small_images(ROWS)
CHOSEN, FEWER = np.asarray([0, 5, 1023, 1024, 2047, 2048, ROWS - 1]), np.asarray([1, 3, 6])
LABELS = (*COLUMNS, "crc32")


def plan_of(rows):
    """A plan in which the target of every seventh row is unknown."""
    plan = small_plan(rows)
    return replace(plan, target_index=np.where(np.arange(rows) % 7 == 6, UNKNOWN, plan.target_index))


PLAN = plan_of(ROWS)


def write_shards(folder, plan, images):
    attributes = store.begin(folder, plan, PROVENANCE)
    for shard in store.missing_shards(folder, plan):
        rows = store.shard_rows(plan, shard)
        store.write_shard(folder, shard, plan, images[rows.start : rows.stop], attributes)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    store.write_set(folder / "file.h5", PLAN, PROVENANCE, iter(np.array_split(IMAGES, 5)))
    write_shards(folder / "shards", PLAN, IMAGES)
    for base in ("file.h5", "shards"):
        of = store.Reader(folder / base)
        store.write_selection(folder / f"of-{base.removesuffix('.h5')}.h5", of, CHOSEN, {"keep": "these"})
    first = store.Reader(folder / "of-file.h5")
    store.write_selection(folder / "of-selection.h5", first, FEWER, {"keep": "fewer"})
    return folder


FORMS = {
    "file.h5": np.arange(ROWS),
    "shards": np.arange(ROWS),
    "of-file.h5": CHOSEN,
    "of-shards.h5": CHOSEN,
    "of-selection.h5": CHOSEN[FEWER],
}


@pytest.fixture
def copied(made, tmp_path):
    """Forms that a test may damage."""
    return shutil.copytree(made, tmp_path / "copied")


def change(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)


def damage(path, row=3):
    change(path, lambda file: file["images"].__setitem__((row, 0, 0, 0), file["images"][row, 0, 0, 0] ^ 1))


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


# Selections


@pytest.mark.parametrize("form", ["of-file.h5", "of-shards.h5", "of-selection.h5"])
def test_a_selection_knows_its_rows_of_the_set_that_holds_the_pixels(made, form):
    reader = store.Reader(made / form)
    np.testing.assert_array_equal(reader.rows, FORMS[form])
    assert reader.base.name == ("shards" if form == "of-shards.h5" else "file.h5")
    assert reader.attributes["selection"] == {"keep": "fewer" if form == "of-selection.h5" else "these"}
    assert (made / form).stat().st_size < 20_000, "no pixels are copied"


def test_a_selection_moves_together_with_its_set(copied, tmp_path, monkeypatch):
    moved = copied.rename(tmp_path / "elsewhere")
    np.testing.assert_array_equal(store.Reader(moved / "of-shards.h5").image(1), IMAGES[CHOSEN[1]])
    monkeypatch.chdir(moved)
    np.testing.assert_array_equal(store.Reader(type(moved)("of-selection.h5")).image(1), IMAGES[CHOSEN[FEWER[1]]])
    (moved / "sub").mkdir()
    (moved / "of-file.h5").rename(moved / "sub" / "of-file.h5")
    with pytest.raises(ValueError, match=r"of-file\.h5: selects from another set, which cannot be read"):
        store.Reader(moved / "sub" / "of-file.h5")


def other_images(path):
    store.write_set(path, PLAN, PROVENANCE, iter([255 - IMAGES]))


def other_weights(path):
    changed = PROVENANCE | {"generator": PROVENANCE["generator"] | {"weights_sha256": "2" * 64}}
    store.write_set(path, PLAN, changed, iter([IMAGES]))


def other_plan(path):
    store.write_set(path, replace(PLAN, seed=PLAN.seed + np.uint64(1)), PROVENANCE, iter([IMAGES]))


def fewer_rows(path):
    store.write_set(path, plan_of(ROWS - 1), PROVENANCE, iter([IMAGES[:-1]]))


@pytest.mark.parametrize("replace_set", [other_images, other_weights, other_plan, fewer_rows])
def test_a_selection_and_scores_of_another_set_are_refused(copied, replace_set):
    path = copied / "file.h5"
    before = store.Reader(path)
    scores = store.write_scores(before, {"sharpness": score(0)})
    held = scores.read_bytes()
    replace_set(path)
    assert not scores.exists(), "a new set does not keep the old one's scores"
    scores.write_bytes(held)
    with pytest.raises(ValueError, match=r"of-file\.h5: was made of another file\.h5"):
        store.Reader(copied / "of-file.h5")
    after = store.Reader(path)
    with pytest.raises(ValueError, match=r"file\.scores\.h5: scores of another set"):
        _ = after.scores
    with pytest.raises(ValueError, match=r"file\.scores\.h5: scores of another set"):
        store.write_scores(after, {"margin": store.Score(np.zeros(len(after), np.float32), {})})


@pytest.mark.parametrize("rows", [[], [3, 2], [2, 2]])
def test_a_selection_needs_ascending_rows(made, tmp_path, rows):
    with pytest.raises(ValueError, match=r"y\.h5: a selection needs rows, in ascending order"):
        store.write_selection(tmp_path / "y.h5", store.Reader(made / "file.h5"), np.asarray(rows, dtype=int), {})
    assert not (tmp_path / "y.h5").exists()


# Scores


def score(first, **provenance):
    values = np.arange(first, first + ROWS).astype(np.float32)
    values[1] = np.nan
    return store.Score(values, provenance)


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name].values, value.values)
        assert found[name].values.dtype == np.float32
        assert found[name].provenance == value.provenance


@pytest.mark.parametrize("base", ["file.h5", "shards"])
def test_scores_are_added_kept_and_replaced(copied, base):
    reader = store.Reader(copied / base)
    assert reader.scores == {}
    first, second, third = score(0, by="a"), score(1, by="b"), score(2, by="c")
    path = store.write_scores(reader, {"sharpness": first, "margin": second})
    assert (
        path
        == store.scores_path(reader.path)
        == copied / {"file.h5": "file.scores.h5", "shards": "shards.shards-scores.h5"}[base]
    )
    same(reader.scores, {"sharpness": first, "margin": second})
    store.write_scores(reader, {"margin": third, "agreement": first})
    expected = {"sharpness": first, "margin": third, "agreement": first}
    same(reader.scores, expected)
    same(store.Reader(copied / base).scores, expected)


def test_a_selection_shows_its_rows_of_the_scores(copied):
    store.write_scores(store.Reader(copied / "file.h5"), {"margin": score(0, by="a")})
    for form in ("of-file.h5", "of-selection.h5"):
        rows = FORMS[form]
        same(store.Reader(copied / form).scores, {"margin": store.Score(score(0).values[rows], {"by": "a"})})
    assert store.Reader(copied / "of-shards.h5").scores == {}


def test_scores_of_a_selection_belong_to_its_set(copied):
    chosen = store.Reader(copied / "of-file.h5")
    with pytest.raises(ValueError, match=r"of-file\.h5: a selection; score the set that it is of \(.*file\.h5\)"):
        store.write_scores(chosen, {"margin": store.Score(np.zeros(len(CHOSEN), np.float32), {})})


# Several sets in one


def joined_by_hand(plans):
    """The plan that says the same as several one after the other."""
    sizes = [len(plan.files) for plan in plans]
    offsets = [sum(sizes[:number]) for number in range(len(plans))]

    def moved(name):
        return np.concatenate(
            [
                np.where(getattr(plan, name) == UNKNOWN, UNKNOWN, getattr(plan, name) + offset)
                for plan, offset in zip(plans, offsets, strict=True)
            ]
        )

    return Plan(
        files=tuple(name for plan in plans for name in plan.files),
        poses=np.concatenate([plan.poses for plan in plans]),
        pid=np.concatenate([plan.pid for plan in plans]),
        camid=np.concatenate([plan.camid for plan in plans]),
        source_index=moved("source_index"),
        target_index=moved("target_index"),
        seed=np.concatenate([plan.seed for plan in plans]),
    )


def chosen_plan(rows):
    columns = ("pid", "camid", "source_index", "target_index", "seed")
    return replace(PLAN, **{name: getattr(PLAN, name)[rows] for name in columns})


def test_joined_sets_are_the_set_of_their_plans(made, tmp_path):
    other = replace(plan_of(5), files=("a.jpg", "b.jpg", "c.jpg"), poses=small_plan(5).poses + 1)
    store.write_set(tmp_path / "other.h5", other, PROVENANCE, iter([255 - IMAGES[:5]]))
    paths = [made / "of-file.h5", tmp_path / "other.h5", made / "shards", made / "of-selection.h5"]
    store.join([store.Reader(path) for path in paths], tmp_path / "joined.h5", PROVENANCE)

    plan = joined_by_hand([chosen_plan(CHOSEN), other, PLAN, chosen_plan(CHOSEN[FEWER])])
    joined = store.Reader(tmp_path / "joined.h5")
    assert joined.files == list(plan.files)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(joined, name), plan.column(name))
    images = np.concatenate([IMAGES[CHOSEN], 255 - IMAGES[:5], IMAGES, IMAGES[CHOSEN[FEWER]]])
    np.testing.assert_array_equal(np.stack([joined.image(row) for row in range(len(joined))]), images)
    assert joined.attributes["plan_sha256"] == plan.sha256
    assert (joined.attributes["rows"], bool(joined.attributes["complete"])) == (len(plan), True)


def test_a_set_joined_with_nothing_keeps_its_identity(made, tmp_path):
    reader = store.Reader(made / "shards")
    assert (
        store.Reader(store.join([reader], tmp_path / "joined.h5", PROVENANCE)).content_sha256 == reader.content_sha256
    )


def test_a_damaged_image_is_not_joined(copied):
    damage(store.shard_path(copied / "shards", 2))
    with pytest.raises(ValueError, match=r"part-00002\.h5: image 3 is damaged"):
        store.join(
            [store.Reader(copied / "file.h5"), store.Reader(copied / "shards")], copied / "joined.h5", PROVENANCE
        )
    assert not [path for path in copied.iterdir() if "joined" in path.name]


def test_a_shard_of_the_same_plan_but_another_generator_is_refused(copied):
    folder = copied / "shards"
    path = store.shard_path(folder, 1)
    with h5py.File(path, "r+") as file:
        file.attrs["generator"] = json.dumps(json.loads(file.attrs["generator"]) | {"weights_sha256": "another"})
    reader = store.Reader(folder)
    with pytest.raises(ValueError, match=r"part-00001\.h5: a shard of another set"):
        reader.image(store.shards.SHARD_ROWS)
    with pytest.raises(ValueError, match=r"1 of \d+ shards are not whole \(damaged, to be removed: part-00001\.h5\)"):
        merging.run([folder], copied / "merged.h5")
