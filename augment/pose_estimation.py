"""Finding the joints of the person in an image, behind one interface, and how well they agree with those asked for.

An estimator gives OpenPose's 18 joints, whatever it was trained on; COCO's 17 lack the neck, which is the middle of the
shoulders. The one here is torchvision's Keypoint R-CNN (He et al., ICCV 2017, arXiv 1703.06870); see also
`augment.rtmpose`.
"""

from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from augment import files
from augment.data.keypoints import TORSO

# torchvision's files, the better one first: 65.0 and 61.1 points of average precision on COCO's key points.
WEIGHTS = ("keypointrcnn_resnet50_fpn_coco-fc266e95.pth", "keypointrcnn_resnet50_fpn_coco-9f466800.pth")
ZERO_EPSILON = "fc266e95"  # begin of the SHA-256 of the weights that were trained without epsilon in batch norm

SHORT_SIDE = 256  # pixels that an image's short side is scaled to; torchvision's 800 take eight times as long
JOINT_SCORE = 2.0  # logit below which a joint counts as not found, as in Detectron's drawings

# Where COCO has OpenPose's joints; the neck is made of the shoulders.
COCO_SHOULDERS = (5, 6)
FROM_COCO = (0, 0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
NECK = 1

TOLERANCE = 0.2  # of the torso's diameter
MEASURE = f"PCK@{TOLERANCE} of the torso's diameter"

Images = UInt8[np.ndarray, "n h w 3"]
People = Float32[np.ndarray, "n 18 2"]  # (row, column) in pixels, NaN where missing
Confidences = Float32[np.ndarray, " n"]  # in [0, 1]; 0 where no person is found


@runtime_checkable
class PoseEstimator(Protocol):
    """Finds the joints of the one person that each image shows."""

    @property
    def provenance(self) -> dict[str, Any]:
        """All that determines what it finds."""
        ...

    def __call__(self, images: Images) -> People: ...


@runtime_checkable
class PersonDetector(PoseEstimator, Protocol):
    """An estimator that also says how sure it is that there is a person."""

    def detect(self, images: Images) -> tuple[People, Confidences]: ...


@final
class KeypointRCNN:
    """torchvision's Keypoint R-CNN with a ResNet-50; of the persons found in an image, the one it is surest of."""

    def __init__(self, weights: Path, device: torch.device | str = "cpu", short_side: int = SHORT_SIDE) -> None:
        """Build the network with the weights in a file.

        Raises:
            ValueError: not readable, or not this network's.
        """
        from torchvision.models.detection import KeypointRCNN as Network  # here, because most runs need no detector
        from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
        from torchvision.ops import FrozenBatchNorm2d

        sha256 = files.sha256(_require_file(weights))
        with torch.device("meta"):
            backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None)
            sides = {"min_size": short_side, "max_size": 4 * short_side}
            network = Network(backbone, num_classes=2, num_keypoints=17, box_detections_per_img=1, **sides)
        if sha256.startswith(ZERO_EPSILON):
            for layer in network.modules():
                if isinstance(layer, FrozenBatchNorm2d):
                    layer.eps = 0.0
        _load(network, weights)
        self._network = network.to(device).eval().requires_grad_(False)
        self._device = torch.device(device)
        self.provenance: dict[str, Any] = {
            "estimator": "torchvision keypointrcnn_resnet50_fpn",
            "weights_sha256": sha256,
            "short_side": short_side,
            "joint_score": JOINT_SCORE,
        }

    def __call__(self, images: Images) -> People:
        """All joints are missing where no person is found."""
        return self.detect(images)[0]

    @torch.inference_mode()
    def detect(self, images: Images) -> tuple[People, Confidences]:
        """The confidence is the detection's score; torchvision keeps none below 0.05."""
        planes = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).float().div(255)
        found = self._network(list(planes))
        scores = [each["scores"][0].item() if len(each["scores"]) else 0.0 for each in found]
        return openpose_of_coco(np.stack([_joints(each) for each in found])), np.asarray(scores, dtype=np.float32)


