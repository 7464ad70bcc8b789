"""Files appear whole or not at all, whoever is killed when."""

import errno
import hashlib
import math
import os
import socket

import pytest

from augment import files
from tests.killing import die, in_child


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def part_of(process, name="a.bin"):
    return f".{name}.{socket.gethostname()}.{process}.part"


def fail(path, error):
    with files.appearing(path) as part:
        part.write_bytes(b"new, but")
        raise error


def test_a_file_appears_at_the_end_only(tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    with files.appearing(path) as part:
        part.write_bytes(b"whole")
        assert part.parent == path.parent
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert listed(path.parent) == ["a.bin"]


def test_an_error_removes_the_part_and_keeps_the_old_file(tmp_path):
    path = files.write_atomic(tmp_path / "a.bin", b"old")
    with pytest.raises(RuntimeError, match="no more"):
        fail(path, RuntimeError("no more"))
    assert path.read_bytes() == b"old"
    assert listed(tmp_path) == ["a.bin"]


def test_a_kill_while_writing_leaves_no_visible_file(tmp_path):
    path = files.write_atomic(tmp_path / "a.bin", b"old")

    def write():
        with files.appearing(path) as part:
            part.write_bytes(b"new, but")
            die()

    assert in_child(write) == -9
    assert path.read_bytes() == b"old"
    assert [name for name in listed(tmp_path) if not name.startswith(".")] == ["a.bin"]
    files.remove_parts(tmp_path)
    assert listed(tmp_path) == ["a.bin"]


def test_only_the_parts_of_dead_processes_of_this_machine_are_removed(tmp_path):
    dead = os.fork() or os._exit(0)
    os.waitpid(dead, 0)
    for name in (part_of(dead), part_of(os.getpid()), part_of("x"), ".a.bin.elsewhere.1.part", "a.part"):
        (tmp_path / name).touch()
    files.remove_parts(tmp_path)
    assert listed(tmp_path) == sorted([part_of(os.getpid()), part_of("x"), ".a.bin.elsewhere.1.part", "a.part"])


def test_two_processes_do_not_write_into_each_others_part(tmp_path):
    path = tmp_path / "a.bin"
    with files.appearing(path) as part:
        part.write_bytes(b"first")
        assert in_child(lambda: files.write_atomic(path, b"second")) == 0
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught:
        fail(tmp_path / "a.bin", OSError(errno.ENOSPC, "No space left on device"))
    assert caught.value.filename == str(tmp_path / "a.bin")
    assert listed(tmp_path) == []


def test_json_round_trip_and_its_refusals(tmp_path):
    path = files.write_json(tmp_path / "a.json", {"a": [1, 0.5, None]})
    assert files.read_json(path) == {"a": [1, 0.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, math.nan)
    assert files.read_json(path) == {"a": [1, 0.5, None]}
    path.write_bytes(b'{"a": ')
    with pytest.raises(ValueError, match=r"a\.json: not a JSON file"):
        files.read_json(path)


def test_of_several_writers_the_first_wins(tmp_path):
    path = tmp_path / "folder" / "a.bin"
    assert in_child(lambda: os._exit(0 if files.write_new(path, b"first") else 1)) == 0
    assert not files.write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert listed(path.parent) == ["a.bin"]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    sync = files.sync
    monkeypatch.setattr(files, "sync", lambda part: (path.write_bytes(b"theirs"), sync(part)))
    assert not files.write_new(path, b"ours")
    assert path.read_bytes() == b"theirs"
    assert listed(tmp_path) == ["a.bin"]


def test_space_is_reserved_and_given_back(tmp_path):
    path = tmp_path / "reserve"
    for size in (2**20, 2**21, 2**12, 0):
        files.reserve(path, size)
        assert (path.stat().st_size, path.stat().st_blocks * 512 >= size) == (size, True)


def test_what_cannot_be_reserved_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        files.reserve(tmp_path / "reserve", 2**50)
    assert listed(tmp_path) == []


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
