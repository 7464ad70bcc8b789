"""Merged shards are the file that synthesize makes, joined sets hold all images in order, and all damage is named."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from augment import audit, files, merging, store
from augment.merging import prepare, run
from augment.plan import UNKNOWN, Plan
from tests.killing import die, in_child

SIZE = (4, 2)
PROVENANCE = {
    "tool": "test",
    "config": {"seed": 0},
    "generator": {"model": "dptn", "weights_sha256": "a"},
    "data_digest": "0" * 64,
    "points_digest": "1" * 64,
    "versions": {"python": "3"},
}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store.shards, "SHARD_ROWS", 4)


def planned(rows, names=("0002_c1.jpg", "0004_c2.jpg", "ähnlich.jpg")):
    rng = np.random.default_rng(rows)
    return Plan(
        files=tuple(names),
        poses=rng.uniform(0, 4, (len(names), 18, 2)).astype(np.float32),
        pid=np.arange(rows) % 2 * 2 + 2,
        camid=np.arange(rows) % 2 + 1,
        source_index=np.arange(rows) % 2,
        target_index=np.arange(rows) % 4 - 1,
        seed=rng.integers(0, 2**63, rows).astype(np.uint64),
    )


def pixels(rows, seed, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (rows, *size, 3), dtype=np.uint8)


def make(path, rows=10, seed=0, size=SIZE, **changed):
    """A set in one file."""
    names = [f"{seed}.jpg", "0004_c2.jpg", "0006_c1.jpg"]
    return store.write_set(path, planned(rows, names), PROVENANCE | changed, [pixels(rows, seed, size)])


def shards(folder, rows=10, without=()):
    """A set in shards."""
    plan, images = planned(rows), pixels(rows, 0)
    attributes = store.begin(folder, plan, PROVENANCE)
    for shard in store.missing_shards(folder, plan):
        place = store.shard_rows(plan, shard)
        if shard not in without:
            store.write_shard(folder, shard, plan, images[place.start : place.stop], attributes)
    return folder


def damage(path, row=0):
    with h5py.File(path, "r+") as file:
        file["images"][row, 0, 0, 0] ^= 1


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def images(reader):
    return np.stack([reader.image(row) for row in range(len(reader))])


# A folder of shards


@pytest.mark.parametrize("rows", [1, 4, 10, 4097])
def test_merged_shards_are_the_file_that_synthesize_makes(tmp_path, rows, monkeypatch):
    if rows > 100:
        monkeypatch.setattr(store.shards, "SHARD_ROWS", 1024)
    folder, plan = shards(tmp_path / "x.shards", rows), planned(rows)
    made = run([folder], tmp_path / "merged" / "x.h5")
    kept = names(folder)
    theirs = store.merge(folder, plan, tmp_path / "x.h5", files.read_json(folder / store.MANIFEST))
    assert made.read_bytes() == theirs.read_bytes()
    assert kept == ["manifest.json", *(f"part-{s:05d}.h5" for s in range(store.shard_count(rows))), "plan.h5"]
    np.testing.assert_array_equal(images(store.Reader(made)), pixels(rows, 0))


def test_shards_are_removed_on_request_only_once_the_file_is_there(tmp_path, monkeypatch):
    folder, out = shards(tmp_path / "x.shards"), tmp_path / "x.h5"
    real = store.join

    def checked(readers, path, provenance):
        assert folder.exists()
        return real(readers, path, provenance)

    monkeypatch.setattr(merging.store, "join", checked)
    run([folder], out, remove_shards=True)
    assert names(tmp_path) == ["x.h5"]
    assert len(store.Reader(out)) == 10


def test_done_work_is_recognised(tmp_path):
    folder, out, lines = shards(tmp_path / "x.shards"), tmp_path / "x.h5", []
    run([folder], out)
    written = out.stat().st_mtime_ns
    run([folder], out, log=lines.append)
    assert (lines[-1], out.stat().st_mtime_ns) == ("already done", written)
    run([folder], out, force=True)
    assert out.stat().st_mtime_ns > written
    assert folder.exists()


def test_missing_and_damaged_shards_are_all_named(tmp_path):
    folder = shards(tmp_path / "x.shards", 48, without=(1, 4, 5, 6, 7, 11))
    damage(folder / "part-00002.h5", 3)
    (folder / "part-00003.h5").write_bytes((folder / "part-00003.h5").read_bytes()[:3000])
    shutil.copy(folder / "part-00009.h5", folder / "part-00008.h5")
    whole = names(folder)
    with pytest.raises(ValueError, match="not whole") as caught:
        run([folder], tmp_path / "x.h5", remove_shards=True)
    said = str(caught.value)
    assert "9 of 12 shards are not whole" in said
    assert "missing: part-00001.h5, part-00004.h5 to part-00007.h5, part-00011.h5" in said
    assert "damaged, to be removed: part-00002.h5, part-00003.h5, part-00008.h5)" in said
    assert "the same `augment synthesize` again" in said
    assert names(folder) == whole
    assert names(tmp_path) == ["x.shards"]


def test_a_shard_of_another_plan_is_damaged(tmp_path):
    folder, other = shards(tmp_path / "x.shards"), shards(tmp_path / "y.shards", 11)
    shutil.copy(other / "part-00001.h5", folder / "part-00001.h5")
    with pytest.raises(ValueError, match=r"damaged, to be removed: part-00001\.h5\)"):
        prepare([folder])


def test_folders_that_are_no_shards(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: holds no shards"):
        prepare([tmp_path / "empty"])
    folder = shards(tmp_path / "x.shards")
    for rows in ("ten", 0, 10**18, None):
        manifest = files.read_json(folder / "manifest.json")
        files.write_json(folder / "manifest.json", manifest | {"rows": rows})
        with pytest.raises(ValueError, match=r"manifest\.json: damaged"):
            prepare([folder])


# Several sets


def test_joined_sets_follow_each_other(tmp_path):
    first, third = make(tmp_path / "a.h5", 5, 1), make(tmp_path / "c.h5", 6, 3)
    second = shards(tmp_path / "b.shards")
    chosen = store.write_selection(tmp_path / "d.h5", store.Reader(first), np.asarray([1, 4]), {"keep": "x"})
    parts = [store.Reader(path) for path in (third, first, second, chosen)]
    lines = []
    joined = store.Reader(run([third, first, second, chosen], tmp_path / "all.h5", log=lines.append))
    np.testing.assert_array_equal(images(joined), np.concatenate([images(part) for part in parts]))
    for name in ("pid", "camid", "seed", "crc32"):
        np.testing.assert_array_equal(getattr(joined, name), np.concatenate([getattr(part, name) for part in parts]))
    np.testing.assert_array_equal(joined.target_pose, np.concatenate([part.target_pose for part in parts]))
    for role in ("source_name", "target_name"):
        said = [getattr(part, role)(row) for part in parts for row in range(len(part))]
        assert [getattr(joined, role)(row) for row in range(len(joined))] == said
    assert (joined.target_index == UNKNOWN).sum() == sum((part.target_index == UNKNOWN).sum() for part in parts)
    assert lines[1].startswith("2 images are in several of the sets")
    assert second.exists()


def test_what_a_joined_set_says_of_its_parts(tmp_path):
    first = make(tmp_path / "a.h5", 5, 1)
    second = make(tmp_path / "b.h5", 6, 2, generator={"model": "patn", "weights_sha256": "b"}, points_digest="2" * 64)
    said = store.Reader(run([first, second], tmp_path / "x.h5")).attributes
    assert said["complete"]
    assert said["data_digest"] == PROVENANCE["data_digest"]
    assert said["generator"]["model"] == "dptn, patn"
    assert "points_digest" not in said
    assert [(part["name"], part["images"], part["generator"]["model"]) for part in said["parts"]] == [
        ("a.h5", 5, "dptn"), ("b.h5", 6, "patn"),
    ]  # fmt: skip
    assert [part["content_sha256"] for part in said["parts"]] == [
        store.Reader(path).content_sha256 for path in (first, second)
    ]
    alike = store.Reader(run([first, make(tmp_path / "c.h5", 7, 3)], tmp_path / "y.h5")).attributes
    assert (alike["generator"], alike["points_digest"]) == (PROVENANCE["generator"], PROVENANCE["points_digest"])


@pytest.mark.parametrize("stamped", [0, 1])
def test_the_stamp_of_test_identities_is_carried_over(tmp_path, stamped):
    stamps = [{audit.TEST_IDENTITIES: True} if part == stamped else {} for part in range(2)]
    parts = [make(tmp_path / f"{part}.h5", 5, part, **stamp) for part, stamp in enumerate(stamps)]
    joined = store.Reader(run(parts, tmp_path / "x.h5"))
    with pytest.raises(ValueError, match="made with --allow-test-identities"):
        audit.require_no_test_identities("x.h5", joined.attributes)
    again = store.Reader(run([tmp_path / "x.h5", make(tmp_path / "c.h5", 5, 9)], tmp_path / "y.h5"))
    assert again.attributes[audit.TEST_IDENTITIES]
    clean = store.Reader(run([make(tmp_path / "d.h5", 5, 7), tmp_path / "c.h5"], tmp_path / "z.h5"))
    assert audit.TEST_IDENTITIES not in clean.attributes


def test_a_hundred_sets(tmp_path):
    """What is said of them takes more than the 64 kB that HDF5 gives an attribute in place."""
    parts = [make(tmp_path / f"{part}.h5", 2, part, config={"poses": "x" * 500}) for part in range(100)]
    joined = store.Reader(run(parts, tmp_path / "x.h5"))
    assert (len(joined), len(joined.attributes["parts"])) == (200, 100)


def test_scores_stay_behind_and_that_is_said(tmp_path):
    scored = make(tmp_path / "a.h5", 5, 1)
    store.write_scores(store.Reader(scored), {"sharpness": store.Score(np.zeros(5, np.float32), {})})
    lines = []
    out = run([scored, make(tmp_path / "b.h5", 5, 2)], tmp_path / "x.h5", log=lines.append)
    assert lines[0] == "scores stay behind: score the merged set again"
    assert store.Reader(out).scores == {}


def test_a_selection_becomes_a_set_of_its_own(tmp_path):
    whole = make(tmp_path / "a.h5", 5, 1)
    chosen = store.write_selection(tmp_path / "b.h5", store.Reader(whole), np.asarray([1, 4]), {"keep": "x"})
    out = run([chosen], tmp_path / "x.h5")
    whole.unlink()
    assert store.Reader(out).rows is None
    np.testing.assert_array_equal(images(store.Reader(out)), pixels(5, 1)[[1, 4]])
    assert store.Reader(out).attributes["parts"][0]["selection"] == {"keep": "x"}


def test_other_sets_are_refused_at_the_same_place(tmp_path):
    parts = [make(tmp_path / f"{part}.h5", 5, part) for part in range(3)]
    out, lines = run(parts[:2], tmp_path / "x.h5"), []
    run(parts[:2], out, log=lines.append)
    assert lines == ["already done"]
    held = out.read_bytes()
    for other in (parts, parts[1:], parts[1::-1], [shards(tmp_path / "s.shards")]):
        with pytest.raises(ValueError, match=r"x\.h5: holds another set: .*--force"):
            run(other, out)
    with pytest.raises(ValueError, match=r"0\.h5: holds another set"):
        run(parts[1:], parts[0])
    assert out.read_bytes() == held
    run(parts, out, force=True)
    assert len(store.Reader(out)) == 15


def test_sets_that_do_not_belong_together(tmp_path):
    first = make(tmp_path / "a.h5", 5, 1)
    wide = make(tmp_path / "wide.h5", 5, 2, size=(4, 3))
    foreign = make(tmp_path / "foreign.h5", 5, 3, data_digest="9" * 64)
    twin = Path(shutil.copy(first, tmp_path / "twin.h5"))
    for other, said in (
        (wide, r"wide\.h5: images of 4x3, those of .*a\.h5 are 4x2"),
        (foreign, r"foreign\.h5: is of another training split than .*a\.h5: data_digest \(9+\.\.\. there, 0+"),
        (twin, r"twin\.h5: holds the very images of .*a\.h5"),
        (first, r"a\.h5: holds the very images of .*a\.h5"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            run([first, other], tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()


def test_a_damaged_image_is_named_and_nothing_is_left(tmp_path):
    parts = [make(tmp_path / f"{part}.h5", 5, part) for part in range(2)]
    damage(parts[1], 3)
    with pytest.raises(ValueError, match=r"1\.h5: image 3 is damaged"):
        run(parts, tmp_path / "out" / "x.h5")
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_set_is_left_alone(tmp_path, force):
    parts = [make(tmp_path / f"{part}.h5", 5, part) for part in range(2)]
    thesis = tmp_path / "thesis.h5"
    thesis.write_text("x")
    with pytest.raises(ValueError, match=r"thesis\.h5: "):
        run(parts, thesis, force=force)
    with pytest.raises(ValueError, match="is one of the sets"):
        run(parts, parts[1], force=force)
    for name in ("x", "x.csv", "x.scores.h5"):
        with pytest.raises(ValueError, match="expected a file name"):
            run(parts, tmp_path / name, force=force)
    assert thesis.read_text() == "x"


def test_a_kill_leaves_the_sets_and_no_file(tmp_path):
    parts = [make(tmp_path / "a.h5", 5, 1), shards(tmp_path / "b.shards")]
    before = names(tmp_path / "b.shards")

    def killed():
        store.tables.checksums = lambda images: die()
        run(parts, tmp_path / "x.h5", remove_shards=True)

    assert in_child(killed) == -9
    assert not (tmp_path / "x.h5").exists()
    assert names(tmp_path / "b.shards") == before
    run(parts, tmp_path / "x.h5")
    assert names(tmp_path) == ["a.h5", "b.shards", "x.h5"], "what the killed process left is removed"


def test_mistakes(tmp_path):
    one, folder = make(tmp_path / "a.h5", 5, 1), shards(tmp_path / "b.shards")
    with pytest.raises(ValueError, match=r"a\.h5: is one file already"):
        prepare([one])
    with pytest.raises(ValueError, match=r"part-00001\.h5: one part of an unfinished set; give the folder"):
        prepare([folder / "part-00001.h5"])
    with pytest.raises(ValueError, match="--remove-shards: none of the sets is a folder"):
        run([one, make(tmp_path / "c.h5", 5, 2)], tmp_path / "x.h5", remove_shards=True)


def test_command(augment, tmp_path):
    folder, other, out = shards(tmp_path / "x.shards"), make(tmp_path / "a.h5", 5, 1), tmp_path / "x.h5"
    code, said, _ = augment("merge", folder, other, "--out", out, "--dry-run")
    assert (code, said.split(), out.exists()) == (0, ["10", str(folder), "5", str(other), "15", str(out)], False)
    assert augment("merge", folder, "--out", out)[:2] == (0, f"{out}\n")
    assert "already done" in augment("merge", folder, "--out", out).err
    code, said, err = augment("merge", folder, other, "--out", out)
    assert (code, said, err.count("Error: ")) == (2, "", 1)
    assert augment("merge", folder, other, "--out", out, "--force", "--remove-shards").code == 0
    assert names(tmp_path) == ["a.h5", "x.h5"]
    assert augment("merge", "--out", out).code == 2