def find_weights() -> Path | None:
    """torchvision's weights where torch keeps what it has downloaded."""
    places = (Path(torch.hub.get_dir()) / "checkpoints" / name for name in WEIGHTS)
    return next((place for place in places if place.is_file()), None)


def provenance_path(annotation: Path) -> Path:
    """Where an annotation file that was made here says by what."""
    return annotation.with_name(f"{annotation.name}.json")


def annotated_by(annotation: Path) -> dict[str, Any] | None:
    """The provenance of the estimator that made an annotation file; None where that is unknown.

    Raises:
        ValueError: what lies beside the file is not what was written there.
    """
    path = provenance_path(annotation)
    if not path.is_file():
        return None
    said = files.read_json(path)
    if not isinstance(said, dict) or not isinstance(said.get("pose_estimator"), dict):
        raise ValueError(f"{path}: does not say which estimator made {annotation.name}; remove it")
    return said["pose_estimator"] if said.get("annotation_sha256") == files.sha256(annotation) else None


def openpose_of_coco(points: Float[np.ndarray, "n 17 2"]) -> People:
    """COCO's joints in OpenPose's order; the neck is missing where a shoulder is."""
    found = points[:, FROM_COCO]
    found[:, NECK] = points[:, COCO_SHOULDERS].mean(axis=1)
    return found.astype(np.float32)


def inside(points: Float[np.ndarray, "n k 2"], size: tuple[int, int]) -> Float[np.ndarray, "n k 2"]:
    """Joints whose nearest pixel is none of an image of `size` (h, w) are missing: nobody sees them there."""
    pixels = np.rint(points)
    seen = ((pixels >= 0) & (pixels < np.asarray(size))).all(axis=2, keepdims=True)
    return np.where(seen, points, np.nan).astype(points.dtype)


def pose_agreement(found: Float[np.ndarray, "n 18 2"], target: Float[np.ndarray, "n 18 2"]) -> Float[np.ndarray, " n"]:
    """The share of the target's annotated joints that were found within 0.2 of its torso's diameter.

    This is PCK (Yang and Ramanan, TPAMI 2013) measured by the torso as on FLIC (Sapp and Taskar, CVPR 2013). The
    diameter is the longer one of the two diagonals between shoulders and hips. A joint that was not found is wrong; NaN
    where the target has no diagonal.
    """
    right_shoulder, left_shoulder, right_hip, left_hip = (target[:, joint] for joint in TORSO)
    one, other = (np.linalg.norm(ends, axis=1) for ends in (right_shoulder - left_hip, left_shoulder - right_hip))
    torso = np.fmax(one, other)  # of one that is NaN, the other
    annotated = ~np.isnan(target).any(axis=2)
    right = np.linalg.norm(found - target, axis=2) < TOLERANCE * torso[:, None]  # not so where NaN
    shares = (right & annotated).sum(axis=1) / np.maximum(1, annotated.sum(axis=1))
    return np.where(np.isnan(torso), np.nan, shares)


def _joints(person: dict[str, torch.Tensor]) -> Float[np.ndarray, "17 2"]:
    """(row, column) of the joints of the one detection that is kept, if any; NaN where the network is unsure."""
    if not len(person["scores"]):
        return np.full((17, 2), np.nan)
    points = person["keypoints"][0, :, [1, 0]].double().cpu().numpy()
    points[person["keypoints_scores"][0].cpu().numpy() < JOINT_SCORE] = np.nan
    return points


def _require_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give torchvision's {WEIGHTS[0]}")
    return path


def _load(network: torch.nn.Module, path: Path) -> None:
    remedy = f"give torchvision's {WEIGHTS[0]}"
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises a dozen kinds on broken or unsafe files
        raise ValueError(f"{path}: cannot be read as weights; {remedy}") from None
    try:
        network.load_state_dict(weights, assign=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        found = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: not the weights of this network ({found}); {remedy}") from None
