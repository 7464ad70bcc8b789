"""Selections know their set and its scores, and refuse another one; several sets are joined to one."""

from dataclasses import replace

import numpy as np
import pytest

from augment import merging, store
from augment.plan import COLUMNS, UNKNOWN, Plan
from tests.forging import change, set_attribute
from tests.fuzzing import PROVENANCE, small_plan
from tests.set_forms import CHOSEN, FEWER, FORMS, IMAGES, PLAN, ROWS, damage, plan_of

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
    change(path, set_attribute("generator", PROVENANCE["generator"] | {"weights_sha256": "another"}))
    reader = store.Reader(folder)
    with pytest.raises(ValueError, match=r"part-00001\.h5: a shard of another set"):
        reader.image(store.shards.SHARD_ROWS)
    with pytest.raises(ValueError, match=r"1 of \d+ shards are not whole \(damaged, to be removed: part-00001\.h5\)"):
        merging.run([folder], copied / "merged.h5")
