"""Annotating images: what the estimator finds is what later stages read, whatever stops the run in between."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from augment import files, poses, train_generator
from augment.coco import NAMES
from augment.data import keypoints
from augment.data.images import read_image
from augment.data.keypoints import read_annotation
from augment.data.read import read_data
from augment.pose_estimation import FROM_COCO, annotated_by, inside, provenance_path
from augment.poses import PosesConfig, draw, find_images, run
from augment.rtmpose import RTMPose
from augment.train_generator import TrainGeneratorConfig
from generators.registry import create_recipe
from tests.annotating import alone, write_folder
from tests.rtmpose_network import dotted, write_network

SMALL = PosesConfig(batch=4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("weights") / "end2end.onnx", (64, 48))


@pytest.fixture
def folder(pedestrians, tmp_path):
    return write_folder(pedestrians, tmp_path / "images")


# ---- of which images


def test_the_splits_of_a_root_and_of_a_manifest(pedestrians, tmp_path):
    dataset = read_data(pedestrians)
    rows = ["path,pid,camid,split"]
    for split in ("train", "query", "gallery"):
        rows += [f"{record.path},{record.pid},{record.camid},{split}" for record in getattr(dataset, split)]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(rows))
    train, test = dataset.train, (*dataset.query, *dataset.gallery)
    for split, expected in (("train", train), ("test", test), ("all", (*train, *test))):
        for data in (pedestrians, manifest):
            assert [image.name for image in find_images(data, split)] == [record.name for record in expected]


def test_a_folder_of_images_of_several_sizes(folder, weights, tmp_path):
    (folder / "Thumbs.db").touch()
    out = run(SMALL, folder, tmp_path / "poses.csv", weights=weights)
    images = sorted(folder.glob("*.jpg"))
    assert len({read_image(image).shape for image in images}) == 2
    assert out.read_text() == alone(images, weights)


def test_a_folder_of_folders(folder, weights, tmp_path):
    """All images below it, by file name alone, which may therefore be there once only."""
    images = sorted(folder.glob("*.jpg"))
    for number, image in enumerate(images):
        (folder / f"{number % 2}" / "deep").mkdir(parents=True, exist_ok=True)
        image.rename(folder / f"{number % 2}" / "deep" / image.name)
    below = find_images(folder, recursive=True)
    assert sorted(image.name for image in below) == [image.name for image in images]
    out = run(PosesConfig(batch=4, recursive=True), folder, tmp_path / "poses.csv", weights=weights)
    assert read_annotation(out).keys() == {image.name for image in images}
    shutil.copy(below[0], folder / "1")
    with pytest.raises(ValueError, match=f"2 images are named {below[0].name}"):
        find_images(folder, recursive=True)
    with pytest.raises(ValueError, match=r"--recursive: .* is no folder"):
        find_images(tmp_path / "poses.csv", recursive=True)


def test_images_that_cannot_be_annotated(folder, weights, pedestrians, tmp_path):
    image = min(folder.glob("*.jpg"))

    def refused(words, data=folder, out="poses.csv", **options):
        with pytest.raises(ValueError, match=words):
            run(PosesConfig(**options), data, tmp_path / out, weights=weights)
        assert not (tmp_path / out).exists()

    refused("is a plain folder of images, without splits", split="train")
    refused(r"--out .*poses: expected the name of a \.csv file", out="poses")
    refused("no such folder", data=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    words = r"or give a folder that has images directly in it \(\.jpeg, \.jpg, \.png\)$"
    refused(f"empty: no data set: it holds neither bounding_box_train .* {words}", data=tmp_path / "empty")
    rows = [f"{record.path},1,1,train" for record in read_data(pedestrians).train[:2]]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,pid,camid,split", *rows]))
    refused("--split test: .* has no such images", data=tmp_path / "manifest.csv", split="test")
    shutil.copy(image, folder / "a:b.jpg")
    refused(r"a:b\.jpg: a colon, or blanks at the ends")
    (folder / "a:b.jpg").unlink()
    image.write_bytes(image.read_bytes()[:1000])
    refused(f"{image.name}: not a readable image")
    shutil.copytree(pedestrians, tmp_path / "data")
    shutil.copy(next((tmp_path / "data" / "query").iterdir()), tmp_path / "data" / "bounding_box_test")
    refused(r"2 images are named .*\.jpg; key points go by file name", data=tmp_path / "data")


# ---- what is written


def test_a_generator_trains_on_what_was_annotated(tmp_path):
    """From dots in the images to the key points of the training, in the files that a root is searched for."""
    root, rng = tmp_path / "data", np.random.default_rng(0)
    grid = np.array([(row, column) for row in range(6, 120, 12) for column in range(6, 60, 12)])
    truth = {}
    for split, people, camera in (
        ("bounding_box_train", (1, 2), 1), ("bounding_box_train", (1, 2), 2), ("query", (3,), 1),
        ("bounding_box_test", (3,), 2),
    ):  # fmt: skip
        (root / split).mkdir(parents=True, exist_ok=True)
        for person in people:
            name = f"{person:04d}_c{camera}s1_000001_00.png"
            truth[name] = grid[rng.permutation(len(grid))[:17]]
            Image.fromarray(dotted(truth[name], (128, 64))).save(root / split / name)
    network = write_network(tmp_path / "end2end.onnx")
    for split in ("train", "test"):
        run(PosesConfig(split=split), root, root / f"market-annotation-{split}.csv", weights=network)
    dataset = read_data(root)
    points = keypoints.dataset_points(dataset)
    assert points.keys() == truth.keys()
    for name, places in truth.items():
        assert np.abs(np.delete(points[name], 1, axis=0) - np.delete(places[list(FROM_COCO)], 1, axis=0)).max() <= 1
    assert annotated_by(dataset.annotations[0]) == RTMPose(network).provenance
    job = train_generator.prepare(TrainGeneratorConfig(create_recipe("patn", "tiny")), root)
    assert str(job) == "4 images of 2 identities with key points, 4 pairs"


def test_what_made_it_is_said_beside_it(folder, weights, tmp_path):
    out = run(SMALL, folder, tmp_path / "poses.csv", weights=weights)
    said = files.read_json(provenance_path(out))
    assert said["pose_estimator"] == RTMPose(weights).provenance
    assert (said["images"], said["split"]) == (11, "all")
    assert said["annotation_sha256"] == files.sha256(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "poses.csv", "poses.csv.json"]


def test_joints_outside_of_the_image_are_missing(tmp_path, monkeypatch):
    """Keypoint R-CNN's lie within its box, whose far side is the first row after the image."""

    class Beyond:
        provenance = {"estimator": "made up"}  # noqa: RUF012 (a protocol's attribute)

        def __call__(self, images):
            people = np.full((len(images), 18, 2), 3.0, dtype=np.float32)
            people[:, 0] = (8.0, 3.0)
            return people

        def detect(self, images):
            return self(images), np.ones(len(images), dtype=np.float32)

    monkeypatch.setattr(poses, "make_estimator", lambda name, weights, device: Beyond())
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 8)).save(tmp_path / "images" / "a.png")
    out = run(PosesConfig("keypointrcnn"), tmp_path / "images", tmp_path / "poses.csv")
    assert out.read_text().splitlines()[1] == f"a.png: {[-1] + [3] * 17}: {[-1] + [3] * 17}"


