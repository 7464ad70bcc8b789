"""The process that reads may hang, crash or ask for too much, and writes nothing; the command says what was found."""

import json
import resource
import signal
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

from augment import verification
from augment.cli import group
from augment.verification import OK, WRONG, Check, run
from tests import fuzzing
from tests.forging import change, set_attribute, set_value
from tests.fuzzing import SELECTION, SET

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
