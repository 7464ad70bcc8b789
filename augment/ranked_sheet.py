"""A sheet of queries with what they find, each image marked by frame, sign and, where it is synthetic, the word."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, ImageDraw, ImageFont

from augment import files, sheets
from augment.data.images import read_image
from augment.data.records import DataSet
from augment.searched import Searched
from augment.store import Reader
from reid.dataset import resized
from reid.metrics import Evaluation

QUERIES, RANKS = 24, 10
IN_ONE_COLUMN = 12  # more queries stand in two
HEIGHT, FRAME, SIGN = 192, 5, 22  # pixels of an image, its frame and the sign in its corner
RIGHT, WRONG, SYNTHETIC = (46, 160, 67), (207, 34, 46), (9, 105, 218)  # RGB; the signs say the same without colours
LEGEND = {
    RIGHT: "the query's person",
    WRONG: "somebody else",
    SYNTHETIC: "synthetic: counts in the ranks shown, not in AP",
}
SUFFIXES = (".png", ".jpg", ".jpeg")
QUALITY = 88  # of a JPEG, whose colours are kept at full resolution
Pixels = UInt8[np.ndarray, "h w 3"]


def require_writable(path: Path) -> None:
    """
    Raises:
        ValueError: a name of a file that is no picture.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--sheet {path}: ends with {path.suffix!r}; name it .png, or .jpg for a smaller file")


def write_sheet(
    path: Path,
    dataset: DataSet,
    sets: Sequence[Reader],
    searched: Searched,
    evaluation: Evaluation,
    metric: str,
    size: tuple[int, int],
    count: int = QUERIES,
) -> Path:
    """Up to `count` queries from the worst to the best; `size` is the network's, whose aspect ratio images get."""
    chosen = spread(evaluation, count)
    shape = (HEIGHT, round(HEIGHT * size[1] / size[0]))
    images = _Images(dataset, sets, shape)
    rows, labels = [], []
    for query, ranked in zip(chosen.tolist(), searched.first(chosen, metric, RANKS), strict=True):
        cells = [images.found(int(image), int(searched.query.pids[query])) for image in ranked]
        rows.append([images.query(query), *cells, *[None] * (RANKS - len(cells))])
        labels.append(f"{dataset.query[query].name}, AP {evaluation.ap[query]:.1%}")
    titles = ("query", *(f"{rank}" for rank in range(1, RANKS + 1)))
    groups = 1 if len(rows) <= IN_ONE_COLUMN else 2
    sheet = sheets.drawn(rows, titles, 1, groups, labels=labels)
    marks = [RIGHT, WRONG, *([SYNTHETIC] if sets else [])]
    return files.write_atomic(path, _encoded(np.concatenate([_legend(marks, sheet.shape[1]), sheet]), path))


def spread(evaluation: Evaluation, count: int) -> Int64[np.ndarray, " n"]:
    """Queries that have a match, evenly from the worst to the best."""
    valid = np.flatnonzero(~np.isnan(evaluation.ap))
    order = valid[np.argsort(evaluation.ap[valid], kind="stable")]
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]


def marked(image: Pixels, colour: tuple[int, int, int]) -> Pixels:
    """An image in a frame with a sign in its corner: a tick, a cross, or the word synthetic along the lower edge."""
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    pen.rectangle((0, 0, width - 1, height - 1), outline=colour, width=FRAME)
    if colour == SYNTHETIC:
        pen.rectangle((0, height - SIGN, width - 1, height - 1), fill=colour)
        font = _fitting("synthetic", width - 2 * FRAME)
        pen.text((width / 2, height - SIGN / 2), "synthetic", "white", font, anchor="mm")
    else:
        pen.rectangle((0, 0, SIGN - 1, SIGN - 1), fill=colour)
        _sign(pen, colour)
    return np.asarray(canvas)


def _sign(pen: ImageDraw.ImageDraw, colour: tuple[int, int, int]) -> None:
    """A white tick or cross in the upper left corner."""
    a, b, c = SIGN // 4, SIGN // 2, SIGN - SIGN // 4 - 1
    if colour == RIGHT:
        pen.line([(a, b), (b - 1, c), (c + 1, a)], "white", 3, joint="curve")
    else:
        pen.line([(a, a), (c, c)], "white", 3)
        pen.line([(a, c), (c, a)], "white", 3)


def _legend(colours: Sequence[tuple[int, int, int]], width: int) -> Pixels:
    """A strip of so many pixels' width that says what each mark means."""
    strip = Image.new("RGB", (width, SIGN + 2 * sheets.GAP), "white")
    pen = ImageDraw.Draw(strip)
    text = "".join(LEGEND[colour] for colour in colours)
    font = _fitting(text, width - len(colours) * 2 * SIGN)
    left = sheets.GAP
    for colour in colours:
        blank = np.full((SIGN, SIGN, 3), colour, np.uint8)
        sign = blank if colour == SYNTHETIC else marked(blank, colour)
        strip.paste(Image.fromarray(sign), (left, sheets.GAP))
        left += SIGN + sheets.GAP
        pen.text((left, strip.height / 2), LEGEND[colour], "black", font, anchor="lm")
        left += round(font.getlength(LEGEND[colour])) + SIGN
    return np.asarray(strip)


def _fitting(text: str, width: int, largest: int = 16) -> ImageFont.FreeTypeFont:
    """The largest font up to a size in which a text is at most so wide, or a tiny one."""
    font = ImageFont.load_default(largest)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow without FreeType has no fonts of a size"
    while font.size > sheets.SMALLEST and font.getlength(text) > width:
        font = font.font_variant(size=font.size - 1)
    return font


def _encoded(sheet: Pixels, path: Path) -> bytes:
    if path.suffix.lower() == ".png":
        return sheets.png(sheet)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


class _Images:
    """Query, gallery and synthetic images at the size of the sheet; synthetic ones are numbered after the gallery's."""

    def __init__(self, dataset: DataSet, sets: Sequence[Reader], shape: tuple[int, int]) -> None:
        self._dataset, self._shape = dataset, shape
        self._synthetic = [(held, row) for held in sets for row in range(len(held))]

    def query(self, number: int) -> Pixels:
        return resized(read_image(self._dataset.query[number].path), *self._shape)

    def found(self, number: int, pid: int) -> Pixels:
        """An image with its mark as one of the answers to a query of the person `pid`."""
        if number < len(self._dataset.gallery):
            record = self._dataset.gallery[number]
            return marked(resized(read_image(record.path), *self._shape), RIGHT if record.pid == pid else WRONG)
        held, row = self._synthetic[number - len(self._dataset.gallery)]
        return marked(resized(held.image(row), *self._shape), SYNTHETIC)
