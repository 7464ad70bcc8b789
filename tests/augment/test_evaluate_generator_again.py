"""What is asked twice: already done, refused with what differs, measured again; dry runs; floors; results by name."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from augment import files
from augment.data import keypoints
from augment.data.read import read_data
from augment.evaluate_generator import run
from augment.image_subjects import EvaluateGeneratorConfig
from tests.command_line import caller
from tests.random_backbones import write_alexnet


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def augment(monkeypatch, capsys, cache):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(cache))
    monkeypatch.delenv("TORCH_HOME", raising=False)
    return caller(monkeypatch, capsys)


def ask(augment, data, out, *more, generator: str | None = "copy", count=5):
    given = ("--generator", generator) if generator else ()
    counted = ("--count", count) if generator else ()
    return augment("evaluate-generator", data, *given, *counted, "--device", "cpu", "--out", out, *more)


ONE = ("--metrics", "l1", "--metrics", "ssim")


def test_what_is_there_is_not_measured_again(pedestrians, tmp_path, augment, monkeypatch):
    out = tmp_path / "x.json"
    first = ask(augment, pedestrians, out, *ONE)
    assert first.code == 0, first.err
    written = out.read_bytes()
    monkeypatch.setattr("augment.image_measuring.Passes", None)
    again = ask(augment, pedestrians, out, "--require", "ssim", "--metrics", "l1", "--batch", 3)
    assert (again.code, again.out) == (0, first.out), "the same metrics in other words, other blocks"
    assert "already done" in again.err
    assert out.read_bytes() == written


@pytest.mark.parametrize(
    ("more", "options", "said"),
    [
        (("--metrics", "l1"), {}, "metrics (['l1', 'ssim'] there, ['l1'] here)"),
        ((*ONE, "--seed", 1), {}, "seed (0 there, 1 here)"),
        ((*ONE, "--save", "jpeg"), {}, "save (lossless there, jpeg here)"),
        (ONE, {"count": 6}, "compared.pairs (5 random pairs of test identities, of any cameras there, 6 random"),
        (ONE, {"generator": "warp"}, "generator.model (copy there, warp here)"),
    ],
)
def test_results_of_something_else_are_refused(pedestrians, tmp_path, augment, more, options, said):
    out = tmp_path / "x.json"
    assert ask(augment, pedestrians, out, *ONE).code == 0
    written = out.read_bytes()
    found = ask(augment, pedestrians, out, *more, **options)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"Error: --out {out}: holds results of something else: ")
    assert said in found.err.replace("['ssim', 'l1']", "['l1', 'ssim']")
    assert found.err.endswith("choose another --out, or --force to measure again\n")
    assert out.read_bytes() == written
    assert ask(augment, pedestrians, out, *more, "--force", **options).code == 0
    assert out.read_bytes() != written


def test_a_file_of_something_else_is_refused(pedestrians, tmp_path, augment):
    out = tmp_path / "x.json"
    for content, said in (("{}", "holds something else than results"), ("[1]", "something else"), ("{", "not a JSON")):
        out.write_text(content)
        found = ask(augment, pedestrians, out, *ONE)
        assert (found.code, found.out) == (2, "")
        assert said in found.err
        assert out.read_text() == content


def test_weights_that_have_come_are_something_else(pedestrians, tmp_path, augment, cache):
    out = tmp_path / "x.json"
    lpips = ("--metrics", "lpips", "--metrics", "l1")
    assert "not computed" in ask(augment, pedestrians, out, *lpips).out
    weights = cache / "checkpoints" / "alexnet-owt-7be5be79.pth"
    weights.parent.mkdir(parents=True)
    write_alexnet(weights)
    found = ask(augment, pedestrians, out, *lpips)
    assert found.code == 2
    assert "networks.alexnet.weights_sha256 (None there, " in found.err
    assert ask(augment, pedestrians, out, *lpips, "--force").code == 0
    assert "lpips" in json.loads(out.read_text())["metrics"]


def test_a_folder_that_has_changed_is_something_else(pedestrians, tmp_path, augment):
    real, out = tmp_path / "real", tmp_path / "x.json"
    shutil.copytree(pedestrians / "query", real)
    arguments = ("--images", real, *ONE)
    assert ask(augment, real, out, *arguments, generator=None).code == 0
    moved = real.rename(tmp_path / "moved")
    again = ask(augment, moved, out, "--images", moved, *ONE, generator=None)
    assert "already done" in again.err, again.err
    one, two = sorted(moved.glob("*.jpg"))[:2]
    shutil.copy(one, two)
    found = ask(augment, moved, out, "--images", moved, *ONE, generator=None)
    assert found.code == 2
    assert "compared.images_digest" in found.err
    assert "compared.real_digest" in found.err


def test_a_sheet_that_is_not_there_is_drawn(pedestrians, tmp_path, augment):
    out, sheet = tmp_path / "x.json", tmp_path / "x.png"
    assert ask(augment, pedestrians, out, *ONE).code == 0
    written = json.loads(out.read_text())
    found = ask(augment, pedestrians, out, *ONE, "--sheet", sheet)
    assert f"measuring again: {sheet} shows images" in found.err
    assert json.loads(out.read_text()) == written | {"sheet_sha256": files.sha256(sheet)}
    assert "already done" in ask(augment, pedestrians, out, *ONE, "--sheet", sheet).err
    assert "already done" in ask(augment, pedestrians, out, *ONE).err


def test_the_sheet_of_another_evaluation_is_replaced(pedestrians, tmp_path, augment):
    out, sheet, other = tmp_path / "warp.json", tmp_path / "copy.png", tmp_path / "copy.json"
    assert ask(augment, pedestrians, other, *ONE, "--sheet", sheet).code == 0
    stale = sheet.read_bytes()
    assert ask(augment, pedestrians, out, *ONE, generator="warp").code == 0
    found = ask(augment, pedestrians, out, *ONE, "--sheet", sheet, generator="warp")
    assert f"measuring again: {sheet} is not the sheet of {out}" in found.err
    assert sheet.read_bytes() != stale
    assert "already done" in ask(augment, pedestrians, out, *ONE, "--sheet", sheet, generator="warp").err
    again = ask(augment, pedestrians, other, *ONE, "--sheet", sheet)
    assert "already done" not in again.err
    assert sheet.read_bytes() == stale


def test_a_run_stopped_between_sheet_and_results_is_not_done(pedestrians, tmp_path, augment, monkeypatch):
    out, sheet = tmp_path / "x.json", tmp_path / "x.png"
    assert ask(augment, pedestrians, out, *ONE, "--sheet", sheet).code == 0

    def full(path, value):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as stopped:
        stopped.setattr("augment.evaluate_generator.files.write_json", full)
        assert ask(augment, pedestrians, out, *ONE, "--sheet", sheet, "--force", generator="warp").code != 0
    held = json.loads(out.read_text())
    assert held["provenance"]["generator"]["model"] == "copy"
    assert held["sheet_sha256"] != files.sha256(sheet)
    assert "measuring again" in ask(augment, pedestrians, out, *ONE, "--sheet", sheet).err


def test_a_stale_sheet_is_not_taken_for_one_that_could_not_be_drawn(pedestrians, tmp_path, augment):
    out, sheet = tmp_path / "x.json", tmp_path / "x.png"
    Image.new("RGB", (8, 8)).save(sheet)
    for _ in range(2):
        found = ask(augment, pedestrians, out, "--metrics", "fid", "--sheet", sheet)
        assert "no sheet" in found.err
        assert "sheet_sha256" not in json.loads(out.read_text())


def test_a_dry_run_says_which_pairs_and_metrics_and_computes_nothing(pedestrians, tmp_path, augment, monkeypatch):
    out = tmp_path / "x.json"
    found = ask(augment, pedestrians, out, *ONE, "--metrics", "lpips", "--metrics", "pose_coverage", "--dry-run")
    assert found.code == 0, found.err
    assert found.out.splitlines() == [
        "5 random pairs of test identities, of any cameras: 5 images of 128x64, 5 with a true one",
        f"{'ssim':<20}  patn",
        f"{'l1':<20}  grey levels",
        found.out.splitlines()[3],
        f"{'pose_coverage':<20}  cannot be computed: describes a synthetic set: give one as --images X.h5",
    ]
    assert found.out.splitlines()[3].startswith(f"{'lpips':<20}  cannot be computed: weights missing, put ")
    assert not out.exists()
    lacking = ask(augment, pedestrians, out, *ONE, "--require", "lpips", "--dry-run")
    assert (lacking.code, "--require lpips: not computed: weights missing" in lacking.err) == (1, True)
    assert ask(augment, pedestrians, out, *ONE).code == 0
    assert ask(augment, pedestrians, out, *ONE, "--dry-run").out.splitlines()[-1] == "already done"
    refused = ask(augment, pedestrians, out, *ONE, "--dry-run", count=6)
    assert (refused.code, "holds results of something else" in refused.err) == (2, True)


def test_floors_are_what_a_copy_of_the_source_scores(pedestrians):
    names = ("ssim", "ssim_standard", "ssim_pg2", "mask_ssim", "ssim_in_mask", "psnr", "l1")
    config = EvaluateGeneratorConfig(names, count=9, batch=4)
    copied, warped = (
        run(config, pedestrians, generator=Path(name), device="cpu")["metrics"] for name in ("copy", "warp")
    )
    for name in names:
        for found in (copied, warped):
            assert found[name]["floor"]["value"] == pytest.approx(copied[name]["value"], rel=1e-12)
            assert (found[name]["floor"]["n"], found[name]["floor"]["of"]) == (9, "source and true image")
        assert warped[name]["value"] != pytest.approx(copied[name]["value"], rel=1e-3)


def test_results_of_a_test_script_score_as_the_generator_that_made_them(pedestrians, tmp_path, augment):
    """Copies of the source under the names that PATN's script gives, panels and all."""
    dataset = read_data(pedestrians)
    test = sorted({*dataset.query, *dataset.gallery}, key=lambda record: record.name)
    by_person = {}
    for record in keypoints.usable(test, keypoints.dataset_points(dataset)):
        by_person.setdefault(record.pid, []).append(record)
    chosen = [tuple(images[:2]) for pid, images in by_person.items() if pid > 0]
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("from,to\n" + "".join(f"{a.name},{b.name}\n" for a, b in chosen))
    results = tmp_path / "images"
    results.mkdir()
    for source, target in chosen:
        shutil.copy(source.path, results / f"{source.name}___{target.name}_vis.jpg")
    masks = (*ONE, "--metrics", "mask_ssim", "--format", "json")
    copied = ask(augment, pedestrians, tmp_path / "copy.json", *masks, "--pairs", pairs, count=100)
    found = ask(augment, pedestrians, tmp_path / "results.json", *masks, "--images", results, generator=None)
    assert (copied.code, found.code) == (0, 0), copied.err + found.err
    one, two = (json.loads(each.out) for each in (copied, found))
    for name in ("ssim", "l1", "mask_ssim"):
        for key in ("value", "n", "floor", "identities"):
            assert one["metrics"][name][key] == pytest.approx(two["metrics"][name][key])
    assert two["provenance"]["results"] == "images"
    assert any("by which network these images were made" in note for note in two["provenance"]["notes"])
    table = ask(augment, pedestrians, tmp_path / "results.json", *masks[:-2], "--images", results, generator=None)
    assert "already done" in table.err
    assert "PATN, its released weights" in table.out
