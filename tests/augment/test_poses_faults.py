"""Annotating images, stopped at any moment: the same command goes on, and what lies there is never mixed up."""

import errno
import io
import os
import re
import resource
import signal

import numpy as np
import pytest
from PIL import Image

from augment import files, poses
from augment.data.images import read_image
from augment.interruption import Preempted
from augment.pose_estimation import provenance_path
from augment.poses import PosesConfig, prepare, run
from augment.rtmpose import RTMPose
from tests.annotating import alone, write_folder
from tests.killing import die, in_child
from tests.rtmpose_network import dotted, write_constants, write_network

SMALL = PosesConfig(batch=4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("weights") / "end2end.onnx", (64, 48))


@pytest.fixture
def folder(pedestrians, tmp_path):
    return write_folder(pedestrians, tmp_path / "images")


@pytest.fixture
def whole(folder, weights, tmp_path):
    """The bytes of an undisturbed run."""
    out = run(SMALL, folder, tmp_path / "whole" / "poses.csv", weights=weights)
    return out.read_bytes()


class Counting:
    """Counts the images that an estimator is asked for, and calls `then` after so many."""

    def __init__(self, monkeypatch, after, then):
        self.seen = 0
        find = RTMPose.detect

        def detect(estimator, images):
            self.seen += len(images)
            found = find(estimator, images)
            if after <= self.seen:
                then()
            return found

        monkeypatch.setattr(RTMPose, "detect", detect)


def exchange(image):
    """Another picture in a file of the same size and time; what follows the end of a JPEG is not read."""
    before, other = image.stat(), io.BytesIO()
    Image.fromarray(np.zeros_like(read_image(image))).save(other, "JPEG", quality=10)
    image.write_bytes(other.getvalue().ljust(before.st_size, b"\0"))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert image.stat().st_size == before.st_size
    assert image.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("after", [1, 6, 11])
