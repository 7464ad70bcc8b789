"""A small ONNX network in RTMPose's form: each joint is where the image has that joint's colour."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from augment.rtmpose import DEVIATION, MEAN

KERNEL = 7
BRIGHT = 1.5  # distance of a joint's colour from grey, in deviations


def directions() -> np.ndarray:
    """17 colours, spread over a sphere around grey as far as they are away from black."""
    turns = np.arange(40) + 0.5
    heights, angles = 1 - turns / 20, turns * np.pi * (1 + 5**0.5)
    radii = np.sqrt(1 - heights**2)
    sphere = np.stack([radii * np.cos(angles), radii * np.sin(angles), heights], axis=1)
    black = -MEAN / DEVIATION
    return sphere[np.argsort(sphere @ black)[:17]]


def colours(strength: float = 1.0) -> np.ndarray:
    return np.rint(MEAN + strength * BRIGHT * directions() * DEVIATION).clip(0, 255).astype(np.uint8)


def dotted(places: np.ndarray, size: tuple[int, int], strength: float = 1.0) -> np.ndarray:
    """A grey image with a square dot in each joint's colour around its (row, column)."""
    reach = max(1, size[0] // 100)
    image = np.empty((*size, 3), np.uint8)
    image[:] = np.rint(MEAN)
    for (row, column), colour in zip(places, colours(strength), strict=True):
        image[row - reach : row + reach + 1, column - reach : column + reach + 1] = colour
    return image


def write_network(
    path: Path, size: tuple[int, int] = (256, 192), joints: int = 17, bins: int = 2, open_sides: bool = False
) -> Path:
    """`size` is (height, width); `bins` a pixel."""
    height, width = size
    spread = np.exp(-((np.arange(KERNEL) - KERNEL // 2) ** 2) / 4.0)
    window = np.outer(spread, spread)
    filters = directions()[np.arange(joints) % 17, :, None, None] * window / window.sum() / BRIGHT
    weights = numpy_helper.from_array(filters.astype(np.float32), "weights")
    scales = numpy_helper.from_array(np.array([1, 1, bins], np.float32), "scales")
    nodes = [helper.make_node("Conv", ["input", "weights"], ["response"], pads=[KERNEL // 2] * 4)]
    for name, axis in (("x", 2), ("y", 3)):
        nodes += [
            helper.make_node("ReduceMax", ["response"], [f"profile_{name}"], axes=[axis], keepdims=0),
            helper.make_node(
                "Resize", [f"profile_{name}", "", "scales"], [f"simcc_{name}"], mode="linear",
                coordinate_transformation_mode="asymmetric",
            ),
        ]  # fmt: skip
    sides = ["height", "width"] if open_sides else [height, width]
    graph = helper.make_graph(
        nodes,
        "rtmpose",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, *sides])],
        [
            helper.make_tensor_value_info(f"simcc_{name}", TensorProto.FLOAT, ["batch", joints, None])
            for name in ("x", "y")
        ],
        [weights, scales],
    )
    return save(path, graph)


def write_constants(path: Path, columns: np.ndarray, rows: np.ndarray) -> Path:
    """A network that gives the same two maps for every image of 256x192."""
    outputs = {"simcc_x": columns, "simcc_y": rows}
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value.astype(np.float32)))
            for name, value in outputs.items()
        ],
        "constants",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 256, 192])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in outputs.items()],
    )
    return save(path, graph)


def save(path: Path, graph: onnx.GraphProto) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path
