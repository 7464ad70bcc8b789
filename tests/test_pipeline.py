"""The whole chain through the command line, on a few small images; and on a disk that is too small for it."""

import json
import os
import subprocess

import pytest

from augment import files, train_generator, validation
from augment.store import Reader
from tests.command_line import caller

PEOPLE = ("--identities", 4, "--test-identities", 3, "--cameras", 2, "--per-camera", 3, "--size", "64x32")
GENERATOR = ("--preset", "tiny", "--images", 16, "--validation", 1, "--device", "cpu")
REID = ("--size", "64x32", "--epochs", 1, "--batch", 8, "--device", "cpu")


@pytest.fixture
def augment(monkeypatch, capsys):
    monkeypatch.setattr(validation, "PAIRS", 8)
    monkeypatch.setattr(validation, "SHEET_PAIRS", 4)
    monkeypatch.setattr(train_generator, "SHEET_PAIRS", 4)
    return caller(monkeypatch, capsys)


def require_results(path, queries, gallery):
    found = files.read_json(path)
    assert found["schema"] == 1
    assert set(found["cmc"]) >= {"1", "5", "10", "20"}
    assert 0 < found["mINP"] <= 1
    assert all(0 <= value <= 1 for value in found["cmc"].values())
    assert (found["num_query"], found["num_gallery"]) == (queries, gallery)
    assert {len(found["per_query"][key]) for key in ("pid", "camid", "ap", "rank1")} == {queries}
    assert sum(found["per_query"]["ap"]) / queries == pytest.approx(found["mAP"])
    assert found["iterations"] > 0
    assert found["images_seen"] > 0
    assert found["seconds"] > 0
    assert found["config"]["training"]["epochs"] == 1
    return found


def test_the_chain(augment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        outcome = augment(*arguments)
        assert outcome.code == 0, outcome.err
        return outcome.out

    assert run("make-data", "data", *PEOPLE) == "data\n"
    counts = json.loads(run("check", "data", "--deep", "--json"))["counts"]
    assert counts["train"]["identities"] == 4
    weights = run("train-generator", "data", "--out", "generator", *GENERATOR)
    assert weights == "generator/generator.safetensors\n"
    made = run(
        "synthesize", "data", "--generator", "generator", "--out", "x.h5", "--per-image", 2,
        "--sheet", "x.png", "--device", "cpu",
    )  # fmt: skip
    assert made == "x.h5\n"
    found = json.loads(run("inspect", "x.h5", "--checksums", "--json"))
    assert found["images"] == 2 * counts["train"]["with_shoulders_and_hips"]
    assert found["damaged_rows"] == []
    assert found["generator"]["weights_sha256"] == files.sha256(tmp_path / "generator" / "generator.safetensors")
    assert (tmp_path / "x.png").exists()

    sizes = counts["query"]["images"], counts["gallery"]["images"]
    out = run("train-reid", "data", "--out", "real", *REID)
    real = require_results(tmp_path / "real" / "results.json", *sizes)
    assert out.splitlines()[0].startswith(f"mAP {real['mAP']:.1%}  rank-1 {real['cmc']['1']:.1%}")
    run("train-reid", "data", "--out", "mixed", *REID, "--synthetic", "x.h5", "--ratio", 1)
    mixed = require_results(tmp_path / "mixed" / "results.json", *sizes)
    assert real["provenance"]["synthetic"] == []
    assert mixed["provenance"]["synthetic"][0]["content_sha256"] == Reader(tmp_path / "x.h5").content_sha256
    assert mixed["images_seen"] > real["images_seen"]
    assert mixed["per_query"]["pid"] == real["per_query"]["pid"]

    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    for arguments in (
        ("make-data", "data", *PEOPLE),
        ("train-generator", "data", "--out", "generator", *GENERATOR),
        ("train-reid", "data", "--out", "real", *REID),
    ):
        run(*arguments)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == made


@pytest.fixture
def small_disk(tmp_path):
    """A file system with a given number of KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True)
    except OSError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("mounting needs privileges")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def resize(disk, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def test_a_full_disk(augment, small_disk, tmp_path):
    """Each stage says so in one line and leaves nothing half-written; with more space the same command continues."""
    data = tmp_path / "data"
    assert augment("make-data", data, *PEOPLE).code == 0
    assert augment("train-generator", data, "--out", tmp_path / "generator", *GENERATOR).code == 0
    synthesize = ("synthesize", data, "--generator", tmp_path / "generator", "--device", "cpu", "--per-image", 3)
    stages = {
        "data": ("make-data", small_disk / "data", *PEOPLE, "--per-camera", 6),
        "run": ("train-generator", data, "--out", small_disk / "run", *GENERATOR),
        "x.h5": (*synthesize, "--out", small_disk / "x.h5"),
        "reid": ("train-reid", data, "--out", small_disk / "reid", *REID),
    }
    for name, arguments in stages.items():
        resize(small_disk, "200k")
        code, out, err = augment(*arguments)
        last = err.splitlines()[-1]
        assert (code, out) == (2, ""), name
        if name == "x.h5":  # known before the first image
            assert "--per-image 3: 60 images take 0.4 MB, and the disk has 0.2 MB for them" in last
        else:
            assert last.startswith(f"Error: {small_disk}{os.sep}{name.partition('.')[0]}"), last
            assert "no space left on device; free some or choose another --out" in last
        assert not [
            path for path in small_disk.rglob("*") if path.name.endswith((".part", ".h5.part")) or ".part-" in path.name
        ]
        resize(small_disk, "100m")
        assert augment(*arguments).code == 0
        assert (small_disk / name).exists()
        subprocess.run(["find", small_disk, "-mindepth", "1", "-delete"], check=True)
