"""Several processes over one folder: whoever makes what, whoever is killed, the set is the same byte for byte."""

import errno
import fcntl
import os
import signal
import time

import h5py
import numpy as np
import pytest

from augment import producing, store
from augment.interruption import Preempted
from augment.launch import Rank
from tests.fuzzing import PROVENANCE, SHARD_ROWS, SIZE, small_images, small_plan
from tests.killing import die, in_child, start

ROWS, BATCH = 30, 3
SHARDS = 8
PLAN, IMAGES = small_plan(ROWS), small_images(ROWS)
KILLED = -signal.SIGKILL


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setattr(store.shards, "SHARD_ROWS", SHARD_ROWS)
    monkeypatch.setattr(producing, "POLL_SECONDS", 0.002)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def alone(tmp_path):
    """What one undisturbed process makes: a file, and a folder of shards."""
    (tmp_path / "alone").mkdir()
    return {name: content(make(tmp_path / "alone" / name)) for name in ("x.h5", "x")}


def work(out, generate=IMAGES.__getitem__):
    return producing.Work(PLAN, SIZE, BATCH, generate, PROVENANCE, out)


def make(out, generate=IMAGES.__getitem__, rank=None, log=lambda line: None):
    producing.produce(work(out, generate), rank or Rank(), log=log)
    return out


def content(path):
    if path.is_file():
        return path.read_bytes()
    return {each.name: each.read_bytes() for each in path.iterdir() if each.name != ".claims"}


