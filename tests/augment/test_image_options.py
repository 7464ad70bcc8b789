"""What `evaluate-generator` refuses before any work: options without effect, outputs that could not be written."""

import shutil

import pytest

from augment.commands.evaluate_generator import METRICS
from augment.image_metrics import networks_of
from augment.image_networks import Asked
from augment.image_options import require_used


@pytest.fixture
def folder(pedestrians, tmp_path):
    shutil.copytree(pedestrians / "query", tmp_path / "images")
    for name in ("weights.pth", "points.csv", "taken.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--panel", "6/5"), "expected PLACE/COUNT, such as 5/5 for the last of five"),
        (("--panel", "last"), "expected PLACE/COUNT, such as 5/5 for the last of five"),
        (("--panel", "5/5"), "is 64 pixels wide, no multiple of 5; count its panels again"),
        (("--weights", "alexnet=weights.pth"), "alexnet: no metric asked for needs it (l1); leave it out, or ask for "),
        (("--weights", "inception=weights.pth"), "or ask for fid or kid or inception_score or mask_is with --metrics"),
        (("--pose-weights", "weights.pth"), "or ask for pckh or detection_score with --metrics"),
        (("--estimator", "keypointrcnn"), "no metric asked for needs it"),
        (("--reid", "weights.pth", "--reid-model", "osnet_x1_0"), "or ask for identity_similarity with --metrics"),
        (("--reid-model", "osnet_x1_0"), "says what the file of --reid is, which is not given"),
        (("--reid-size", "256x128"), "says what the file of --reid is, which is not given"),
        (("--out", "results.txt"), "results.txt: ends with '.txt'; name it .json"),
        (("--sheet", "sheet.jpg"), "sheet.jpg: ends with '.jpg'; name it .png"),
        (("--out", "nowhere/results.json"), "there is no folder nowhere; make it first"),
        (("--sheet", "weights.pth/sheet.png"), "there is no folder weights.pth; make it first"),
        (("--sheet", "taken.png"), "taken.png: is there, and no PNG that a sheet may replace; give it another name"),
        (("--sheet", "images/sheet.png"), "lies among the images that are read; write it to another folder"),
    ],
)
def test_refused_before_any_work(folder, monkeypatch, augment, options, said):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    found = augment("evaluate-generator", "images", "--images", "images", "--metrics", "l1", *options)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"Error: {options[0]}")
    assert said in found.err
    assert len(found.err.strip().splitlines()) == 1
    assert sorted(folder.rglob("*")) == before


def test_what_a_metric_needs_is_accepted(folder):
    weights = folder / "weights.pth"
    for name in METRICS:
        (network,) = networks_of([name]) or {""}
        asked = {
            "alexnet": Asked({"alexnet": weights}),
            "inception": Asked({"inception": weights}),
            "inception-torchvision": Asked({"inception-torchvision": weights}),
            "a pose estimator": Asked(estimator="keypointrcnn", pose_weights=weights),
            "a re-ID checkpoint": Asked(reid=weights, reid_model="osnet_x1_0", reid_size=(256, 128)),
        }
        for needed, given in asked.items():
            if needed == network:
                require_used(given, ["l1", name])
            else:
                with pytest.raises(ValueError, match="no metric asked for needs it"):
                    require_used(given, ["l1", name])


def test_folders_are_without_published_rows_and_with_their_notes(folder, augment):
    """At 128x64, where a generator's values stand beside those of papers."""
    real, made = folder / "images", folder / "made"
    shutil.copytree(real, made)
    first = sorted(made.iterdir())[0]
    first.rename(made / f"x{first.name}")
    count = len(list(made.iterdir()))
    found = augment("evaluate-generator", real, "--images", made, "--metrics", "ssim")
    assert found.code == 0, found.err
    assert "DPTN" not in found.out
    assert f"note: 1 of {count} generated images have no real one of that name" in found.out
    assert f"note: 1 of {count} generated images show nobody known" in found.out
