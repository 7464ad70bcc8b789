"""The writer under fire: killed at every step and inside of the library's own writes, on full disks, in a power loss.

After each fault every visible file is whole, and the same call finishes to the very bytes of an undisturbed run.
"""

import ctypes
import errno
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from augment import files, producing, store
from augment.launch import Rank
from augment.store import hdf5
from tests.fuzzing import PROVENANCE, ROWS, SHARD_ROWS, SIZE, small_images, small_plan
from tests.killing import die, in_child

EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "fcntl.lockf")
PLAN, IMAGES = small_plan(), small_images()
KILLED = -signal.SIGKILL


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setattr(store.shards, "SHARD_ROWS", SHARD_ROWS)
    monkeypatch.setattr(producing, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # a kill loses nothing that was written
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def folder(tmp_path):
    """Where the faults happen, with nothing else in it."""
    (tmp_path / "faults").mkdir()
    return tmp_path / "faults"


@pytest.fixture
def undisturbed(tmp_path):
    """Bytes of the file, and of the folder of shards, that undisturbed runs make."""
    (tmp_path / "undisturbed").mkdir()
    return {name: tree(make(tmp_path / "undisturbed" / name)) for name in ("x.h5", "x")}


def make(out, generate=IMAGES.__getitem__):
    producing.produce(producing.Work(PLAN, SIZE, 3, generate, PROVENANCE, out), Rank())
    return out


def tree(path):
    """A file's bytes, or those of each file of a folder but for the lock."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {each.name: each.read_bytes() for each in path.iterdir() if each.name != ".claims"}


def check(out, undisturbed):
    """What a fault left is whole where it is visible; the same call goes on from there to the same bytes."""
    if out.suffix and out.exists():
        assert tree(out) == undisturbed["x.h5"]
    left = store.shard_folder(out)
    for path in left.glob("part-*.h5"):
        assert path.read_bytes() == undisturbed["x"][path.name]
    kept = {path: path.stat().st_mtime_ns for path in left.glob("part-*.h5")}
    made = []

    def generate(rows):
        made.extend(rows.tolist())
        return IMAGES[rows]

    make(out, generate)
    assert tree(out) == undisturbed[out.name]
    finished = {row for path in kept for row in store.shard_rows(PLAN, int(path.stem.removeprefix("part-")))}
    assert not finished.intersection(made), "whole shards are not made again"
    assert [path.name for path in out.parent.iterdir()] == [out.name], "nothing is left to clean up"


def clear(folder):
    shutil.rmtree(folder)
    folder.mkdir()


# Kills


@pytest.mark.parametrize(("name", "stride"), [("x.h5", 1), ("x", 4)])
def test_killed_before_each_step_on_the_file_system(folder, undisturbed, name, stride):
    """Each open, rename, link, removal, lock and fsync of the whole run, one after the other."""
    step = 1
    while in_child(partial(dying_at_step, step, folder, folder / name)) == KILLED:
        step += stride
        check(folder / name, undisturbed)
        clear(folder)
    assert step > 50
    assert tree(folder / name) == undisturbed[name]


def dying_at_step(number, folder, out):
    steps = 0

    def step():
        nonlocal steps
        steps += 1
        if steps == number:
            die()

    def hook(event, arguments):
        if event == "fcntl.lockf" or (event in EVENTS and str(arguments[0]).startswith(str(folder))):
            step()

    fsync = os.fsync

    def counted(descriptor):
        step()
        fsync(descriptor)

    os.fsync = counted
    sys.addaudithook(hook)
    make(out)


class Torn(io.FileIO):
    """A file in which a process dies when half of the bytes of a write are written."""

    until = writes = 0

    def write(self, data):
        Torn.writes += 1
        if Torn.writes == Torn.until:
            super().write(bytes(data)[: len(data) // 2])
            die()
        return super().write(data)


def test_killed_inside_each_write_of_the_library(folder, undisturbed):
    """HDF5 writes plan and merged file through a file of ours, which ends the process inside of every other write."""
    write, closing = 1, 0
    while in_child(partial(dying_at_write, write, folder)) == KILLED:
        write += 2
        closing += (folder.parent / "closing").exists()
        (folder.parent / "closing").unlink(missing_ok=True)
        check(folder / "x.h5", undisturbed)
        clear(folder)
    np.testing.assert_array_equal([store.Reader(folder / "x.h5").image(row) for row in range(ROWS)], IMAGES)
    assert write > 2 * ROWS
    assert closing > 3, "inside the flush of all metadata when the file is closed"


def dying_at_write(number, folder):
    original = h5py.File

    class File(original):
        def close(self):
            if self and self.mode == "r+":
                (folder.parent / "closing").touch()
            super().close()

    def through(path, mode, **options):
        if not isinstance(path, Path) or mode == "r":
            return original(path, mode, **options)
        return File(Torn(path, "w+" if mode == "w" else "r+"), mode)

    hdf5.h5py.File = through
    Torn.until = number
    make(folder / "x.h5")


@pytest.mark.parametrize("phase", ["shards", "merge"])
def test_killed_by_the_system_inside_a_write(folder, undisturbed, phase, tmp_path):
    """The kernel ends a process in the very write that passes a limit of the file size."""
    size = len(undisturbed["x"]["part-00001.h5"] if phase == "shards" else undisturbed["x.h5"]["x.h5"])
    if phase == "merge":
        in_child(lambda: dying_at_step_named("x.h5", folder / "x.h5"))
        shutil.copytree(folder, tmp_path / "shards")
        assert len(list((tmp_path / "shards" / "x.shards").glob("part-*.h5"))) == store.shard_count(ROWS)
    for limit in np.linspace(1, size - 1, 12).astype(int).tolist():
        clear(folder)
        if phase == "merge":
            shutil.copytree(tmp_path / "shards", folder, dirs_exist_ok=True)
        assert in_child(partial(dying_past, limit, folder / "x.h5")) == -signal.SIGXFSZ
        check(folder / "x.h5", undisturbed)


def dying_at_step_named(name, out):
    """Die when the file of that name is about to be published."""
    replace = Path.replace
    Path.replace = lambda path, target: die() if target.name == name else replace(path, target)
    make(out)


def dying_past(limit, out):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    files.reserve = lambda path, size: None  # which would pass the limit first
    make(out)


def test_killed_at_any_time(folder, undisturbed):
    rng = np.random.default_rng(0)
    for _ in range(6):
        process = os.fork()
        if process == 0:
            try:
                make(folder / "x.h5", lambda rows: (time.sleep(0.004), IMAGES[rows])[1])
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.01, 0.1))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        check(folder / "x.h5", undisturbed)
        clear(folder)


# Full disks


def leaving(function):
    """What a process ends with that closes the library at its end, as an interpreter does: 0, or the errno.

    Not by C's exit, which also ends other libraries: ONNX runtime waits there for threads that a fork does not have.
    """

    def leave():
        code = 0
        try:
            function()
        except OSError as error:
            code = error.errno
        ctypes.CDLL(h5py.h5.__file__).H5close()
        os._exit(code)

    return in_child(leave)


@pytest.mark.parametrize("phase", ["manifest", "plan", "shard", "reserve"])
def test_a_full_disk_is_an_error_and_no_crash(folder, undisturbed, phase):
    """At a limit of the file size that is met in the middle of that file."""
    sizes = {name: len(data) for name, data in undisturbed["x"].items()}
    limit = {"manifest": 100, "plan": sizes["plan.h5"] - 1, "shard": sizes["part-00001.h5"] - 1, "reserve": 2_000_000}
    assert limit["manifest"] < sizes["manifest.json"] < limit["plan"] < sizes["plan.h5"] < limit["shard"]

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit[phase], resource.RLIM_INFINITY))
        if phase in ("manifest", "shard"):
            files.reserve = lambda path, size: None
        make(folder / "x.h5")

    assert leaving(fill) == errno.EFBIG
    assert not list(folder.rglob("*.part"))
    check(folder / "x.h5", undisturbed)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 12 MB, of which a set takes 6 at most while it is made."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill_up(path, leave=0):
    """All that is free on a disk but for some bytes."""
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(file.tell() - leave, 0))


def test_a_disk_without_room_for_the_whole_set_is_refused_before_any_image(small_disk, undisturbed):
    fill_up(small_disk / "other", leave=2**20)
    made = []
    assert leaving(lambda: make(small_disk / "x.h5", lambda rows: made.append(rows) or IMAGES[rows])) == errno.ENOSPC
    assert not made
    assert not list((small_disk / "x.shards").glob("part-*"))
    (small_disk / "other").unlink()
    check(small_disk / "x.h5", undisturbed)


def test_others_may_fill_the_disk_once_the_space_is_reserved(small_disk, undisturbed, monkeypatch):
    """During the first shard, and while HDF5 writes the merged file, which would crash it."""
    write_set = store.sets.tables.write_set

    def generate(rows):
        if rows[0] < SHARD_ROWS:
            fill_up(small_disk / "other")
        return IMAGES[rows]

    def write(out, table, provenance, images):
        def filling():
            for number, batch in enumerate(images):
                if number:
                    fill_up(small_disk / "other")
                yield batch

        return write_set(out, table, provenance, filling())

    monkeypatch.setattr(store.sets.tables, "write_set", write)
    assert leaving(lambda: make(small_disk / "x.h5", generate)) == 0
    assert tree(small_disk / "x.h5") == undisturbed["x.h5"]


def test_reserved_space_leaves_no_trace(folder, undisturbed, monkeypatch):
    """HDF5 writes into the space that its file was given, and the rest of that is cut off: no byte differs."""
    monkeypatch.setattr(files, "reserve", lambda path, size: None)
    assert tree(make(folder / "x.h5")) == undisturbed["x.h5"]
    assert tree(make(folder / "x")) == undisturbed["x"]


def test_a_merge_that_was_killed_does_not_take_the_room_of_the_next_one(small_disk, undisturbed):
    def dying_in_the_merge():
        read = store.sets._read_shard
        store.sets._read_shard = lambda *asked: die() if asked[1] == 2 else read(*asked)
        make(small_disk / "x.h5")

    assert in_child(dying_in_the_merge) == KILLED
    assert any(path.name.startswith(".x.h5.") for path in small_disk.iterdir())
    fill_up(small_disk / "other", leave=3 * 2**19)
    make(small_disk / "x.h5")
    assert tree(small_disk / "x.h5") == undisturbed["x.h5"]


# Power loss: what is renamed is on the disk before, and its name is before the next step


def test_contents_are_synced_before_names_and_names_before_the_next_step(folder, monkeypatch):
    steps = recorded(monkeypatch)
    make(folder / "x.h5")
    reader = store.Reader(folder / "x.h5")
    store.write_scores(reader, {"sharpness": store.Score(np.zeros(ROWS, np.float32), {})})
    store.write_selection(folder / "new" / "y.h5", reader, np.arange(3), {})
    published = [place for place, (kind, *_) in enumerate(steps) if kind == "publish"]
    assert [steps[place][2].name for place in published] == [
        "manifest.json", "plan.h5", "part-00000.h5", "part-00001.h5", "part-00002.h5", "x.h5", "x.scores.h5", "y.h5",
    ]  # fmt: skip
    for place in published:
        _, part, path = steps[place]
        assert steps[place - 1] == ("fsync", part)
        assert steps[place + 1] == ("fsync", path.parent)
    for place, (kind, *paths) in enumerate(steps):
        if kind == "mkdir":
            assert steps[place + 1] == ("fsync", paths[0].parent), "a new folder's own name"
    merged = next(place for place in published if steps[place][2].name == "x.h5")
    removed = [place for place, (kind, *paths) in enumerate(steps) if kind == "remove" and "part-" in paths[0].stem]
    assert min(removed) > merged + 1, "shards go when the merged file's name is on the disk"


def recorded(monkeypatch):
    """Steps from now on: ("fsync", path), ("publish", part, path), ("mkdir", path) and ("remove", path) of shards."""
    steps = []
    fsync, replace, link, mkdir, unlink = os.fsync, Path.replace, os.link, Path.mkdir, Path.unlink

    def record(function, kind):
        def wrapped(*paths, **options):
            if kind != "remove" or not paths[0].name.startswith("."):
                steps.append((kind, *paths))
            return function(*paths, **options)

        return wrapped

    def synced(descriptor):
        steps.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", record(link, "publish"))
    monkeypatch.setattr(Path, "replace", record(replace, "publish"))
    monkeypatch.setattr(Path, "mkdir", record(mkdir, "mkdir"))
    monkeypatch.setattr(Path, "unlink", record(unlink, "remove"))
    return steps
