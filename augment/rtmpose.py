"""RTMPose (Jiang et al., arXiv 2303.07399) as published in ONNX: a top-down estimator whose box is the whole image.

ONNX runtime is called directly. rtmlib, which wraps it, requires opencv-python and opencv-contrib-python; both put
another `cv2` over that of opencv-python-headless. Preparation and decoding give rtmlib's coordinates. In two things it
is MMPose, where the weights were trained, that is followed: images are RGB (`bgr_to_rgb=True`; rtmlib passes on what
OpenCV read), and a joint's score is the smaller of the maxima along its two axes (rtmlib: their mean).
"""

import os
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32

from augment import files
from augment.backbones import MissingExtra
from augment.pose_estimation import Confidences, Images, People, inside, openpose_of_coco

# The published archives by name, the better one first: 78.8, 78.3, 76.7, 74.9, 69.7 and 65.9 points of average
# precision on COCO. Each holds one `end2end.onnx`, which rtmlib keeps under the archive's name.
WEIGHTS = (
    "rtmpose-x_simcc-body7_pt-body7_700e-384x288-71d7b7e9_20230629.onnx",
    "rtmpose-l_simcc-body7_pt-body7_420e-384x288-3f5a1437_20230504.onnx",
    "rtmpose-l_simcc-body7_pt-body7_420e-256x192-4dba18fc_20230504.onnx",
    "rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504.onnx",
    "rtmpose-s_simcc-body7_pt-body7_420e-256x192-acd4a1ef_20230504.onnx",
    "rtmpose-t_simcc-body7_pt-body7_420e-256x192-026a1439_20230504.onnx",
)
USUAL = WEIGHTS[3]  # rtmlib's "balanced"
REMEDY = f"give RTMPose for COCO's 17 joints: the end2end.onnx of {USUAL.removesuffix('.onnx')}.zip"

JOINT_SCORE = 0.3  # below which a joint counts as not found: `kpt_thr` of MMPose's inferencers and demonstrations
PADDING = 1.25  # of the box, as in the training (MMPose's GetBBoxCenterScale)
SPLIT = 2.0  # bins a pixel of the two one-dimensional maps (`simcc_split_ratio`)
INPUT_SIZE = (256, 192)  # (height, width) where a file leaves it open
MEAN, DEVIATION = np.array((123.675, 116.28, 103.53)), np.array((58.395, 57.12, 57.375))  # RGB


@final
class RTMPose:
    """RTMPose on ONNX runtime, one image at a time: what it finds in an image does not depend on the others."""

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        """Load the network of a file, and try it.

        Raises:
            MissingExtra: ONNX runtime is not installed.
            ValueError: not readable, or another network; or ONNX runtime cannot compute on the device.
        """
        self.device = torch.device(device)
        self._session = _open(weights, self.device)
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        given = entry.shape[2:4] if len(entry.shape) == 4 else ()
        sides = tuple(side for side in given if isinstance(side, int))
        self._size = (sides[0], sides[1]) if len(sides) == 2 else INPUT_SIZE
        self._try(weights)
        self.provenance: dict[str, Any] = {
            "estimator": "rtmpose",
            "weights_sha256": files.sha256(weights),
            "input_size": list(self._size),
            "padding": PADDING,
            "joint_score": JOINT_SCORE,
        }

    def __call__(self, images: Images) -> People:
        """Joints are missing where the network is unsure, and where it puts them outside of the image."""
        return self.detect(images)[0]

    def detect(self, images: Images) -> tuple[People, Confidences]:
        """The confidence is the mean of the 17 joints' scores (MMPose's `score_mode="keypoint"`); 0 if none is found.

        The network takes every image for one of a person, so it is far from 0 also where nobody is.
        """
        found = [self._find(image) for image in images]
        points = np.stack([each for each, _ in found])
        scores = np.stack([each for _, each in found])
        points[scores < JOINT_SCORE] = np.nan
        height, width = images.shape[1:3]
        people = inside(points, (height, width))
        somebody = ~np.isnan(people).all(axis=(1, 2))
        confidences = np.clip(scores.mean(axis=1), 0, 1) * somebody
        return openpose_of_coco(people), confidences.astype(np.float32)

    def _find(self, image: np.ndarray) -> tuple[Float[np.ndarray, "17 2"], Float[np.ndarray, " 17"]]:
        """(row, column) of each joint, in pixels of the image, and its score."""
        crop, corner, scale = _crop(image, self._size)
        planes = ((crop - MEAN) / DEVIATION).transpose(2, 0, 1)[None].astype(np.float32)
        columns, rows = (axis[0] for axis in self._run(planes))
        places = np.stack([rows.argmax(axis=1), columns.argmax(axis=1)], axis=1) / SPLIT
        scores = np.minimum(rows.max(axis=1), columns.max(axis=1)).astype(np.float64)
        return places * scale + corner, scores

    def _run(self, planes: Float32[np.ndarray, "1 3 h w"]) -> list[np.ndarray]:
        return [np.asarray(output) for output in self._session.run(None, {self._input: planes})]

    def _try(self, weights: Path) -> None:
        height, width = self._size
        try:
            found = [output.shape for output in self._run(np.zeros((1, 3, height, width), np.float32))]
        except Exception as error:  # ONNX runtime has a kind of its own for each complaint
            raise ValueError(f"{weights}: does not run on an image ({_line(error)}); {REMEDY}") from None
        expected = [(1, 17, int(side * SPLIT)) for side in (width, height)]
        if found != expected:
            raise ValueError(f"{weights}: gives arrays of {_shapes(found)} instead of {_shapes(expected)}; {REMEDY}")


