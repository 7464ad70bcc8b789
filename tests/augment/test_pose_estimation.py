"""The estimator gives torchvision's joints in OpenPose's order; agreement counts joints as defined."""

import math

import numpy as np
import pytest
import torch

from augment import files
from augment.data.keypoints import JOINTS, MIRROR
from augment.pose_estimation import (
    JOINT_SCORE,
    TOLERANCE,
    WEIGHTS,
    KeypointRCNN,
    annotated_by,
    find_weights,
    inside,
    openpose_of_coco,
    pose_agreement,
    provenance_path,
)

COCO = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)  # fmt: skip
UNSURE = COCO.index("left wrist")


def standing():
    """A target of which all joints are annotated; both diagonals of its torso are 50 pixels long."""
    points = np.random.default_rng(0).uniform(5, 60, (18, 2))
    for name, place in {
        "right shoulder": (30, 15), "left shoulder": (30, 45), "right hip": (70, 15), "left hip": (70, 45)
    }.items():  # fmt: skip
        points[JOINTS.index(name)] = place
    return points


# ---- agreement


def agreement(found, target):
    return pose_agreement(found[None], target[None])[0]


def test_a_joint_is_right_within_a_fifth_of_the_torso():
    target = standing()
    reach = TOLERANCE * 50
    for offset, right in ((reach - 0.01, True), (reach + 0.01, False)):
        found = target.copy()
        found[0, 1] += offset
        found[3, 0] -= offset
        assert agreement(found, target) == pytest.approx(1 if right else 16 / 18)


def test_what_was_not_found_is_wrong_and_what_was_not_asked_for_does_not_count():
    target = standing()
    target[[0, 14]] = np.nan
    found = target.copy()
    found[0] = 5  # not asked for
    assert agreement(found, target) == 1
    found[[3, 4, 6]] = np.nan
    assert agreement(found, target) == pytest.approx(13 / 16)
    assert agreement(np.full((18, 2), np.nan), target) == 0


def test_it_falls_with_noise_and_does_not_depend_on_scale_and_reflection():
    target, noise = standing(), np.random.default_rng(1).normal(size=(18, 2))
    values = [agreement(target + size * noise, target) for size in (0, 5, 10, 20, 60)]
    assert values[0] == 1
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.2
    found = target + 10 * noise
    assert agreement(3 * found, 3 * target) == agreement(found, target)

    def mirrored(points):
        return (points * [1, -1])[list(MIRROR)]

    assert agreement(mirrored(found), mirrored(target)) == agreement(found, target)


def test_one_diagonal_of_the_torso_is_enough_and_none_gives_no_value():
    target = standing()
    target[JOINTS.index("left shoulder")] = np.nan
    assert agreement(target, target) == 1
    target[JOINTS.index("right shoulder")] = np.nan
    assert np.isnan(agreement(target, target))


# ---- joints


def test_cocos_joints_in_openposes_order():
    points = np.random.default_rng(0).uniform(size=(1, 17, 2))
    found = openpose_of_coco(points)[0]
    for place, name in enumerate(JOINTS):
        if name == "neck":
            shoulders = points[0, [COCO.index("left shoulder"), COCO.index("right shoulder")]]
            expected = shoulders.mean(axis=0)
        else:
            expected = points[0, COCO.index(name)]
        np.testing.assert_allclose(found[place], expected, rtol=1e-6, err_msg=name)
    points[0, COCO.index("left shoulder")] = np.nan
    assert np.isnan(openpose_of_coco(points)[0, [JOINTS.index("neck"), JOINTS.index("left shoulder")]]).all()


# ---- torchvision's network


def windows(shape, rng):
    """Random numbers each used several times: the file of a large network is small."""
    strides = [2 * place + 1 for place in range(len(shape))]
    numbers = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    fan_in = max(1, math.prod(shape[1:]))
    return (torch.randn(numbers, generator=rng) * math.sqrt(0.4 / fan_in)).as_strided(shape, strides)


