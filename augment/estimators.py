"""Pose estimators by name."""

from pathlib import Path

import torch

from augment import pose_estimation, rtmpose
from augment.backbones import MissingWeights
from augment.devices import pick_device
from augment.pose_estimation import KeypointRCNN, PersonDetector
from augment.rtmpose import RTMPose

RTMPOSE, KEYPOINT_RCNN = "rtmpose", "keypointrcnn"
ESTIMATORS = (RTMPOSE, KEYPOINT_RCNN)


def make_estimator(name: str, weights: Path | None = None, device: torch.device | str = "auto") -> PersonDetector:
    """The estimator with the weights in a file, or with those in the usual caches; `auto` takes a GPU it can use.

    Raises:
        MissingWeights: none are given, and none in the caches.
        MissingExtra: it needs a package that is not installed.
        ValueError: no such estimator, weights that are not its own, a device that is not there.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"--estimator {name}: expected one of {', '.join(ESTIMATORS)}")
    path = weights or require_weights(name)
    if name == KEYPOINT_RCNN:
        return KeypointRCNN(path, pick_device(device) if isinstance(device, str) else device)
    if device == "auto":
        return RTMPose(path, rtmpose.best_device())
    return RTMPose(path, pick_device(device) if isinstance(device, str) else device)


def require_weights(name: str) -> Path:
    """The file in the usual caches.

    Raises:
        MissingWeights: there is none; the message says which one to put where.
    """
    found = rtmpose.find_weights() if name == RTMPOSE else pose_estimation.find_weights()
    if found is None:
        raise MissingWeights(f"weights missing, {_remedy(name)}")
    return found


def unused_gpu(estimator: PersonDetector) -> str | None:
    """What to say where an estimator computes on the CPU although there is a GPU."""
    if isinstance(estimator, RTMPose) and estimator.device.type == "cpu" and torch.cuda.is_available():
        return "rtmpose computes on the CPU: this onnxruntime cannot use the GPU; install onnxruntime-gpu instead of it"
    return None


def _remedy(name: str) -> str:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if name == KEYPOINT_RCNN:
        return f"put torchvision's {pose_estimation.WEIGHTS[0]} at {folder / pose_estimation.WEIGHTS[0]}"
    archive = Path(rtmpose.USUAL).with_suffix(".zip")
    return f"put the end2end.onnx of MMPose's {archive} at {folder / rtmpose.USUAL}"
