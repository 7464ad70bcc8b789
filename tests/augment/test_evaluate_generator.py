"""The stage and its command: what is measured of a generator, a set and two folders; what is refused; exit codes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from augment import files, image_networks, synthesize, train_reid
from augment.data import keypoints
from augment.data.images import read_image
from augment.data.read import read_data
from augment.evaluate_generator import run
from augment.image_metrics import METRICS, PIXEL
from augment.image_networks import Asked
from augment.image_pairs import choose_pairs
from augment.image_subjects import EvaluateGeneratorConfig
from augment.pose_estimation import provenance_path
from generators import checkpoint
from generators.metrics.pckh import pckh
from generators.registry import create_generator
from reid.training import ReidConfig
from tests.command_line import caller
from tests.random_backbones import write_alexnet


@pytest.fixture
def augment(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "no-cache"))
    monkeypatch.delenv("TORCH_HOME", raising=False)
    return caller(monkeypatch, capsys)


def save(path, **extra):
    torch.manual_seed(0)
    generator = create_generator("dptn", "tiny", width=8, max_width=16)
    path.write_bytes(checkpoint.generator_to_bytes("dptn", "tiny", generator, extra))
    return path


def test_what_can_be_computed_is_and_the_rest_says_why(pedestrians, tmp_path, augment):
    out = tmp_path / "copy.json"
    found = augment(
        "evaluate-generator", pedestrians, "--generator", "copy", "--count", 12, "--format", "json", "--out", out,
        "--device", "cpu",
    )  # fmt: skip
    assert found.code == 0, found.err
    results = json.loads(found.out)
    assert json.loads(out.read_text()) == results
    assert results["schema"] == 1
    assert set(results["metrics"]) == set(PIXEL)
    assert set(results["metrics"]) | set(results["not_computed"]) == set(METRICS)
    ssim = results["metrics"]["ssim"]
    assert (ssim["protocol"], ssim["n"]) == ("patn", 12)
    assert ssim["low"] < ssim["value"] < ssim["high"]
    assert results["not_computed"]["fid"].startswith("weights missing, put ")
    assert results["not_computed"]["identity_similarity"] == "needs a re-ID network: give --reid RUN"
    dataset = read_data(pedestrians)
    said = results["provenance"]
    assert (said["data_digest"], said["test_digest"]) == (dataset.digest, dataset.test_digest)
    assert said["generator"]["model"] == "copy"
    assert said["compared"]["pairs"] == "12 random pairs of test identities, of any cameras"
    assert said["data"] == pedestrians.name


def test_require_makes_the_exit_code_one(pedestrians, augment):
    arguments = ("evaluate-generator", pedestrians, "--generator", "copy", "--count", 5, "--metrics", "l1")
    found = augment(*arguments, "--require", "ssim")
    assert (found.code, "ssim " in found.out) == (0, True)
    found = augment(*arguments, "--require", "lpips")
    assert found.code == 1
    assert "--require lpips: not computed: weights missing" in found.err
    assert found.out.startswith("metric"), "the rest is measured all the same"


def test_values_do_not_depend_on_the_batch(pedestrians):
    configs = (EvaluateGeneratorConfig(("ssim", "mask_ssim", "l1"), count=7, batch=batch) for batch in (2, 64))
    found = [run(config, pedestrians, generator=Path("warp"), device="cpu")["metrics"] for config in configs]
    for name in found[0]:
        assert found[0][name]["value"] == pytest.approx(found[1][name]["value"], abs=1e-6)


def test_only_a_generator_of_this_split_is_measured(pedestrians, tmp_path):
    config = EvaluateGeneratorConfig(("l1",), count=3)
    stranger = save(tmp_path / "stranger.safetensors", trained_on="0" * 64)
    with pytest.raises(ValueError, match=r"stranger.*training split.*or say --foreign-generator"):
        run(config, pedestrians, generator=stranger, device="cpu")
    unknown = save(tmp_path / "unknown.safetensors")
    with pytest.raises(ValueError, match="training split"):
        run(config, pedestrians, generator=unknown, device="cpu")
    foreign = EvaluateGeneratorConfig(("l1",), count=3, foreign_generator=True)
    assert run(foreign, pedestrians, generator=stranger, device="cpu")["metrics"]["l1"]["n"] == 3
    own = save(tmp_path / "own.safetensors", trained_on=read_data(pedestrians).digest)
    assert run(config, pedestrians, generator=own, device="cpu")["metrics"]["l1"]["n"] == 3


def test_leaked_data_is_refused(pedestrians, tmp_path):
    root = tmp_path / "leaked"
    shutil.copytree(pedestrians, root)
    first = next((root / "query").glob("*.jpg"))
    shutil.copy(first, root / "bounding_box_train" / first.name)
    with pytest.raises(ValueError, match="both in training and in query or gallery"):
        run(EvaluateGeneratorConfig(("l1",), count=3), root, generator=Path("copy"), device="cpu")


def test_equal_folders_are_perfect_and_a_worse_copy_is_worse(pedestrians, tmp_path, augment):
    real, noisy = tmp_path / "real", tmp_path / "noisy"
    noisy.mkdir()
    shutil.copytree(pedestrians / "query", real)
    rng = np.random.default_rng(0)
    for path in real.glob("*.jpg"):
        pixels = np.asarray(Image.open(path)).astype(int)
        Image.fromarray(np.clip(pixels + rng.normal(0, 25, pixels.shape), 0, 255).astype(np.uint8)).save(
            noisy / f"{path.stem}.png"
        )
    weights = write_alexnet(tmp_path / "alexnet.pth")
    names = ("ssim", "l1", "lpips", "mask_ssim")
    arguments = [argument for name in names for argument in ("--metrics", name)]
    values = []
    for images in (real, noisy):
        found = augment(
            "evaluate-generator", real, "--images", images, *arguments, "--weights", f"alexnet={weights}",
            "--format", "json", "--device", "cpu",
        )  # fmt: skip
        assert found.code == 0, found.err
        values.append({name: entry["value"] for name, entry in json.loads(found.out)["metrics"].items()})
    assert values[0] == pytest.approx({"ssim": 1, "l1": 0, "lpips": 0})
    assert values[1]["ssim"] < 0.9
    assert values[1]["l1"] > 10
    assert values[1]["lpips"] > 0
    assert json.loads(found.out)["not_computed"] == {
        "mask_ssim": "needs the target poses of all images, which are not known here"
    }


def test_a_set_has_poses_and_its_training_images(pedestrians, tmp_path, augment):
    path, sheet = tmp_path / "x.h5", tmp_path / "sheet.png"
    config = synthesize.SynthesizeConfig("same-identity", per_image=1)
    synthesize.run(config, pedestrians, Path("copy"), path, device="cpu")
    found = augment("evaluate-generator", pedestrians, "--images", path, "--format", "json", "--sheet", sheet)
    assert found.code == 0, found.err
    results = json.loads(found.out)
    assert {"pose_diversity", "pose_coverage", "ssim"} <= results["metrics"].keys()
    assert results["metrics"]["ssim"]["n"] == results["provenance"]["compared"]["with_true_image"]
    assert any("whom the generator may have seen" in note for note in results["provenance"]["notes"])
    assert results["provenance"]["set"] == "x.h5"
    with Image.open(sheet) as image:
        assert image.width == 3 * (4 * (128 + 4) + 8)
    found = augment("evaluate-generator", pedestrians, "--images", path, "--save", "jpeg")
    assert (found.code, found.err.split(":")[1].strip()) == (2, "--save")


def test_without_a_ranking_there_is_no_sheet(pedestrians, tmp_path, augment):
    found = augment(
        "evaluate-generator", pedestrians, "--generator", "copy", "--count", 3, "--metrics", "fid", "--sheet",
        tmp_path / "sheet.png",
    )  # fmt: skip
    assert found.code == 0
    assert "no sheet" in found.err
    assert "images are ranked by ssim, lpips, pckh" in found.err
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--generator: give a generator, or a synthetic set or a folder as --images, and not both"),
        (("--generator", "nowhere"), "nowhere: no such file; expected a generator.safetensors"),
        (("--generator", "copy", "--weights", "vgg=x"), "--weights vgg: no such network"),
        (("--generator", "copy", "--weights", "alexnet=x.pth"), "--weights alexnet=x.pth: no such file"),
        (("--generator", "copy", "--metrics", "fud"), "--metrics: 'fud' is not one of"),
    ],
)
def test_mistakes_are_one_line(pedestrians, augment, arguments, said):
    found = augment("evaluate-generator", pedestrians, *arguments)
    assert (found.code, found.out) == (2, "")
    assert said in found.err
    assert len(found.err.strip().splitlines()) == 1


class Oracle:
    """A pose estimator that finds the joints of the test images it knows, and nobody in others."""

    provenance = {"estimator": "oracle"}  # noqa: RUF012 (a protocol's attribute)

    def __init__(self, known):
        self._known = known

    def detect(self, images):
        nobody = np.full((18, 2), np.nan, np.float32)
        found = [self._known.get(image.tobytes()) for image in images]
        points = np.stack([nobody if each is None else each for each in found])
        return points, np.asarray([each is not None for each in found], np.float32)


def test_copies_have_the_pose_of_the_source_and_real_images_the_right_one(pedestrians, monkeypatch):
    """PCKh of a copy is that of the source's joints; the floor, of true images found by a perfect estimator, is 1."""
    dataset = read_data(pedestrians)
    points = keypoints.dataset_points(dataset)
    chosen = choose_pairs(dataset, points, None, 20, same_camera=False, seed=0)
    known = {
        read_image(record.path).tobytes(): each for record, each in zip(chosen.records, chosen.points, strict=True)
    }
    monkeypatch.setattr(image_networks, "make_estimator", lambda name, weights, device: Oracle(known))
    config = EvaluateGeneratorConfig(("pckh", "detection_score"), count=20, batch=8)
    found = run(config, pedestrians, generator=Path("copy"), device="cpu")
    source, target = chosen.points[chosen.pairs.T]
    expected = pckh(source, target)
    assert found["metrics"]["pckh"]["value"] == pytest.approx(expected.right.sum() / expected.counted.sum())
    assert 0 < found["metrics"]["pckh"]["value"] < 1
    assert found["metrics"]["pckh"]["n"] == (expected.counted > 0).sum()
    assert found["metrics"]["detection_score"]["value"] == 1
    assert found["provenance"]["networks"]["pose_estimator"] == {"estimator": "oracle"}


