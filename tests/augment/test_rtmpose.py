"""RTMPose through ONNX runtime: joints where they are in the image, as MMPose's steps and rtmlib find them."""

import sys

import numpy as np
import onnxruntime
import pytest
import torch

from augment import rtmpose
from augment.backbones import MissingExtra
from augment.data.keypoints import JOINTS
from augment.pose_estimation import FROM_COCO, PersonDetector, openpose_of_coco
from augment.rtmpose import JOINT_SCORE, WEIGHTS, RTMPose, best_device, find_weights
from tests.reference import top_down
from tests.rtmpose_network import dotted, write_constants, write_network

SHAPES = ((128, 64), (256, 176), (64, 128), (97, 100))  # taller and wider than the network's 4:3
NECK = JOINTS.index("neck")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("weights") / "end2end.onnx")


def places_in(size, seed=0):
    """(row, column) of 17 joints of COCO's on a grid of 12 pixels."""
    rng = np.random.default_rng(seed)
    grid = [(row, column) for row in range(6, size[0] - 5, 12) for column in range(6, size[1] - 5, 12)]
    return np.array(grid)[rng.permutation(len(grid))[:17]]


def noise(count, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SHAPES)
def test_joints_are_found_where_they_are(weights, size):
    places = places_in(size)
    people, confidence = RTMPose(weights).detect(dotted(places, size)[None])
    expected = openpose_of_coco(places[None].astype(float))
    bin_of_input = max(size[0] / 256, size[1] / 192) * 1.25  # pixels that one of the network's own is
    assert people.dtype == np.float32
    assert np.abs(people - expected).max() < max(1.0, bin_of_input)
    assert 0.5 < confidence[0] <= 1


@pytest.mark.parametrize("size", SHAPES)
def test_it_takes_mmposes_steps(weights, size):
    estimator = RTMPose(weights)
    session = onnxruntime.InferenceSession(weights)
    for image in (dotted(places_in(size), size), *noise(3, size)):
        planes, centre, box = top_down.prepare(image, (256, 192))
        points, scores = top_down.decode(*session.run(None, {"input": planes}), centre, box, (256, 192))
        found, confidences = estimator._find(image)
        np.testing.assert_allclose(found, points[:, ::-1], atol=1e-9)
        np.testing.assert_array_equal(confidences, scores)


@pytest.mark.parametrize("size", SHAPES)
def test_it_finds_what_rtmlib_finds(weights, size, capsys):
    rtmlib = pytest.importorskip("rtmlib", reason="it requires opencv-python, so it is no part of the extra `test`")
    theirs, ours = rtmlib.RTMPose(str(weights), backend="onnxruntime"), RTMPose(weights)
    for image in (dotted(places_in(size), size), *noise(3, size)):
        points, _ = theirs(image)
        np.testing.assert_allclose(ours._find(image)[0], points[0][:, ::-1], atol=1e-9)


def test_an_image_alone_is_as_among_others(weights):
    estimator = RTMPose(weights)
    images = np.stack([dotted(places_in((128, 64), seed), (128, 64)) for seed in range(3)])
    together, confidences = estimator.detect(images)
    for index in range(3):
        alone, confidence = estimator.detect(images[index : index + 1])
        np.testing.assert_array_equal(alone[0], together[index])
        assert confidence[0] == confidences[index]
    np.testing.assert_array_equal(estimator(images), together)


def test_a_joint_is_as_sure_as_the_less_sure_of_its_axes(tmp_path):
    """MMPose takes the smaller one; the mean, 0.3 in joint 2, would find that."""
    columns, rows = np.zeros((1, 17, 384)), np.zeros((1, 17, 512))
    columns[0, :, 192], rows[0, :, 256] = 0.9, 0.8
    columns[0, 1, 192] = JOINT_SCORE - 0.01
    columns[0, 2, 192], rows[0, 2, 256] = 0.5, 0.1
    columns[0, 3, 192] = JOINT_SCORE + 0.01
    people, confidence = RTMPose(write_constants(tmp_path / "n.onnx", columns, rows)).detect(noise(1, (128, 64)))
    missing = np.isnan(people[0]).any(axis=1)
    assert {FROM_COCO[joint] for joint in np.flatnonzero(missing)} == {1, 2}
    np.testing.assert_allclose(people[0][~missing], np.tile([64.0, 32.0], (16, 1)))  # the middle of every axis
    assert confidence[0] == pytest.approx((14 * 0.8 + (JOINT_SCORE - 0.01) + 0.1 + (JOINT_SCORE + 0.01)) / 17)


