"""Contact sheets: rows of images and drawn skeletons under column titles, as PNG."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from augment import files
from augment.data.keypoints import LIMBS

Pixels = UInt8[np.ndarray, "h w 3"]
GAP, SMALLEST = 4, 8  # pixels; the second is a font's size
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


def contact_sheet(rows: Sequence[Sequence[Pixels | None]], titles: Sequence[str]) -> bytes:
    """The PNG of a plain `drawn` sheet."""
    return png(drawn(rows, titles))


def drawn(
    rows: Sequence[Sequence[Pixels | None]],
    titles: Sequence[str],
    scale: int = 2,
    groups: int = 1,
    *,
    labels: Sequence[str] = (),
    head: str = "",
) -> Pixels:
    """A sheet of `rows`, each a tuple of images under `titles`; None leaves a cell empty.

    Images of one size (h, w) are enlarged `scale` times; images already enlarged (skeletons) stay as they are.
    `groups` rows stand side by side. `labels` are one a row, written above it; `head` is a line above everything.
    """
    if labels and len(labels) != len(rows):
        raise AssertionError(f"{len(rows)} rows, {len(labels)} labels")
    height, width = next(cell.shape[:2] for row in rows for cell in row if cell is not None)
    height, width = height * scale, width * scale
    columns = len(titles)
    lines = -(-len(rows) // groups)
    group_width = columns * (width + GAP) + 2 * GAP
    head_font = _font([head], groups * group_width - 2 * GAP, width // 5)
    title_font = _font(titles, width, width // 5)
    label_font = _font(labels, group_width - 2 * GAP, width // 8)
    top = _line(head_font) if head else 0
    first = top + _line(title_font)
    step = height + GAP + (_line(label_font) if labels else 0)
    sheet = Image.new("RGB", (groups * group_width, first + lines * step + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, 2), head, fill="black", font=head_font)
    for group in range(groups):
        for column, title in enumerate(titles):
            pen.text((group * group_width + GAP + column * (width + GAP), top + 2), title, "black", title_font)
    for index, row in enumerate(rows):
        left = (index // lines) * group_width + GAP
        bottom = first + (index % lines + 1) * step - GAP
        if labels:
            pen.text((left, bottom - step + GAP + 1), labels[index], "black", label_font)
        for column, cell in enumerate(row):
            if cell is not None:
                image = Image.fromarray(cell).resize((width, height), Image.Resampling.NEAREST)
                sheet.paste(image, (left + column * (width + GAP), bottom - height))
    return np.asarray(sheet)


def png(pixels: Pixels) -> bytes:
    """Encode losslessly."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_sheet(
    path: Path,
    rows: Sequence[Sequence[Pixels | None]],
    titles: Sequence[str],
    scale: int = 2,
    groups: int = 1,
    *,
    labels: Sequence[str] = (),
    head: str = "",
) -> Path:
    """Publish a contact sheet."""
    return files.write_atomic(path, png(drawn(rows, titles, scale, groups, labels=labels, head=head)))


def _font(texts: Sequence[str], width: int, size: int) -> ImageFont.FreeTypeFont:
    """The largest font up to a size in which each text is at most so wide, if any is."""
    font = ImageFont.load_default(max(size, SMALLEST))
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise AssertionError("Pillow without FreeType has no fonts of a size")
    while font.size > SMALLEST and any(font.getlength(text) > width for text in texts):
        font = font.font_variant(size=font.size - 1)
    return font


def _line(font: ImageFont.FreeTypeFont) -> int:
    """Pixels of height that a line of text takes."""
    ascent, descent = font.getmetrics()
    return ascent + descent + GAP


def _side(first: int, second: int) -> tuple[int, int, int]:
    if first in RIGHT_JOINTS or second in RIGHT_JOINTS:
        return RIGHT
    return LEFT if first in LEFT_JOINTS or second in LEFT_JOINTS else MIDDLE
