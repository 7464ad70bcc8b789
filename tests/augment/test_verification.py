"""Each thing that may be wrong with a set is found by the check that is named after it, whoever made the file."""

import json
import os
import resource
import shutil
import signal
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from augment import agreement, plan, planning, store, verification
from augment.cli import group
from augment.data import feed, keypoints
from augment.data.read import read_data
from augment.integrity import Subject
from augment.verification import NOT_CHECKED, OK, WRONG, Check, examine, run
from tests import fuzzing
from tests.fuzzing import SCORES, SELECTION, SET, SHARDS

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def forms(tmp_path_factory):
    return fuzzing.make_forms(tmp_path_factory.mktemp("forms"))


@pytest.fixture
def folder(forms, tmp_path, monkeypatch):
    """A set in all its forms, to be damaged."""
    monkeypatch.setattr(store.shards, "SHARD_ROWS", fuzzing.SHARD_ROWS)
    shutil.copytree(forms, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture(scope="module")
def drawn(pedestrians, tmp_path_factory):
    """A set of noise that was planned of real pedestrians."""
    dataset = read_data(pedestrians)
    points = keypoints.dataset_points(dataset)
    split = feed.load(keypoints.usable(dataset.train, points), points)
    table = planning.draw_plan(split, "other-identity", planning.Budget(per_image=1), 0)
    images = np.random.default_rng(0).integers(0, 256, (len(table), *split.size, 3), dtype=np.uint8)
    provenance = fuzzing.PROVENANCE | {
        "data_digest": dataset.digest,
        "points_digest": keypoints.digest(split.records, points),
    }
    return store.write_set(tmp_path_factory.mktemp("drawn") / "x.h5", table, provenance, iter([images]))


@pytest.fixture
def made(drawn, tmp_path):
    return shutil.copy(drawn, tmp_path / "x.h5")


def change(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def forge(path, edit):
    """A change by somebody who knows the format: the digest of the plan is made to fit."""

    def consistently(file):
        edit(file)
        names = [name.decode() for name in file["files"][...]]
        file.attrs["plan_sha256"] = plan.digest(names, lambda column: [file[column][...]])

    return change(path, consistently)


def states(path, data=None, annotation=None):
    opened = None if data is None else agreement.open_data(data, annotation)
    return {check.name: check for check in examine(Subject(path), opened)}


def wrong(path, data=None):
    """What is wrong, by check."""
    return {name: check.said for name, check in states(path, data).items() if check.state == WRONG}


# Whole sets


@pytest.mark.parametrize("name", [SET, SELECTION, SHARDS, f"{SHARDS}/part-00001.h5"])
def test_every_form_of_a_whole_set_holds(folder, name):
    found = states(folder / name)
    assert {check.state for check in found.values()} == {OK, NOT_CHECKED}
    assert [check.name for check in found.values() if check.state == NOT_CHECKED] == ["data"]
    assert ("selection" in found) == (name == SELECTION)
    assert ("scores" in found) == (name in (SET, SELECTION))
    assert ("shards" in found) == (name == SHARDS)
    assert found["checksums"].said == f"{4 if 'part-' in name else 10} images"


def test_a_set_holds_beside_its_data(made, pedestrians):
    report = run(made, pedestrians)
    assert report.holds
    assert {check.state for check in report.checks} == {OK}
    said = {check.name: check.said for check in report.checks}
    assert said["structure"] == "34 images of 128x64, 1 file"
    assert said["sources"] == "34 images, 6 identities"
    assert said["test identities"] == "none"
    assert said["target poses"] == "34 compared"


def test_one_shard_without_its_folder_is_checked_as_far_as_that_goes(folder, tmp_path):
    alone = shutil.copy(folder / SHARDS / "part-00001.h5", tmp_path)
    found = states(Path(alone))
    assert found["plan"] == Check("plan", NOT_CHECKED, "one shard without the plan; give the folder that it lies in")
    assert found["checksums"].state == found["provenance"].state == OK


# Damage and forgery, and the check that finds it


def set_value(column, row, value):
    return lambda file: file[column].__setitem__(row, value)


def set_attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, json.dumps(value) if isinstance(value, dict) else value)


def forget_image(file):
    """Never allocated chunks are read as zeros."""
    images = file["images"]
    shape, chunks = images.shape, images.chunks
    del file["images"]
    file.create_dataset("images", shape, "u1", chunks=chunks)


def replace(name, **options):
    def edit(file):
        del file[name]
        file.create_dataset(name, **options)

    return edit


def flip_a_pixel(file):
    file["images"][7, 2, 2, 0] ^= 1


def link_outside(file):
    file["more"] = h5py.ExternalLink("/etc/hostname", "/")


def link_in_place(file):
    file.move("pid", "p")
    file["pid"] = h5py.SoftLink("/p")


DAMAGE = {
    "a pixel": (flip_a_pixel, "checksums", "1 of 10 images are damaged: row 7"),
    "a checksum": (set_value("crc32", 2, 0), "checksums", "row 2"),
    "images never stored": (forget_image, "checksums", "10 of 10 images are damaged: rows 0, 1, 2, 3, 4, ..."),
    "a label": (set_value("pid", 0, 3), "plan", "its columns have the digest"),
    "a camera": (set_value("camid", 9, 3), "plan", "its columns have the digest"),
    "a joint": (set_value("target_pose", (5, 0, 0), 1.0), "plan", "its columns have the digest"),
    "a seed": (set_value("seed", 5, 1), "plan", "its columns have the digest"),
    "a name": (set_value("files", 1, b"0005_c2.jpg"), "plan", "its columns have the digest"),
    "the digest": (set_attribute("plan_sha256", "0" * 64), "plan", "not the one that it names"),
    "a column never stored": (replace("pid", shape=(10,), dtype="<i4"), "structure", "pid is declared, but not stored"),
    "one more column": (
        lambda file: file.create_dataset("notes", (3,), "<i4"),
        "structure",
        "what no set holds: notes",
    ),
    "a link to elsewhere": (link_outside, "structure", "what no set holds: more"),
    "a link in place of a column": (link_in_place, "structure", "what no set holds: p, pid"),
    "no tool": (lambda file: file.attrs.__delitem__("tool"), "provenance", "does not say tool"),
    "no generator": (set_attribute("generator", {"preset": "tiny"}), "provenance", "which generator"),
    "another number of rows": (set_attribute("rows", 11), "provenance", "11 rows from row 0 on"),
    "a generator of other data": (
        set_attribute("generator", {"model": "dptn", "trained_on": "1" * 64}),
        "provenance",
        "trained on other data",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_by_its_check(folder, name):
    edit, check, said = DAMAGE[name]
    found = wrong(change(folder / SET, edit))
    assert said in found.pop(check)
    assert found.keys() <= {"scores"}, "scores are of the content before"


NAMES = [
    "../../up.jpg",
    "/etc/passwd",
    "C:\\x.jpg",
    "..\\up.jpg",
    "line\nbreak.jpg",
    "\x1b[31mred.jpg",
    "nul\0l.jpg",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_paths_or_commands_are_found(folder, name):
    def rename(file):
        names = [b"a.jpg", b"b.jpg", name.encode()]
        replace("files", data=np.asarray(names, h5py.string_dtype("utf-8", 16)))(file)

    found = wrong(forge(folder / SET, rename))
    assert found.keys() == {"names", "scores"}
    assert found["names"].startswith("1 of 3 names of files are none")
    assert found["names"].isprintable()


def test_scores_of_another_content_and_strange_ones_are_found(folder):
    shutil.copy(folder / SCORES, folder / "other.scores.h5")
    change(folder / SCORES, set_value("score/margin", 0, 9.0))
    assert "damaged (checksums differ)" in wrong(folder / SET)["scores"]
    shutil.copy(folder / "other.scores.h5", folder / SCORES)
    change(folder / SCORES, lambda file: file.__setitem__("extra", 1))
    assert "holds what no file of scores holds: extra" in wrong(folder / SET)["scores"]


def test_a_selection_of_another_set_is_found(folder):
    forge(folder / SET, set_value("crc32", 0, 1))
    assert wrong(folder / SELECTION).keys() == {"checksums"}, "the rest rests on it"
    assert states(folder / SELECTION)["selection"] == Check("selection", NOT_CHECKED, "rests on checksums")
    change(folder / SET, lambda file: set_value("crc32", 0, zlib.crc32(file["images"][0].tobytes()))(file))
    assert not wrong(folder / SELECTION)

    def other_image(file):
        file["images"][0] = 0
        file["crc32"][0] = zlib.crc32(file["images"][0].tobytes())

    change(folder / SET, other_image)
    assert "made of another set.h5" in wrong(folder / SELECTION)["selection"]


def test_checks_that_rest_on_a_failed_one_are_not_made(folder, pedestrians):
    (folder / SET).write_bytes((folder / SET).read_bytes()[:5000])
    found = states(folder / SET, pedestrians)
    assert found.pop("structure").state == WRONG
    assert {check.state for check in found.values()} == {NOT_CHECKED}


# Folders of shards


def test_missing_shards_are_named_and_the_others_checked(folder):
    for shard in (0, 2):
        (folder / SHARDS / f"part-0000{shard}.h5").unlink()
    found = wrong(folder / SHARDS)
    assert found == {"shards": "unfinished: 2 of 3 files missing: part-00000.h5, part-00002.h5"}
    assert states(folder / SHARDS)["checksums"].said == "4 images"


def swap(folder):
    one, other = (folder / SHARDS / f"part-0000{shard}.h5" for shard in (0, 1))
    one.rename(folder / "aside")
    other.rename(one)
    (folder / "aside").rename(other)


def rewrite_manifest(**changes):
    def edit(folder):
        path = folder / SHARDS / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def in_shard(edit, name="part-00001.h5"):
    return lambda folder: change(folder / SHARDS / name, edit)


def write_manifest(text):
    return lambda folder: (folder / SHARDS / "manifest.json").write_text(text)


def replace_shard(put):
    def edit(folder):
        part = folder / SHARDS / "part-00001.h5"
        part.unlink()
        put(part)

    return edit


def add_a_shard(folder):
    shutil.copy(folder / SHARDS / "part-00001.h5", folder / SHARDS / "part-00003.h5")


FOLDERS = {
    "swapped shards": (swap, "plan", "part-00000.h5: a shard of another set, or of other rows"),
    "a label in a shard": (in_shard(set_value("pid", 0, 9)), "plan", "part-00001.h5: its pid is not the plan's"),
    "a name in a shard": (in_shard(set_value("files", 0, b"x")), "plan", "part-00001.h5: its table of files"),
    "images never stored": (in_shard(forget_image), "checksums", "4 of 10 images are damaged: rows 4, 5, 6, 7"),
    "another generator": (in_shard(set_attribute("generator", {"model": "x"})), "plan", "a shard of another set"),
    "a label in the plan": (
        in_shard(set_value("pid", 0, 9), "plan.h5"),
        "plan",
        "plan.h5: its columns have the digest",
    ),
    "rows": (rewrite_manifest(rows=11), "shards", "say different things"),
    "a very large number of rows": (rewrite_manifest(rows=10**300), "shards", "say different things"),
    "another plan": (rewrite_manifest(plan_sha256="0" * 64), "shards", "say different things"),
    "other types": (rewrite_manifest(config=[], versions=3, generator=None), "shards", "say different things"),
    "a deep manifest": (write_manifest('{"plan_sha256":' + "[" * 10**5), "shards", "not a JSON file"),
    "a number of many digits": (write_manifest('{"rows":' + "9" * 10**5 + "}"), "shards", "not a JSON file"),
    "one shard too many": (add_a_shard, "shards", "no shard of the plan: part-00003.h5"),
    "a device": (replace_shard(lambda part: part.symlink_to("/dev/zero")), "structure", "part-00001.h5: no such file"),
    "a pipe": (replace_shard(os.mkfifo), "structure", "part-00001.h5: no such file"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_wrong_with_a_folder_is_found(folder, name):
    edit, check, said = FOLDERS[name]
    edit(folder)
    found = wrong(folder / SHARDS)
    assert found.keys() == {check}
    assert said in found[check]


def test_a_shard_that_was_moved_to_another_disk_is_as_good(folder):
    part = folder / SHARDS / "part-00001.h5"
    part.rename(folder / "elsewhere.h5")
    part.symlink_to(folder / "elsewhere.h5")
    assert not wrong(folder / SHARDS)


# Beside the data


def rename_file(old, new):
    def edit(file):
        names = [new.encode() if name == old.encode() else name for name in file["files"][...]]
        replace("files", data=np.asarray(names, h5py.string_dtype("utf-8", 64)))(file)

    return edit


def test_another_data_set_or_annotation_is_found(made, pedestrians, tmp_path):
    fewer = tmp_path / "fewer"
    shutil.copytree(pedestrians, fewer)
    next((fewer / "bounding_box_train").glob("0002*")).unlink()
    assert "made of another training split" in wrong(made, fewer)["data"]
    shutil.rmtree(fewer)
    shutil.copytree(pedestrians, fewer)
    annotation = fewer / "market-annotation-train.csv"
    points = keypoints.read_annotation(annotation)
    name = store.Reader(made).target_name(0)
    points[name] = points[name] + 3
    keypoints.write_annotation(annotation, points)
    found = wrong(made, fewer)
    assert "made with other key points" in found["data"]
    assert "target poses are not those of their targets: row" in found["target poses"]


def test_forged_labels_sources_and_poses_are_found(made, pedestrians):
    whole = made.read_bytes()
    forge(made, lambda file: (set_value("pid", 3, 999)(file), set_value("camid", 4, 9)(file)))
    assert wrong(made, pedestrians) == {"sources": "1 of 34 rows have another pid than their source: row 3"}
    made.write_bytes(whole)
    forge(made, rename_file(store.Reader(made).target_name(0), "nobody.jpg"))
    found = wrong(made, pedestrians)
    assert found.keys() == {"sources", "target poses"}
    assert "'nobody.jpg'" in found["sources"]
    made.write_bytes(whole)
    forge(made, set_value("target_pose", (7, 2, 1), 60.0))
    assert wrong(made, pedestrians) == {"target poses": "1 of 34 target poses are not those of their targets: row 7"}
    made.write_bytes(whole)
    forge(made, set_value("target_pose", (7, 2, 1), np.inf))
    assert wrong(made, pedestrians).keys() == {"target poses"}
    made.write_bytes(whole)
    forge(made, set_value("target_pose", (7, 2), np.nan))
    assert wrong(made, pedestrians).keys() == {"target poses"}


def test_test_identities_are_found_unless_the_set_admits_them(made, pedestrians):
    dataset = read_data(pedestrians)
    place, name = store.Reader(made).target_index[0], store.Reader(made).target_name(0)
    leaked = dataset.query[0]

    def leak(file):
        rename_file(name, leaked.name)(file)
        rows = file["source_index"][...] == place
        for column, value in (("pid", leaked.pid), ("camid", leaked.camid)):
            file[column][...] = np.where(rows, value, file[column][...])

    forge(made, leak)
    found = wrong(made, pedestrians)
    assert found["test identities"] == (
        f"images of query and gallery: 1, identities of theirs: 1 ({leaked.pid}, '{leaked.name}')"
    )
    assert found.keys() == {"sources", "test identities", "target poses"}
    change(made, set_attribute("test_identities", True))
    found = states(made, pedestrians)
    assert found["test identities"].state == found["sources"].state == OK
    assert "as the set admits" in found["test identities"].said
    assert "for image quality only" in found["provenance"].said


def test_poses_of_no_image_need_a_file_of_poses(made, pedestrians):
    def foreign(file):
        names = [*file["files"][...], b"invented.jpg"]
        replace("files", data=np.asarray(names, h5py.string_dtype("utf-8", 64)))(file)
        file["target_index"][0] = len(names) - 1

    forge(made, foreign)
    assert wrong(made, pedestrians) == {"target poses": "1 of 24 targets are no training images: 'invented.jpg'"}
    change(made, set_attribute("config", {"poses": "file", "poses_sha256": "3" * 64}))
    assert states(made, pedestrians)["target poses"].said == "33 compared, 1 of no image of DATA"


def test_poses_are_compared_at_the_size_of_the_set(pedestrians, tmp_path):
    """An import may have other sizes than the data: the points move with the pixels."""
    dataset = read_data(pedestrians)
    points = keypoints.dataset_points(dataset)
    records = keypoints.usable(dataset.train, points)[:4]
    unknown = np.full((1, 18, 2), np.nan, np.float32)
    table = plan.Plan(
        files=tuple(record.name for record in records),
        poses=np.concatenate([keypoints.stack(records[:3], points) / 2, unknown]).astype(np.float32),
        pid=np.asarray([record.pid for record in records]),
        camid=np.asarray([record.camid for record in records]),
        source_index=np.arange(4),
        target_index=np.asarray([1, 2, 3, -1]),
        seed=np.zeros(4, np.uint64),
    )
    provenance = fuzzing.PROVENANCE | {"data_digest": dataset.digest}
    del provenance["points_digest"]
    made = store.write_set(tmp_path / "half.h5", table, provenance, iter([np.zeros((4, 64, 32, 3), np.uint8)]))
    found = states(made, pedestrians)
    assert found["target poses"] == Check("target poses", OK, "2 compared, 2 unknown")
    forge(made, set_value("target_pose", (0, 2), [1.0, 1.0]))
    assert wrong(made, pedestrians).keys() == {"target poses"}


# The process that reads


def test_a_file_that_hangs_the_library_is_reported(folder):
    """A text of variable length whose heap says that the next entry lies where this one does (HDF5 2.0)."""
    change(folder / SET, set_attribute("note", "x" * 40))
    data = bytearray((folder / SET).read_bytes())
    heap = data.index(b"GCOL")
    data[heap + 24 : heap + 32] = struct.pack("<Q", 2**64 - 16)
    (folder / SET).write_bytes(data)
    report = run(folder / SET, timeout=2)
    assert report.failed == ["structure"]
    if fuzzing.answer(lambda: fuzzing.read_all(folder / SET), 2)[0] == "hang":
        assert report.checks[-1].said == "gave no answer within 2 s: damaged or hostile, do not use it"


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        (fuzzing.hang, "gave no answer within 1 s"),
        (fuzzing.crash, "reading it ended the process (SIGSEGV)"),
        (fuzzing.leave, "reading it ended the process (exit code 3)"),
    ],
)
def test_a_process_that_hangs_or_crashes_is_reported(folder, monkeypatch, serve, said):
    monkeypatch.setattr(verification, "_serve", serve)
    report = run(folder / SET, timeout=1 if serve is fuzzing.hang else 30)
    assert not report.holds
    assert report.checks[-1] == Check("checksums", WRONG, f"{said}: damaged or hostile, do not use it")
    assert report.checks[0] == Check("structure", OK, "fine"), "what was found before stays"


def test_the_process_can_neither_write_nor_take_all_memory(tmp_path):
    def confined():
        verification._confine()
        with pytest.raises(MemoryError):
            bytearray(2 * verification.MEMORY)
        with pytest.raises(OSError, match="too large"):
            (tmp_path / "x").write_text("x")
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        return "confined"

    assert fuzzing.answer(confined) == ("returned", "confined")


def test_nothing_is_written(folder):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}
    for name in (SET, SELECTION):
        assert run(folder / name).holds
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    }


# The command


def verify(*arguments):
    return CliRunner().invoke(group, ["verify", *map(str, arguments)])


def test_command(made, pedestrians):
    result = verify(made, pedestrians)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[-1] == "all of this holds"
    assert lines[2].split() == ["checksums", "ok", "34", "images"]
    change(made, set_value("crc32", 3, 0))
    result = verify(made, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert not report["holds"]
    assert {"name": "checksums", "state": "wrong", "said": "1 of 34 images are damaged: row 3"} in report["checks"]


def test_mistakes_of_the_user(made, tmp_path, pedestrians):
    handler = signal.getsignal(signal.SIGINT)
    assert verify(tmp_path / "nowhere.h5").exit_code == 2
    with pytest.raises(ValueError, match=r"nowhere\.h5: no such file or folder"):
        run(tmp_path / "nowhere.h5")
    with pytest.raises(ValueError, match="nothing: no such folder"):
        run(made, tmp_path / "nothing")
    with pytest.raises(ValueError, match="belongs to DATA"):
        run(made, annotation=pedestrians / "market-annotation-train.csv")
    for path in (tmp_path, pedestrians / "market-annotation-train.csv", Path("/dev/zero")):
        assert run(path).failed == ["structure"]
    assert signal.getsignal(signal.SIGINT) is handler, "the child ignores it, this process does not"