@pytest.fixture(scope="module")
def network():
    """A network that finds a person everywhere, and is unsure of a wrist."""
    from torchvision.models.detection import keypointrcnn_resnet50_fpn

    with torch.device("meta"):
        network = keypointrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, min_size=64, max_size=256, box_detections_per_img=3
        )
    rng = torch.Generator().manual_seed(0)
    weights = {
        key: windows(value.shape, rng) for key, value in network.state_dict().items() if "num_batches" not in key
    }
    weights |= {key: 1 + value.abs() for key, value in weights.items() if key.endswith("running_var")}
    weights["roi_heads.box_predictor.cls_score.bias"] = torch.tensor([0.0, 2.0])
    joints = torch.full((17,), JOINT_SCORE + 5)
    joints[UNSURE] = JOINT_SCORE - 5
    weights["roi_heads.keypoint_predictor.kps_score_lowres.bias"] = joints
    network = network.to_empty(device="cpu").eval()
    network.load_state_dict(weights, strict=False)
    return network, weights


def test_it_finds_torchvisions_joints(network, tmp_path):
    theirs, weights = network
    torch.save(weights, tmp_path / WEIGHTS[0])
    assert (tmp_path / WEIGHTS[0]).stat().st_size < 2**23
    state = torch.get_rng_state()
    estimator = KeypointRCNN(tmp_path / WEIGHTS[0], short_side=64)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3), dtype=np.uint8)
    found, confidences = estimator.detect(images)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.dtype == np.float32
    assert np.isnan(found[:, JOINTS.index("left wrist")]).all()
    with torch.inference_mode():
        expected = theirs([torch.from_numpy(image).permute(2, 0, 1) / 255 for image in images])
    for each, points in zip(expected, found, strict=True):
        best = each["keypoints"][each["scores"].argmax()].numpy()
        for place, name in enumerate(JOINTS):
            if name not in ("neck", "left wrist"):
                column, row, _ = best[COCO.index(name)]
                np.testing.assert_allclose(points[place], [row, column], atol=1e-3, err_msg=name)
    np.testing.assert_allclose(confidences, [each["scores"].max() for each in expected], rtol=1e-5)
    np.testing.assert_array_equal(found, estimator(images))
    estimator._network.roi_heads.score_thresh = 1.1
    found, confidences = estimator.detect(images)
    assert np.isnan(found).all(), "nobody"
    np.testing.assert_array_equal(confidences, [0, 0])
    assert estimator.provenance["short_side"] == 64
    assert len(estimator.provenance["weights_sha256"]) == 64


def test_files_that_are_not_its_weights_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(ValueError, match=r"weights\.pth: no such file; give torchvision's keypointrcnn"):
        KeypointRCNN(path)
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        KeypointRCNN(path)
    for content in ({"a": torch.zeros(1)}, [1, 2]):
        torch.save(content, path)
        with pytest.raises(ValueError, match="not the weights of this network"):
            KeypointRCNN(path)
    torch.save({"run": print}, path)  # code
    with pytest.raises(ValueError, match="cannot be read as weights"):
        KeypointRCNN(path)


def test_weights_are_found_where_torch_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert find_weights() is None
    (tmp_path / "checkpoints").mkdir()
    for name in reversed(WEIGHTS):
        (tmp_path / "checkpoints" / name).touch()
        assert find_weights() == tmp_path / "checkpoints" / name


# ---- annotation files


def test_a_joint_whose_pixel_lies_outside_is_missing():
    points = np.full((1, 18, 2), 5.0)
    points[0, :6] = [(-0.4, 0), (-0.6, 0), (127.4, 63.4), (127.6, 3), (3, 63.6), (np.nan, 4)]
    found = inside(points, (128, 64))
    missing = np.isnan(found).any(axis=2)[0]
    assert np.flatnonzero(missing).tolist() == [1, 3, 4, 5]
    np.testing.assert_array_equal(found[0, ~missing], points[0, ~missing])


def test_an_annotation_is_of_the_estimator_that_its_file_names(tmp_path):
    annotation = tmp_path / "poses.csv"
    annotation.write_text("name:keypoints_y:keypoints_x\n")
    assert annotated_by(annotation) is None
    said = {"pose_estimator": {"estimator": "made up"}, "annotation_sha256": files.sha256(annotation)}
    files.write_json(provenance_path(annotation), said)
    assert annotated_by(annotation) == {"estimator": "made up"}
    annotation.write_text("name:keypoints_y:keypoints_x\n\n")
    assert annotated_by(annotation) is None, "somebody has edited it"
    files.write_json(provenance_path(annotation), [])
    with pytest.raises(ValueError, match=r"poses\.csv\.json: does not say which estimator made poses\.csv"):
        annotated_by(annotation)