@pytest.mark.parametrize(
    ("score", "column", "expected"), [(0.2, 192, 0.0), (0.9, 0, 0.0), (5.0, 192, 1.0), (0.9, 192, 0.9)]
)
def test_nobody_is_where_no_joint_is_found_in_the_image(tmp_path, score, column, expected):
    """Column 0 of the padded box lies outside of it."""
    columns, rows = np.zeros((1, 17, 384)), np.zeros((1, 17, 512))
    columns[0, :, column], rows[0, :, 256] = score, score
    people, confidence = RTMPose(write_constants(tmp_path / "n.onnx", columns, rows)).detect(noise(1, (128, 64)))
    assert np.isnan(people).all() == (expected == 0)
    assert confidence[0] == pytest.approx(expected)


def test_the_neck_is_missing_where_a_shoulder_lies_outside(tmp_path):
    columns, rows = np.zeros((1, 17, 384)), np.zeros((1, 17, 512))
    columns[0, :, 192], rows[0, :, 256] = 0.9, 0.9
    columns[0, 5, :], columns[0, 5, 2] = 0, 0.9
    people = RTMPose(write_constants(tmp_path / "n.onnx", columns, rows))(noise(1, (128, 64)))
    assert np.isnan(people[0, [NECK, JOINTS.index("left shoulder")]]).all()
    assert not np.isnan(people[0, JOINTS.index("right shoulder")]).any()


def test_the_file_says_how_large_its_input_is(tmp_path):
    size, places = (128, 64), places_in((128, 64))
    for sides, open_sides in (((384, 288), False), ((256, 192), True)):
        path = write_network(tmp_path / "n.onnx", sides, open_sides=open_sides)
        estimator = RTMPose(path)
        assert estimator.provenance["input_size"] == list(sides)
        assert np.abs(estimator(dotted(places, size)[None]) - openpose_of_coco(places[None].astype(float))).max() < 1


def test_what_it_is_is_said(weights):
    estimator = RTMPose(weights)
    assert isinstance(estimator, PersonDetector)
    assert len(estimator.provenance.pop("weights_sha256")) == 64
    said = {"estimator": "rtmpose", "input_size": [256, 192], "padding": 1.25, "joint_score": 0.3}
    assert estimator.provenance == said


# ---- what is refused


def test_files_that_are_not_its_weights_are_refused(tmp_path):
    path = tmp_path / "weights.onnx"
    with pytest.raises(ValueError, match=r"weights\.onnx: no such file; give RTMPose for COCO's 17 joints"):
        RTMPose(path)
    for content in (b"", b"PK\x03\x04 an archive", b"no network"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.onnx: cannot be read as an ONNX network"):
            RTMPose(path)
    write_network(path, joints=26)
    with pytest.raises(ValueError, match="gives arrays of 1x26x384 and 1x26x512 instead of 1x17x384 and 1x17x512"):
        RTMPose(path)
    write_network(path, bins=4)
    with pytest.raises(ValueError, match="gives arrays of 1x17x768"):
        RTMPose(path)
    write_constants(path, np.zeros((1, 17, 512)), np.zeros((1, 17, 384)))
    with pytest.raises(ValueError, match="gives arrays of 1x17x512 and 1x17x384"):
        RTMPose(path)


def test_without_onnx_runtime_it_says_what_to_install(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for call in (lambda: RTMPose(weights), best_device):
        with pytest.raises(MissingExtra, match=r"needs onnxruntime: pip install 'reid-augment\[pose\]'"):
            call()


def test_devices_that_onnx_runtime_cannot_use_are_refused(weights, monkeypatch):
    with pytest.raises(ValueError, match="--device mps: onnxruntime computes on cpu or cuda"):
        RTMPose(weights, "mps")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ValueError, match="--device cuda:1: this onnxruntime computes on the CPU only"):
        RTMPose(weights, torch.device("cuda", 1))
    assert best_device() == torch.device("cpu")


class Without:
    """A session whose libraries of CUDA are missing: ONNX runtime goes on with the CPU."""

    def __init__(self, *arguments, providers):
        self.asked = providers

    def get_providers(self):
        return ["CPUExecutionProvider"]


def test_falling_back_to_the_cpu_is_refused(weights, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Without)
    with pytest.raises(ValueError, match="--device cuda: onnxruntime finds no CUDA libraries"):
        RTMPose(weights, "cuda")


def test_weights_are_found_where_torch_and_rtmlib_keep_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch" / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_weights() is None
    for name in reversed(WEIGHTS):
        for cache in ("rtmlib", "torch"):
            folder = tmp_path / cache / "hub" / "checkpoints"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
            assert find_weights() == folder / name
    assert rtmpose.USUAL in WEIGHTS
