"""What is wrong with a folder of shards is found: missing, moved and strange ones, and what the manifest says."""

import json
import os
import shutil

import pytest

from tests.forging import change, forget_image, set_attribute, set_value, states, wrong
from tests.fuzzing import SHARDS


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