def test_pckh_says_whose_joints_it_compares(pedestrians, tmp_path, monkeypatch):
    annotation = tmp_path / "test.csv"
    shutil.copy(pedestrians / "market-annotation-test.csv", annotation)
    monkeypatch.setattr(image_networks, "make_estimator", lambda name, weights, device: Oracle({}))
    config = EvaluateGeneratorConfig(("pckh",), count=3)

    def notes():
        found = run(config, pedestrians, generator=Path("copy"), poses=annotation, device="cpu")
        return [note for note in found["provenance"]["notes"] if note.startswith("pckh")]

    assert "which estimator made test.csv is unknown" in notes()[0]
    said = {"pose_estimator": {"estimator": "another"}, "annotation_sha256": files.sha256(annotation)}
    files.write_json(provenance_path(annotation), said)
    assert "test.csv is another's" in notes()[0]
    files.write_json(provenance_path(annotation), said | {"pose_estimator": {"estimator": "oracle"}})
    assert notes() == []


def test_the_other_networks_of_re_id_are_refused(pedestrians, tmp_path):
    config = EvaluateGeneratorConfig(("identity_similarity",), count=3)
    path = tmp_path / "weights.pth"
    path.write_bytes(b"")
    for asked, said in (
        (Asked(reid=tmp_path / "nowhere"), "--reid .*nowhere: no such file"),
        (Asked(reid=path), "which network is it of"),
    ):
        with pytest.raises(ValueError, match=said):
            run(config, pedestrians, generator=Path("copy"), asked=asked, device="cpu")


