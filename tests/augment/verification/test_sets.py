"""Each thing that may be wrong with a set is found by the check that is named after it, whoever made the file."""

import shutil
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from augment.verification import NOT_CHECKED, OK, WRONG, Check, run
from tests.forging import change, forge, forget_image, replace, set_attribute, set_value, states, wrong
from tests.fuzzing import SCORES, SELECTION, SET, SHARDS

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
