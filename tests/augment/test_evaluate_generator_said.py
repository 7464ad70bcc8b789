"""What is said where values cannot be had or relied on: too few identities, lost pairs, tiny images, nothing at all."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from augment import synthesize
from augment.backbones import Lpips
from augment.cross_fitting import silent
from augment.data import keypoints
from augment.data.read import read_data
from augment.image_entries import entry
from augment.image_folders import of_folders
from augment.image_measuring import pass_over
from augment.image_metrics import LPIPS_SIDE, PIXEL, too_small
from augment.image_networks import Networks, ReidNetwork
from augment.image_pairs import choose_pairs, of_set
from augment.image_pairs import test_images as images_of_test
from augment.image_passes import Passes
from augment.store import Reader
from tests.command_line import caller
from tests.posing import pose
from tests.random_backbones import write_alexnet


@pytest.fixture
def augment(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "no-cache"))
    monkeypatch.delenv("TORCH_HOME", raising=False)
    return caller(monkeypatch, capsys)


def evaluate(augment, data, *more, form="json"):
    return augment("evaluate-generator", data, "--format", form, "--device", "cpu", *more)


def part_of(annotation, path, people):
    """The lines of some persons only."""
    header, *lines = annotation.read_text().splitlines()
    kept = [line for line in lines if line.split("_")[0] in {f"{pid:04d}" for pid in people}]
    path.write_text("\n".join([header, *kept]) + "\n")
    return path


def everywhere(dataset):
    """Key points of all test images."""
    return {record.name: pose(index % 8) for index, record in enumerate(images_of_test(dataset))}


def folders(root, size, count=3, named_alike=True):
    """Two folders of noise."""
    rng = np.random.default_rng(0)
    for folder in ("real", "made"):
        (root / folder).mkdir(parents=True)
        for index in range(count):
            name = f"{index}.png" if named_alike else f"{folder}{index}.png"
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / folder / name)
    return root / "real", root / "made"


def test_lost_pairs_are_told(pedestrians, tmp_path, augment):
    dataset = read_data(pedestrians)
    test = images_of_test(dataset)
    whole = choose_pairs(dataset, everywhere(dataset), None, None, same_camera=False, seed=0)
    assert whole.notes == (), "nothing is lost"
    people = sorted({record.pid for record in test})
    part = part_of(pedestrians / "market-annotation-test.csv", tmp_path / "part.csv", people[:2])
    found = evaluate(augment, pedestrians, "--generator", "copy", "--metrics", "l1", "--poses", part)
    assert found.code == 0, found.err
    results = json.loads(found.out)
    left = results["metrics"]["l1"]["n"]
    points = keypoints.dataset_points(dataset, part)
    lost = len(test) - len(keypoints.usable(test, points))
    assert lost >= sum(record.pid in people[2:] for record in test) > 0
    said = (
        f"{lost} of {len(test)} test images lack key points of shoulders and hips: {left} of {len(whole.pairs)} pairs "
        f"are left, of 2 of {len(people)} identities"
    )
    assert said in results["provenance"]["notes"]
    assert said in found.err
    few = choose_pairs(dataset, points, None, 5, same_camera=False, seed=0)
    assert few.notes == (
        f"{lost} of {len(test)} test images lack key points of shoulders and hips: no pair is of them",
    )


def test_fewer_pairs_than_asked_for_are_told(pedestrians, tmp_path):
    dataset = read_data(pedestrians)
    points = everywhere(dataset)
    chosen = choose_pairs(dataset, points, None, 1_000_000, same_camera=False, seed=0)
    said = f"{len(chosen.pairs)} pairs of the 1,000,000 that --count asks for: there are no more"
    assert chosen.notes == (said,)
    assert choose_pairs(dataset, points, None, len(chosen.pairs), same_camera=False, seed=0).notes == ()
    path = tmp_path / "pairs.csv"
    names = [tuple(chosen.records[index].name for index in pair) for pair in chosen.pairs[:2]]
    path.write_text("from,to\n" + "".join(f"{source},{target}\n" for source, target in names))
    listed = choose_pairs(dataset, points, path, 7, same_camera=False, seed=0)
    assert listed.notes == ("2 pairs of the 7 that --count asks for: there are no more",)
    assert choose_pairs(dataset, points, path, 2, same_camera=False, seed=0).notes == ()


def test_images_smaller_than_a_window_do_not_end_the_others(tmp_path, augment):
    real, made = folders(tmp_path, (8, 8))
    names = ("ssim", "ssim_pg2", "l1")
    arguments = [argument for name in names for argument in ("--metrics", name)]
    found = evaluate(augment, real, "--images", made, *arguments)
    assert found.code == 0, found.err
    results = json.loads(found.out)
    assert set(results["metrics"]) == {"ssim_pg2", "l1"}, "a window of 7x7 fits"
    assert results["not_computed"] == {
        "ssim": "images of 8x8 are smaller than the window of SSIM protocol patn, 11x11; give larger images"
    }
    found = evaluate(augment, real, "--images", made, *arguments, "--require", "ssim", form="table")
    assert found.code == 1
    assert "ssim                  not computed: images of 8x8 are smaller than" in found.out
    dry = evaluate(augment, real, "--images", made, *arguments, "--dry-run")
    assert (dry.code, "cannot be computed: images of 8x8" in dry.out) == (0, True)


@pytest.mark.parametrize("name", [*PIXEL, "lpips"])
def test_every_metric_of_pixels_works_from_its_smallest_size_on(name, tmp_path):
    allowed = [side for side in range(3, 40) if too_small(name, (40, side)) is None]
    assert allowed == list(range(allowed[0], 40))
    smallest = {"psnr": 3, "l1": 3, "ssim_pg2": 7, "lpips": LPIPS_SIDE}.get(name, 11)
    assert allowed[0] == smallest
    compared = of_folders(*folders(tmp_path, (smallest, smallest)), points=None)
    poses = np.ones((3, 18, 2), np.float32)
    lpips = Lpips(write_alexnet(tmp_path / "alexnet.pth")) if name == "lpips" else None
    compared = dataclasses.replace(compared, poses=poses)
    passes = Passes(frozenset([name]), Networks(lpips=lpips), torch.device("cpu"), 2)
    assert len(passes.generated(compared, lambda done, total: None)[name]) == 3


def test_one_identity_has_no_interval_and_two_an_unsure_one(pedestrians, tmp_path, augment):
    dataset = read_data(pedestrians)
    people = sorted({record.pid for record in dataset.query if record.pid > 0})
    for count, said in ((1, "no interval of one identity: whole"), (2, "interval of 2 identities: too few to rely on")):
        part = part_of(pedestrians / "market-annotation-test.csv", tmp_path / f"{count}.csv", people[:count])
        found = evaluate(
            augment, pedestrians, "--generator", "copy", "--metrics", "l1", "--metrics", "ssim", "--poses", part
        )
        results = json.loads(found.out)
        assert (results["metrics"]["l1"]["low"] is None) == (count == 1)
        assert next(note for note in results["provenance"]["notes"] if "interval" in note).startswith(said)
        assert found.err.count("interval of") == 1


def test_where_nothing_is_computed_the_exit_code_says_so(tmp_path, augment):
    real, made = folders(tmp_path, (16, 16), named_alike=False)
    out = tmp_path / "x.json"
    for more in ((), ("--out", out), ("--out", out), ("--dry-run",)):
        found = evaluate(augment, real, "--images", made, *more, form="table")
        assert found.code == 1, more
        assert "nothing was computed (ssim: needs true images: no generated image has one" in found.err
    assert "already done" in evaluate(augment, real, "--images", made, "--out", out).err
    psnr = evaluate(augment, real, "--images", real, "--metrics", "psnr")
    assert (psnr.code, "nothing was computed (psnr: infinite" in psnr.err) == (1, True)
    assert evaluate(augment, real, "--images", real).code == 0


def test_missing_weights_alone_are_no_failure(pedestrians, tmp_path, augment):
    out = tmp_path / "x.json"
    for _ in range(2):
        found = evaluate(
            augment,
            pedestrians,
            "--generator",
            "copy",
            "--metrics",
            "fid",
            "--metrics",
            "identity_similarity",
            "--out",
            out,
        )
        assert (found.code, "nothing was computed" in found.err) == (0, False)
    results = json.loads(out.read_text())
    assert results["without_network"] == ["fid", "identity_similarity"]
    found = evaluate(augment, pedestrians, "--generator", "copy", "--metrics", "fid", "--metrics", "pose_coverage")
    assert found.code == 1
    assert "nothing was computed (pose_coverage: describes a synthetic set" in found.err


class Colours(torch.nn.Module):
    """Features are the mean colour."""

    def forward(self, images):
        return images.mean(dim=(2, 3))


def test_the_similarity_of_a_set_is_to_the_source_where_some_have_no_true_image(pedestrians, tmp_path):
    path = tmp_path / "x.h5"
    synthesize.run(synthesize.SynthesizeConfig(per_image=2), pedestrians, Path("copy"), path, device="cpu")
    dataset = read_data(pedestrians)
    compared = of_set(Reader(path), dataset, keypoints.dataset_points(dataset), 0)
    assert 0 < compared.paired.sum() < len(compared)
    networks = Networks(reid=ReidNetwork(Colours(), (32, 16), torch.device("cpu"), {}))
    measured = pass_over(
        compared, None, frozenset(["identity_similarity"]), networks, batch=16, seed=0, device="cpu",
        bar=silent,
    )  # fmt: skip
    assert list(measured.generated) == ["identity_similarity"], "and none of two real images beside it"
    np.testing.assert_allclose(measured.generated["identity_similarity"], 1, rtol=1e-5)
    assert "floor" not in entry("identity_similarity", measured)


def test_the_versions_of_what_measures_and_strange_weights_are_said(augment, pedestrians, tmp_path):
    weights = write_alexnet(tmp_path / "alexnet.pth")
    given = ("--generator", "warp", "--count", "9", "--metrics", "lpips", "--weights", f"alexnet={weights}")
    outcome = evaluate(augment, pedestrians, *given)
    found = json.loads(outcome.out)["provenance"]
    assert found["versions"].keys() >= {"numba", "lpips", "torch-fidelity", "onnxruntime", "scipy"}
    assert any("weights of alexnet are not the published ones" in note for note in found["notes"])