def test_help_has_examples(augment):
    found = augment("evaluate-generator", "--help")
    assert found.code == 0
    assert found.out.count("Example") == 3


def test_identity_by_a_re_id_run(pedestrians, tmp_path):
    """A copy is as similar to the true image as two real images of the person are; only the note tells of training."""
    training = ReidConfig(model="osnet_x0_25", height=32, width=16, epochs=1, batch=8)
    train_reid.run(train_reid.TrainReidConfig(training), pedestrians, tmp_path / "reid", device="cpu")
    config = EvaluateGeneratorConfig(("identity_similarity",), count=6)
    asked = Asked(reid=tmp_path / "reid")
    found = run(config, pedestrians, generator=Path("copy"), asked=asked, device="cpu")
    copied = found["metrics"]["identity_similarity"]
    assert copied["value"] == pytest.approx(copied["floor"]["value"], abs=1e-6)
    said = found["provenance"]["networks"]["reid"]
    assert said["trained_on_split"] == read_data(pedestrians).digest
    assert said["trained_on_this_data"]
    assert found["provenance"]["notes"][1:] == ["interval of 4 identities: too few to rely on"]
    assert copied["protocol"] == "cosine of re-ID features, to the true image"
    assert said["weights_sha256"] == files.sha256(tmp_path / "reid" / "checkpoint.safetensors")
    assert (said["epoch"], said["epochs"], said["height"], said["width"]) == (1, 1, 32, 16)
    shutil.copy(tmp_path / "reid" / "checkpoint.safetensors", tmp_path / "weights.safetensors")
    weights = Asked(reid=tmp_path / "weights.safetensors")
    found = run(config, pedestrians, generator=Path("copy"), asked=weights, device="cpu")
    assert found["metrics"]["identity_similarity"]["value"] == copied["value"]
    assert "unknown what it was trained on" in found["provenance"]["notes"][1]
    with pytest.raises(ValueError, match="knows its model and size; leave --reid-model"):
        run(config, pedestrians, generator=Path("copy"), asked=replace(asked, reid_model="osnet_x0_25"), device="cpu")