def ends(processes):
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def until(condition):
    for _ in range(30_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("waited in vain")


def noting(folder, index, meet=None, dies_at=None, waits_for=lambda batch: True):
    """A generator of images that notes who made which rows; it may be killed, and kept waiting at its batches.

    `meet` processes wait for each other at their first batch, so that each has one.
    """
    calls = []

    def generate(rows):
        calls.append(rows)
        if meet is not None and len(calls) == 1:
            (folder.parent / f"here-{index}").touch()
            until(lambda: len(list(folder.parent.glob("here-*"))) >= meet)
        if len(calls) == dies_at:
            (folder.parent / "dead").touch()
            die()
        until(lambda: waits_for(len(calls)))
        with (folder.parent / "made.txt").open("a") as file:
            file.write(f"{index} {rows[0]}\n")
        return IMAGES[rows]

    return generate


def made(folder):
    """Process and first row of each batch that was made."""
    lines = (folder.parent / "made.txt").read_text().split("\n")[:-1]
    return [(int(index), int(row)) for index, row in (line.split() for line in lines)]


BATCHES = [row for row in range(ROWS) if row % SHARD_ROWS in (0, BATCH)]


def run_together(out, world, **options):
    """As many processes that have begun before one of them makes its first image."""
    for path in out.parent.parent.glob("here-*"):
        path.unlink()
    return [
        start(lambda index=index: make(out, noting(out.parent, index, meet=world, **options), Rank(index, world)))
        for index in range(world)
    ]


@pytest.mark.parametrize("name", ["x.h5", "x"])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_any_number_of_processes_makes_the_same_bytes_and_no_shard_twice(folder, alone, world, name):
    assert ends(run_together(folder / name, world)) == [0] * world
    assert content(folder / name) == alone[name]
    assert [path.name for path in folder.iterdir()] == [name]
    assert sorted(row for _, row in made(folder)) == BATCHES
    assert {index for index, _ in made(folder)} == set(range(world)), "each had its share"


@pytest.mark.parametrize("dies_at", [1, 2, 4])
@pytest.mark.parametrize("world", [2, 4])
def test_the_living_take_over_what_a_killed_one_had_claimed(folder, alone, world, dies_at):
    """The others wait with their second batch until the first process is dead."""
    killed = start(lambda: make(folder / "x.h5", noting(folder, 0, world, dies_at), Rank(0, world)))
    dead = folder.parent / "dead"
    living = [
        start(
            lambda index=index: make(
                folder / "x.h5",
                noting(folder, index, world, waits_for=lambda batch: batch == 1 or dead.exists()),
                Rank(index, world),
            )
        )
        for index in range(1, world)
    ]
    assert ends([killed]) == [KILLED]
    assert ends(living) == [0] * (world - 1)
    assert content(folder / "x.h5") == alone["x.h5"]
    assert [path.name for path in folder.iterdir()] == ["x.h5"]
    assert {row for _, row in made(folder)} == set(BATCHES)


def shards_there(folder):
    return {int(path.stem.removeprefix("part-")) for path in (folder / "x.shards").glob("part-*.h5")}


@pytest.mark.parametrize(("before", "after"), [(1, 4), (2, 1), (4, 2)])
def test_all_killed_and_resumed_by_another_number(folder, alone, before, after):
    """Nobody goes on once three shards are there, and then all are killed."""
    processes = run_together(folder / "x.h5", before, waits_for=lambda batch: len(shards_there(folder)) < 3)
    until(lambda: len(shards_there(folder)) >= 3)
    for process in processes:
        os.kill(process, signal.SIGKILL)
    assert ends(processes) == [KILLED] * before
    kept = shards_there(folder)
    assert 3 <= len(kept) < SHARDS
    (folder.parent / "made.txt").unlink()
    assert ends(run_together(folder / "x.h5", after)) == [0] * after
    assert content(folder / "x.h5") == alone["x.h5"]
    again = {row // SHARD_ROWS for _, row in made(folder)}
    assert again == set(range(SHARDS)) - kept, "whole shards are not made again"


def test_processes_that_know_nothing_of_each_other(folder, alone):
    """Two commands in two terminals: both end well, and each shard is made once."""
    processes = [start(lambda index=index: make(folder / "x.h5", noting(folder, index, meet=2))) for index in range(2)]
    assert ends(processes) == [0, 0]
    assert content(folder / "x.h5") == alone["x.h5"]
    assert sorted(row for _, row in made(folder)) == BATCHES


def test_processes_that_begin_and_end_at_the_same_time_never_trip_over_each_other(folder, alone):
    """Beginning, merging and removing the folder, of which the late ones find any part."""
    for _ in range(8):
        processes = []
        for index in range(4):
            processes.append(start(lambda index=index: make(folder / "x.h5", rank=Rank(index, 4))))
            time.sleep(0.01)
        assert ends(processes) == [0] * 4
        assert content(folder / "x.h5") == alone["x.h5"]
        assert [path.name for path in folder.iterdir()] == ["x.h5"]
        (folder / "x.h5").unlink()


def without_locks(function):
    """As on a file system that has none."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def run():
        fcntl.lockf = refuse
        function()

    return run


def test_without_locks_the_ranks_divide_the_shards(folder, alone):
    processes = [
        start(without_locks(lambda index=index: make(folder / "x.h5", noting(folder, index, 3), Rank(index, 3))))
        for index in range(3)
    ]
    assert ends(processes) == [0] * 3
    assert content(folder / "x.h5") == alone["x.h5"]
    assert {row // SHARD_ROWS % 3 == index for index, row in made(folder)} == {True}


def test_without_locks_a_process_says_for_whom_it_has_waited(folder, alone, monkeypatch):
    monkeypatch.setattr(producing, "PATIENCE_SECONDS", 0.05)

    def lonely():
        with pytest.raises(ValueError, match=r"4 missing shards \(part-00001\.h5, part-00003\.h5.*same command again"):
            make(folder / "x.h5", rank=Rank(0, 2))

    assert in_child(without_locks(lonely)) == 0
    assert in_child(without_locks(lambda: make(folder / "x.h5", rank=Rank(1, 2)))) == 1, "the first merges"
    assert in_child(without_locks(lambda: make(folder / "x.h5", rank=Rank(0, 2)))) == 0
    assert content(folder / "x.h5") == alone["x.h5"]


def damage_shard(folder, shard):
    with h5py.File(store.shard_path(folder / "x.shards", shard), "r+") as file:
        file["images"][0, 0, 0, 0] ^= 1


def kill_before_merging(folder):
    def merge(*_):
        die()

    def run():
        store.merge = merge
        make(folder / "x.h5")

    assert in_child(run) == KILLED


def test_a_damaged_shard_is_named_and_made_again_alone(folder, alone):
    kill_before_merging(folder)
    damage_shard(folder, 2)
    lines = []
    make(folder / "x.h5", noting(folder, 0), log=lines.append)
    assert "part-00002.h5: damaged (checksum differs); it is made again" in lines[-1]
    assert {row // SHARD_ROWS for _, row in made(folder)} == {2}
    assert content(folder / "x.h5") == alone["x.h5"]


def test_a_disk_that_damages_what_is_made_again_is_no_endless_loop(folder, monkeypatch):
    merge = store.merge

    def damaging(*arguments):
        damage_shard(folder, 2)
        return merge(*arguments)

    monkeypatch.setattr(store, "merge", damaging)
    with pytest.raises(ValueError, match=r"part-00002\.h5: damaged .*again; check the disk"):
        make(folder / "x.h5")


def test_sigterm_keeps_whole_shards_and_gives_up_the_claims(folder, alone):
    def terminated(rows):
        if rows[0] == 2 * SHARD_ROWS:
            os.kill(os.getpid(), signal.SIGTERM)
        return IMAGES[rows]

    with pytest.raises(Preempted, match="the same command continues"):
        make(folder / "x.h5", terminated)
    assert sorted(path.name for path in (folder / "x.shards").glob("part-*.h5")) == ["part-00000.h5", "part-00001.h5"]
    assert not store.claims.is_claimed(folder / "x.shards")
    assert content(make(folder / "x.h5")) == alone["x.h5"]


def test_a_folder_where_the_file_shall_be_is_no_finished_set(folder):
    (folder / "x.h5").mkdir()
    with pytest.raises(ValueError, match=r"--out .*x\.h5: is a folder"):
        make(folder / "x.h5")


def test_force_leaves_what_another_process_is_making(folder, alone):
    process = start(lambda: make(folder / "x.h5", lambda rows: time.sleep(60)))
    until(lambda: store.claims.is_claimed(folder / "x.shards"))
    with pytest.raises(ValueError, match=r"x\.h5: another process is making it now"):
        store.remove_set(folder / "x.h5")
    os.kill(process, signal.SIGKILL)
    ends([process])
    store.remove_set(folder / "x.h5")
    assert not list(folder.iterdir())


def test_a_plan_that_a_removal_has_left_is_not_taken_for_this_one(folder, alone):
    """A late process may leave plan and lock in a folder whose manifest another one has just removed."""
    left = folder / "x.shards"
    store.begin(left, small_plan(5), PROVENANCE)
    (left / store.MANIFEST).unlink()
    assert content(make(folder / "x.h5")) == alone["x.h5"]
    store.begin(left, small_plan(5), PROVENANCE)
    (left / store.MANIFEST).unlink()
    (left / ".claims").touch()
    store.remove_shards(left)
    assert not left.exists()


def test_somebodys_plan_is_left_alone(folder):
    left = folder / "x.shards"
    left.mkdir()
    with h5py.File(left / "plan.h5", "w") as file:
        file["holidays"] = np.arange(3)
    with pytest.raises(ValueError, match="choose another --out"):
        make(folder / "x.h5")
    store.remove_shards(left)
    assert (left / "plan.h5").exists()


def test_room_is_only_given_back_while_shards_are_written(folder):
    """Of two processes that write at the same time, neither takes again what the other one has given back."""
    with store.Claims(folder) as claims:
        store.reserve(folder, 3_000_000, claims)
        sizes = []
        for size in (2_000_000, 2_500_000, 1_000_000):
            store.give_back(folder, size, claims)
            sizes.append((folder / ".reserve").stat().st_size)
        assert sizes == [2_000_000, 2_000_000, 1_000_000]
        assert (folder / ".reserve").stat().st_blocks * 512 >= 1_000_000, "taken, not only named"
        store.release_space(folder)
        store.give_back(folder, 1_000_000, claims)
    assert not (folder / ".reserve").exists()


def test_while_one_merges_none_takes_the_room_that_it_was_promised(folder, monkeypatch):
    """A process that comes late does not reserve space again, which would fill a disk of just the right size."""
    kill_before_merging(folder)
    merge = store.merge
    late = []

    def merging(*arguments):
        late.append(in_child(lambda: come_late(arguments[0])))
        return merge(*arguments)

    def come_late(shards):
        with store.Claims(shards) as claims:
            store.reserve(shards, 10_000_000, claims)
        assert not (shards / ".reserve").exists() or (shards / ".reserve").stat().st_size < 10_000_000

    monkeypatch.setattr(store, "merge", merging)
    make(folder / "x.h5")
    assert late == [0]


def test_a_process_that_only_waits_is_seen_by_force(folder):
    out = folder / "x.h5"
    store.begin(store.shard_folder(out), PLAN, PROVENANCE)
    reading, writing = os.pipe()

    def wait():
        with store.Claims(store.shard_folder(out)):
            os.write(writing, b"1")
            time.sleep(60)

    process = start(wait)
    try:
        os.read(reading, 1)
        with pytest.raises(ValueError, match="another process is making it now"):
            store.remove_set(out)
    finally:
        os.kill(process, signal.SIGKILL)
        ends([process])
    store.remove_set(out)
    assert list(folder.iterdir()) == []


def test_sigterm_in_the_merge_keeps_all_shards(folder, alone, monkeypatch):
    out = folder / "x.h5"
    read = store.sets._read_shard

    def terminated(*shard):
        if shard[1] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return read(*shard)

    with monkeypatch.context() as patch:
        patch.setattr(store.sets, "_read_shard", terminated)
        with pytest.raises(Preempted, match="whole shards"):
            make(out)
    assert [path.name for path in folder.iterdir()] == ["x.shards"]
    assert len(list((folder / "x.shards").glob("part-*.h5"))) == SHARDS
    assert content(make(out)) == alone["x.h5"]
