"""Contact sheets: rows of images and drawn skeletons under column titles, as PNG."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from augment import files
from augment.data.keypoints import LIMBS

Pixels = UInt8[np.ndarray, "h w 3"]
GAP, TITLE = 4, 16
RIGHT, LEFT, MIDDLE = (230, 80, 60), (70, 130, 240), (240, 200, 70)  # the person's sides
RIGHT_JOINTS, LEFT_JOINTS = {2, 3, 4, 8, 9, 10, 14, 16}, {5, 6, 7, 11, 12, 13, 15, 17}


def draw_skeleton(points: Float[np.ndarray, "18 2"], size: tuple[int, int], scale: int = 2) -> Pixels:
    """OpenPose limbs on dark ground, right side red, left blue; `size` is (h, w) before enlarging by `scale`."""
    canvas = np.full((size[0] * scale, size[1] * scale, 3), 24, dtype=np.uint8)
    centres = points[:, ::-1] * scale + (scale - 1) / 2
    for first, second in LIMBS:
        ends = centres[[first, second]]
        if not np.isnan(ends).any():
            start, stop = (tuple(int(v) for v in np.rint(end)) for end in ends)
            cv2.line(canvas, start, stop, _side(first, second), scale, cv2.LINE_AA)
    for joint, centre in enumerate(centres):
        if not np.isnan(centre).any():
            cv2.circle(canvas, tuple(int(v) for v in np.rint(centre)), scale, _side(joint, joint), -1, cv2.LINE_AA)
    return canvas


def contact_sheet(
    rows: Sequence[Sequence[Pixels | None]], titles: Sequence[str], scale: int = 2, groups: int = 1
) -> bytes:
    """A PNG of `rows`, each a tuple of images under `titles`; None leaves a cell empty.

    Images of one size (h, w) are enlarged `scale` times; images already enlarged (skeletons) stay as they are.
    `groups` rows stand side by side.
    """
    height, width = next(cell.shape[:2] for row in rows for cell in row if cell is not None)
    height, width = height * scale, width * scale
    columns = len(titles)
    lines = -(-len(rows) // groups)
    group_width = columns * (width + GAP) + 2 * GAP
    sheet = Image.new("RGB", (groups * group_width, TITLE + lines * (height + GAP) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for group in range(groups):
        for column, title in enumerate(titles):
            pen.text((group * group_width + GAP + column * (width + GAP), 2), title, fill="black")
    for index, row in enumerate(rows):
        left = (index // lines) * group_width + GAP
        top = TITLE + (index % lines) * (height + GAP)
        for column, cell in enumerate(row):
            if cell is not None:
                image = Image.fromarray(cell).resize((width, height), Image.Resampling.NEAREST)
                sheet.paste(image, (left + column * (width + GAP), top))
    return png(np.asarray(sheet))


def png(pixels: Pixels) -> bytes:
    """Encode losslessly."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_sheet(path: Path, rows: Sequence[Sequence[Pixels | None]], titles: Sequence[str], **options: int) -> Path:
    """Publish a contact sheet."""
    return files.write_atomic(path, contact_sheet(rows, titles, **options))


def _side(first: int, second: int) -> tuple[int, int, int]:
    if first in RIGHT_JOINTS or second in RIGHT_JOINTS:
        return RIGHT
    return LEFT if first in LEFT_JOINTS or second in LEFT_JOINTS else MIDDLE