def test_the_sheet_shows_skeletons_over_the_images(folder, weights, tmp_path):
    images = find_images(folder)
    names = [image.name for image in images]
    bones = dict.fromkeys(names, np.tile(np.arange(18, dtype=np.float32)[:, None] * 3 + 8, (1, 2)))
    corner = dict.fromkeys(names, np.zeros((18, 2), dtype=np.float32))
    with_bones, without = (read_image(draw(images, points, tmp_path / "s.png")) for points in (bones, corner))
    assert with_bones.shape == without.shape
    changed = (with_bones != without).any(axis=2)
    assert 0.002 < changed.mean() < 0.2, "bones are drawn over images that stay visible"
    sheet = tmp_path / "sheet.png"
    run(SMALL, folder, tmp_path / "poses.csv", weights=weights, sheet=sheet)
    assert read_image(sheet).shape == without.shape


# ---- COCO's annotations, and the command


def coco_of(pedestrians, path):
    """COCO's annotations of the training images but one, from their own key points."""
    dataset = read_data(pedestrians)
    points = keypoints.dataset_points(dataset)
    images, annotations = [], []
    for index, record in enumerate(dataset.train[1:]):
        images.append({"id": index, "file_name": f"train/{record.name}", "height": 128, "width": 64})
        triples = np.zeros((17, 3))
        for place, joint in enumerate(FROM_COCO):
            if place != keypoints.JOINTS.index("neck") and not np.isnan(points[record.name][place]).any():
                triples[joint] = (*points[record.name][place][::-1], 2)
        annotations.append({"image_id": index, "keypoints": triples.ravel().tolist(), "category_id": 1})
    categories = [{"id": 1, "name": "person", "keypoints": NAMES}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def test_cocos_annotations_instead_of_an_estimator(pedestrians, tmp_path):
    lines, dataset = [], read_data(pedestrians)
    coco, out = coco_of(pedestrians, tmp_path / "persons.json"), tmp_path / "poses.csv"
    run(PosesConfig(split="train"), pedestrians, out, coco=coco, log=lines.append)
    assert lines[0] == "1 images are not in the annotations, and get no line"
    truth, found = keypoints.dataset_points(dataset), read_annotation(out)
    assert found.keys() == {record.name for record in dataset.train[1:]}
    neck = keypoints.JOINTS.index("neck")
    for name, points in found.items():
        expected = inside(truth[name][None], (128, 64))[0]
        np.testing.assert_array_equal(np.delete(points, neck, axis=0), np.delete(expected, neck, axis=0))
    assert annotated_by(out)["file_sha256"] == files.sha256(coco)
    coco.write_text(coco.read_text() + " ")
    with pytest.raises(ValueError, match=r"was made by another estimator \(file_sha256"):
        run(PosesConfig(split="train"), pedestrians, out, coco=coco)


def test_the_command(augment, folder, weights, tmp_path):
    out = tmp_path / "poses.csv"
    given = ("poses", folder, "--out", out, "--weights", weights)
    found = augment(*given, "--dry-run")
    assert (found.code, found.out) == (0, f"11 images by rtmpose, 0 of them done, into {out}\n")
    assert not out.exists()
    found = augment(*given, "--sheet", tmp_path / "sheet.png")
    assert (found.code, found.out) == (0, f"{out}\n")
    assert "11 images: " in found.err
    assert (tmp_path / "sheet.png").exists()
    assert "already done" in augment(*given).err


def test_mistakes_are_one_line(augment, folder, weights, tmp_path, monkeypatch):
    given = ("poses", folder, "--out", tmp_path / "poses.csv")
    words = "--coco FILE needs no estimator; drop one of the two"
    found = augment(*given, "--weights", weights, "--coco", weights)
    assert (found.code, found.err) == (2, f"Error: --weights: {words} See --help.\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = augment(*given)
    assert found.code == 2
    assert found.err.startswith("Error: weights missing, put the end2end.onnx of MMPose's rtmpose-m")
    assert found.err.endswith(", or give --weights FILE\n")
    found = augment(*given, "--estimator", "keypointrcnn", "--weights", weights)
    assert (found.code, found.out) == (2, "")
    assert "cannot be read as weights; give torchvision's keypointrcnn" in found.err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = augment(*given, "--weights", weights)
    assert found == (2, "", "Error: needs onnxruntime: pip install 'reid-augment[pose]'\n")