def test_a_killed_run_goes_on_where_it_was(folder, weights, whole, tmp_path, monkeypatch, after):
    out = tmp_path / "poses.csv"
    monkeypatch.setattr(poses, "SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        Counting(patch, after, die)
        assert in_child(lambda: run(SMALL, folder, out, weights=weights)) == -signal.SIGKILL
    assert not out.exists()
    counting = Counting(monkeypatch, 99, die)
    run(SMALL, folder, out, weights=weights)
    assert out.read_bytes() == whole
    assert counting.seen == 11 - 4 * ((after - 1) // 4), "whole batches are not looked at again"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["poses.csv", "poses.csv.json"]


def test_killed_before_each_file_is_renamed(folder, weights, whole, tmp_path, monkeypatch):
    out = tmp_path / "poses.csv"
    monkeypatch.setattr(poses, "SAVE_SECONDS", 0.0)
    seen = set()

    def dying(name):
        replace = type(out).replace

        def stop(path, target):
            if target.name == name:
                die()
            return replace(path, target)

        monkeypatch.setattr(type(out), "replace", stop)
        run(SMALL, folder, out, weights=weights)

    for name in ("poses.csv.partial", "poses.csv.json", "poses.csv"):
        assert in_child(lambda name=name: dying(name)) == -signal.SIGKILL
        seen |= {path.name for path in tmp_path.iterdir()}
        assert not out.exists()
    assert {"poses.csv.partial", "poses.csv.json"} <= seen
    assert run(SMALL, folder, out, weights=weights).read_bytes() == whole
    assert not list(tmp_path.glob(".*")), "what the killed processes were writing is gone"


def test_sigterm_saves_everything(folder, weights, whole, tmp_path, monkeypatch):
    out = tmp_path / "poses.csv"
    with monkeypatch.context() as patch:
        Counting(patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Preempted, match=r"saved in .*poses\.csv\.partial"):
            run(SMALL, folder, out, weights=weights)
    job = prepare(SMALL, folder, out, weights=weights)
    assert str(job) == f"11 images by rtmpose, 4 of them done, into {out}"
    assert run(SMALL, folder, out, weights=weights).read_bytes() == whole


@pytest.mark.parametrize(("after", "done"), [(1, 0), (5, 4), (8, 4), (9, 8), (11, 8)])
def test_an_interruption_saves_what_is_done_and_exits_with_130(
    augment, folder, weights, whole, tmp_path, monkeypatch, after, done
):
    out = tmp_path / "poses.csv"
    given = ("poses", folder, "--out", out, "--weights", weights, "--batch", 4)
    with monkeypatch.context() as patch:
        Counting(patch, after, lambda: os.kill(os.getpid(), signal.SIGINT))
        found = augment(*given)
    assert (found.code, found.out) == (130, "")
    assert "goes on from what was saved" in found.err
    assert augment(*given, "--dry-run").out == f"11 images by rtmpose, {done} of them done, into {out}\n"
    assert (tmp_path / "poses.csv.partial").exists() == bool(done), "nothing is left where nothing was found"
    counting = Counting(monkeypatch, 99, die)
    assert augment(*given).code == 0
    assert counting.seen == 11 - done
    assert out.read_bytes() == whole


def test_a_second_interruption_keeps_what_the_first_run_saved(folder, weights, whole, tmp_path, monkeypatch):
    out = tmp_path / "poses.csv"
    for _ in range(2):
        with monkeypatch.context() as patch:
            Counting(patch, 5, lambda: os.kill(os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                run(SMALL, folder, out, weights=weights)
    assert str(prepare(SMALL, folder, out, weights=weights)).startswith("11 images by rtmpose, 8 of them done")
    assert run(SMALL, folder, out, weights=weights).read_bytes() == whole


def test_an_image_that_was_repaired_is_looked_at_again(folder, weights, tmp_path, monkeypatch):
    out = tmp_path / "poses.csv"
    monkeypatch.setattr(poses, "SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        Counting(patch, 8, die)
        in_child(lambda: run(SMALL, folder, out, weights=weights))
    image = min(folder.glob("*.jpg"))
    Image.fromarray(dotted(np.full((17, 2), 20), (60, 40))).save(image)
    counting = Counting(monkeypatch, 99, die)
    run(SMALL, folder, out, weights=weights)
    assert counting.seen == 11 - 4 + 1, "all but the four that were saved, and one of these"
    assert out.read_text() == alone(sorted(folder.glob("*.jpg")), weights)


def test_an_image_exchanged_for_one_of_equal_size_and_time_is_looked_at_again(folder, weights, tmp_path, monkeypatch):
    out = tmp_path / "poses.csv"
    with monkeypatch.context() as patch:
        Counting(patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Preempted):
            run(SMALL, folder, out, weights=weights)
    image = min(folder.glob("*.jpg"))
    exchange(image)
    counting = Counting(monkeypatch, 99, die)
    run(SMALL, folder, out, weights=weights)
    assert counting.seen == 11 - 4 + 1
    assert out.read_text() == alone(sorted(folder.glob("*.jpg")), weights)


def test_a_full_disk_leaves_nothing_that_looks_whole(folder, weights, whole, tmp_path):
    out = tmp_path / "poses.csv"

    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) - 1, resource.RLIM_INFINITY))
        try:
            run(SMALL, folder, out, weights=weights)
        except OSError as error:
            os._exit(error.errno if error.filename == str(out) else 1)

    assert in_child(fill) == errno.EFBIG
    assert not out.exists()
    assert not list(tmp_path.glob("*.part"))
    assert run(SMALL, folder, out, weights=weights).read_bytes() == whole


def test_what_is_there_is_left_alone_or_refused(folder, weights, tmp_path, monkeypatch):
    out, lines = tmp_path / "poses.csv", []
    run(SMALL, folder, out, weights=weights)
    before = out.stat().st_mtime_ns
    run(SMALL, folder, out, weights=weights, log=lines.append)
    assert lines[0] == "already done"
    assert out.stat().st_mtime_ns == before

    def refused(words, weights=weights):
        with pytest.raises(ValueError, match=words):
            run(SMALL, folder, out, weights=weights)

    ends = np.eye(1, 17 * 384).reshape(1, 17, 384), np.eye(1, 17 * 512).reshape(1, 17, 512)
    other = write_constants(tmp_path / "other.onnx", *ends)
    refused(r"poses\.csv: was made by another estimator \(weights_sha256: '.*' there, '.*' asked", other)
    image = min(folder.glob("*.jpg"))
    exchange(image)
    refused("was made of other images, or of these before a file was changed; choose another --out, or --force")
    image.unlink()
    refused(r"was made of other images \(11, now 10\); choose another --out, or --force")
    out.write_text(out.read_text() + "\n")
    refused(r"poses\.csv: is not the file that poses\.csv\.json tells of")
    provenance_path(out).unlink()
    refused("nothing says by what it was made")
    run(SMALL, folder, out, weights=weights, force=True)
    assert out.read_text() == alone(sorted(folder.glob("*.jpg")), weights)

    out.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(poses, "SAVE_SECONDS", 0.0)
        Counting(patch, 8, die)
        in_child(lambda: run(SMALL, folder, out, weights=weights))
    refused(r"poses\.csv\.partial: was begun with another estimator \(weights_sha256", other)
    path = tmp_path / "poses.csv.partial"
    said = files.read_json(path)
    name, (checksum, line) = next(iter(said["lines"].items()))
    for content in ([], *(said | {"lines": {name: entry}} for entry in (1, [line, checksum], [True, line]))):
        files.write_json(path, content)
        refused(r"poses\.csv\.partial: no unfinished annotation; remove it")
    for entry, words in (
        (line[:-1], f"{name}: expected two JSON lists of numbers after the name"),
        (f"{name}: [1, 2]: [1, 2]", f"{name}: keypoints_y has 2 values, expected 18"),
        (line.replace(name, "x.jpg"), f"{name} has the line of another image"),
    ):
        files.write_json(path, said | {"lines": {name: [checksum, entry]}})
        refused(rf"poses\.csv\.partial.*{re.escape(words)}.*; remove it or choose another --out")