def find_weights() -> Path | None:
    """A published file where torch or rtmlib keep what they have downloaded."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folders = (Path(torch.hub.get_dir()) / "checkpoints", cache / "rtmlib" / "hub" / "checkpoints")
    places = (folder / name for name in WEIGHTS for folder in folders)
    return next((place for place in places if place.is_file()), None)


def best_device() -> torch.device:
    """A GPU where there is one that ONNX runtime can compute on.

    Raises:
        MissingExtra: ONNX runtime is not installed.
    """
    gpu = "CUDAExecutionProvider" in _runtime().get_available_providers() and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def _crop(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """The padded box of the whole image in the network's input size, black where it reaches beyond the image.

    Also (row, column) of its corner in the image, and how many of the image's pixels one of its own is.
    """
    sides = np.asarray(image.shape[:2], dtype=np.float64)
    scale = float((sides * PADDING / size).max())
    corner = sides / 2 - np.asarray(size) * scale / 2
    matrix = np.array([[1, 0, -corner[1]], [0, 1, -corner[0]]]) / scale
    return cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR), corner, scale


def _runtime() -> Any:
    try:
        import onnxruntime  # here, because it is an extra
    except ImportError:
        raise MissingExtra("needs onnxruntime: pip install 'reid-augment[pose]'") from None
    return onnxruntime


def _open(weights: Path, device: torch.device) -> Any:
    runtime = _runtime()
    if not weights.is_file():
        raise ValueError(f"{weights}: no such file; {REMEDY}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    name, settings = _provider(device)
    if name not in runtime.get_available_providers():
        raise ValueError(
            f"--device {device}: this onnxruntime computes on the CPU only; use --device cpu, or install "
            "onnxruntime-gpu instead of it"
        )
    try:
        session = runtime.InferenceSession(weights, options, providers=[(name, settings)])
    except Exception as error:  # ONNX runtime has a kind of its own for each complaint
        raise ValueError(f"{weights}: cannot be read as an ONNX network ({_line(error)}); {REMEDY}") from None
    if name not in session.get_providers():  # it goes on with the CPU where a library of CUDA's is missing
        raise ValueError(f"--device {device}: onnxruntime finds no CUDA libraries that fit it; use --device cpu")
    return session


def _provider(device: torch.device) -> tuple[str, dict[str, Any]]:
    if device.type == "cuda":
        return "CUDAExecutionProvider", {"device_id": device.index or 0, "use_tf32": 0}
    if device.type == "cpu":
        return "CPUExecutionProvider", {}
    raise ValueError(f"--device {device}: onnxruntime computes on cpu or cuda; use --device cpu")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) for shape in shapes)
