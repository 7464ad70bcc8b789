"""Stage: draw what a generator does inside, for some pairs: what moves, where texture comes from, what refining adds.

PATN: the attention mask of every block, all on one scale, each block's range in its title. DPTN: where the texture of
some joints of the target comes from, as a share of each joint's greatest weight; empty where a joint is not visible.
PG2: the coarse image and the difference that refines it.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from augment import sheets
from augment.data import feed, keypoints
from augment.data.read import read_data
from augment.devices import pick_device
from augment.validation import hold_out
from generators import checkpoint
from generators.dptn import DPTN
from generators.generator import Generator
from generators.patn import PATN
from generators.pg2 import PG2
from generators.tensors import to_uint8

# Of the target; DPTN is asked where it takes their texture from.
JOINTS = ("neck", "right wrist", "left wrist", "right knee", "left ankle")
GAIN = 4  # by which PG2's difference is enlarged around grey

Pixels = UInt8[np.ndarray, "h w 3"]
Column = tuple[str, list[Pixels | None]]


def run(
    data: Path, generator: Path, sheet: Path, *, poses: Path | None = None, pairs: int = 12, device: str = "auto"
) -> Path:
    """Draw `pairs` random pairs, of test identities where there are any; returns the sheet's path.

    Raises:
        ValueError: bad data or weights; a generator that has nothing to show.
    """
    compute = pick_device(device)
    network = checkpoint.load_generator(generator, compute)
    dataset = read_data(data)
    points = keypoints.dataset_points(dataset, poses)
    test = [record for record in (*dataset.query, *dataset.gallery) if record.name in points]
    people = keypoints.usable(test or dataset.train, points)
    held_out = hold_out(people, points, same_camera=False, count=pairs)
    if held_out is None:
        raise ValueError(f"{data}: no identity has two images with key points, so there is no pair to draw")
    split, (source, target) = held_out.split, held_out.pairs.T
    kind = network.pose_map
    inputs = split.images(source, compute), split.maps(source, compute, kind), split.maps(target, compute, kind)
    with torch.inference_mode():
        inside = explain(network, split, source, target, *inputs)
        generated = to_uint8(network(*inputs)).cpu().numpy()
    columns: list[Column] = [
        ("source", list(split.pixels[source])),
        ("target pose", [sheets.draw_skeleton(split.points[index], split.size) for index in target]),
        *inside,
        ("generated", list(generated)),
        ("true", list(split.pixels[target])),
    ]
    rows = list(zip(*(cells for _, cells in columns), strict=True))
    return sheets.write_sheet(sheet, rows, [title for title, _ in columns])


def explain(
    network: Generator, split: feed.Posed, source: np.ndarray, target: np.ndarray, *inputs: Tensor
) -> list[Column]:
    """The columns of this kind of network.

    Raises:
        ValueError: it has nothing to show.
    """
    if isinstance(network, PATN):
        masks = network.attention(*inputs).float().cpu().numpy()
        low, high = float(masks.min()), float(masks.max())  # one scale for all, so that blocks can be compared
        columns: list[Column] = []
        for block in range(masks.shape[1]):
            heats = masks[:, block]
            cells = [overlay(image, heat, low, high) for image, heat in zip(split.pixels[source], heats, strict=True)]
            columns.append((f"{block + 1}: {heats.min():.2f}-{heats.max():.2f}", [*cells]))
        return columns
    if isinstance(network, DPTN):
        height, width = (side // network.stride for side in split.size)
        weights = (
            network.correspondence(*inputs).float().cpu().numpy().reshape(len(source), height, width, height, width)
        )
        return [_sources_of(joint, weights, split, source, target, network.stride) for joint in JOINTS]
    if isinstance(network, PG2) and network.config.stages == 2:
        coarse, refined = (part.float() for part in network.stages_of(inputs[0], inputs[2]))
        difference = to_uint8((refined - coarse) * GAIN).cpu().numpy()
        return [("coarse", list(to_uint8(coarse).cpu().numpy())), (f"{GAIN} x difference", list(difference))]
    kind = "a PG2 of one stage" if isinstance(network, PG2) else type(network).__name__
    raise ValueError(f"{kind} attends to nothing that could be drawn; give a patn, a dptn or a pg2 of two stages")


def _sources_of(
    joint: str, weights: np.ndarray, split: feed.Posed, source: np.ndarray, target: np.ndarray, stride: int
) -> Column:
    """Where each pair's target takes the texture around one joint from; empty where the joint is missing."""
    cells: list[Pixels | None] = []
    for pair, (first, second) in enumerate(zip(source, target, strict=True)):
        point = split.points[second, keypoints.JOINTS.index(joint)]
        if np.isnan(point).any():
            cells.append(None)
            continue
        row, column = (
            int(np.clip(value // stride, 0, side - 1)) for value, side in zip(point, weights.shape[1:3], strict=True)
        )
        heat = weights[pair, row, column]
        cells.append(overlay(split.pixels[first], heat, 0.0, float(heat.max())))
    return joint, cells


def overlay(image: Pixels, heat: Float[np.ndarray, "a b"], low: float, high: float) -> Pixels:
    """`heat` over the greyed image: dark blue at `low`, yellow at `high`."""
    levels = np.clip((heat - low) / max(high - low, 1e-9), 0, 1)
    size = (image.shape[1], image.shape[0])
    stretched = cv2.resize((levels * 255).astype(np.uint8), size, interpolation=cv2.INTER_CUBIC)
    colours = cv2.applyColorMap(stretched, cv2.COLORMAP_VIRIDIS)[..., ::-1]
    grey = image.mean(2, keepdims=True)
    return (0.35 * grey + 0.65 * colours).astype(np.uint8)
