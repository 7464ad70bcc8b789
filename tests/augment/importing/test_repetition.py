"""What is asked twice, killed, or given to the command: done, other, or as if it had never begun."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment import importing, store
from augment.importing import ImportConfig, prepare
from tests.importing import CONFIG, SIZE, made, pixels
from tests.killing import die, in_child

# Done, other, killed


def test_done_work_is_recognised(given, pedestrians, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    reader, lines, seen = made(given, pedestrians), [], []
    held = reader.path.read_bytes()
    made(given, pedestrians, log=lines.append)
    assert lines == ["already done"]
    made(given, pedestrians, force=True, progress=lambda *count: seen.append(count))
    assert reader.path.read_bytes() == held
    assert seen[-1] == (5, 5)


def test_other_inputs_are_refused_naming_what_differs(given, pedestrians):
    made(given, pedestrians)
    held = given.out.read_bytes()
    with pytest.raises(ValueError, match=r"generator\.model \(diffusion there, other here\); choose .*--force"):
        made(given, pedestrians, ImportConfig("other"))
    with pytest.raises(ValueError, match=r"config\.size \(None there, \[24, 12\] here\)"):
        made(given, pedestrians, ImportConfig("diffusion", SIZE))
    Image.fromarray(pixels(77)).save(given.folder / "c2.png")
    shutil.move(given.folder / "c2.png", given.folder / "a.png")
    with pytest.raises(ValueError, match=r"holds another set: config\.images_sha256"):
        made(given, pedestrians)
    given.write(seed=[1] * 5)
    with pytest.raises(ValueError, match=r"plan_sha256.*table_sha256"):
        made(given, pedestrians)
    assert given.out.read_bytes() == held
    np.testing.assert_array_equal(made(given, pedestrians, force=True).image(0), pixels(77))


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_set_is_left_alone(given, pedestrians, force):
    given.out.write_text("x")
    with pytest.raises(ValueError, match=r"x\.h5: not an HDF5 file"):
        made(given, pedestrians, force=force)
    assert given.out.read_text() == "x"
    for name in ("x", "x.scores.h5"):
        given.out = given.out.with_name(name)
        with pytest.raises(ValueError, match="expected a file name"):
            made(given, pedestrians, force=force)


def test_a_set_that_is_not_replaced_after_all_stays(given, pedestrians):
    """What is found while images are decoded comes after the checks of --force."""
    made(given, pedestrians)
    held = given.out.read_bytes()
    Image.fromarray(pixels(5, channels=4)).save(given.folder / "e.png")
    with pytest.raises(ValueError, match="transparent"):
        made(given, pedestrians, force=True)
    assert given.out.read_bytes() == held


def test_a_kill_leaves_nothing_that_looks_whole(given, pedestrians, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    monkeypatch.setattr(importing, "BATCH", 2)
    for moment in range(5):

        def killed(moment=moment):
            real, calls = importing.read_image, []
            importing.read_image = lambda *a: die() if len(calls) == moment else (calls.append(1), real(*a))[1]
            made(given, pedestrians)

        assert in_child(killed) == -9
        assert not given.out.exists()
    whole = made(given, pedestrians).path.read_bytes()
    assert not list(given.out.parent.glob(".*part")), "what the killed ones left"
    assert made(given, pedestrians, force=True).path.read_bytes() == whole


def test_a_full_disk_is_said_before_anything_is_written(given, pedestrians, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        made(given, pedestrians)
    assert sorted(path.name for path in given.out.parent.iterdir()) == ["images", "images.csv"]


def test_images_are_streamed(given, pedestrians, monkeypatch):
    """No more of them are in memory than a batch."""
    monkeypatch.setattr(importing, "BATCH", 2)
    job = prepare(CONFIG, given.folder, given.table, pedestrians)
    assert [len(batch) for batch in importing._pixels(job, None)] == [2, 2, 1]


# Configuration and command


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"generator_name": " "}, "--generator-name"),
        ({"generator_name": "a\nb"}, "--generator-name"),
        ({"generator_name": "a", "size": (0, 4)}, "--size 0x4"),
    ],
)
def test_impossible_configurations(options, said):
    with pytest.raises(ValueError, match=said):
        ImportConfig(**options)


def test_command(augment, given, pedestrians):
    words = ["import", given.folder, "--table", given.table, "--data", pedestrians, "--out", given.out]
    code, out, _ = augment(*words, "--dry-run")
    assert (code, given.out.exists()) == (0, False)
    assert [line.split() for line in out.splitlines()[:2]] == [
        ["images", "5", "of", "24", "x", "12", "pixels"],
        ["identities", str(len({source.pid for source in given.sources}))],
    ]
    assert augment(*words)[:2] == (0, f"{given.out}\n")
    assert store.Reader(given.out).attributes["generator"]["model"] == "images", "the folder's name"
    assert "already done" in augment(*words).err
    code, out, err = augment(*words, "--size", "12x6")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert augment(*words, "--size", "12x6", "--force", "--generator-name", "SDXL").code == 0
    assert store.Reader(given.out).size == (12, 6)
    code, out, err = augment(*words[:-1], Path("y.h5"), "--poses", pedestrians / "market-annotation-train.csv")
    assert (code, err.count("\n")) == (2, 1)
    given.write(source=["x.jpg"] * 5)
    code, out, err = augment(*words, "--force")
    assert (code, out, err.count("\n")) == (2, "", 1)
