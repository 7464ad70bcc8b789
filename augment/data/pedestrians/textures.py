"""Cloth, skin and hair painted on cylinders: patterns, prints, faces.

A texture is uint8 (96, 128, 3). Columns run once around the body: the middle is in front, the seam at the back, and
columns grow towards the anatomical left. Rows run from the upper to the lower end of the garment.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import cv2
import numpy as np

ROWS, COLUMNS = 96, 128
Colour = tuple[int, int, int]

# Few colours, so that colour alone names nobody.
TOPS: dict[str, Colour] = {
    "white": (222, 222, 218),
    "black": (38, 38, 42),
    "grey": (122, 124, 128),
    "navy": (44, 58, 108),
    "red": (172, 44, 48),
    "green": (66, 112, 78),
}
BOTTOMS: dict[str, Colour] = {
    "black": (40, 40, 46),
    "denim": (66, 84, 124),
    "khaki": (146, 130, 104),
    "grey": (98, 100, 106),
}
SHOES: dict[str, Colour] = {"black": (36, 34, 34), "white": (208, 206, 202), "brown": (98, 68, 48)}
HAIRS: dict[str, Colour] = {
    "black": (30, 26, 26),
    "brown": (74, 50, 36),
    "fair": (164, 128, 84),
    "grey": (140, 138, 136),
}
SKINS: tuple[Colour, ...] = ((228, 188, 162), (208, 162, 130), (166, 116, 84), (104, 72, 54))


def plain(base: Colour) -> np.ndarray:
    return np.full((ROWS, COLUMNS, 3), base, np.uint8)


def _bands(length: int, period: int, share: float) -> np.ndarray:
    return np.arange(length) % period < max(1, round(period * share))


def hoops(rng: np.random.Generator, base: Colour, accent: Colour) -> np.ndarray:
    """Stripes around the body."""
    cloth = plain(base)
    cloth[_bands(ROWS, int(rng.choice((8, 13, 20))), float(rng.choice((0.3, 0.5))))] = accent
    return cloth


def pinstripes(rng: np.random.Generator, base: Colour, accent: Colour) -> np.ndarray:
    """Stripes along the body."""
    cloth = plain(base)
    cloth[:, _bands(COLUMNS, int(rng.choice((8, 16))), float(rng.choice((0.25, 0.5))))] = accent
    return cloth


def checks(rng: np.random.Generator, base: Colour, accent: Colour) -> np.ndarray:
    """Tartan: bands both ways, half mixed where they are single."""
    period = int(rng.choice((10, 16)))
    mixed = 0.5 * (_bands(ROWS, period, 0.5)[:, None] + _bands(COLUMNS, period, 0.5)[None, :].astype(float))
    return (np.array(base) + mixed[..., None] * (np.array(accent) - np.array(base))).astype(np.uint8)


def blocks(rng: np.random.Generator, base: Colour, accent: Colour) -> np.ndarray:
    """Another colour above or below a line."""
    cloth = plain(base)
    line = int(rng.choice((30, 48)))
    cloth[:line] = accent
    return cloth


def halves(rng: np.random.Generator, base: Colour, accent: Colour) -> np.ndarray:
    """Panels at the flanks."""
    cloth = plain(base)
    cloth[:, 22:42] = accent
    cloth[:, 86:106] = accent
    return cloth


def diagonal(rng: np.random.Generator, base: Colour, accent: Colour) -> np.ndarray:
    """Stripes that wind around the body."""
    cloth = plain(base)
    rise = np.arange(COLUMNS)[None, :] + int(rng.choice((-1, 1))) * np.arange(ROWS)[:, None]
    cloth[rise % 32 < int(rng.choice((8, 16)))] = accent
    return cloth


def dots(rng: np.random.Generator, base: Colour, accent: Colour) -> np.ndarray:
    cloth = plain(base)
    step = int(rng.choice((12, 16)))
    for row in range(step // 2, ROWS, step):
        for column in range(step // 2 + step // 2 * (row // step % 2), COLUMNS, step):
            cv2.circle(cloth, (column, row), step // 4, accent, -1)
    return cloth


PATTERNS: dict[str, Callable[[np.random.Generator, Colour, Colour], np.ndarray]] = {
    "hoops": hoops,
    "pinstripes": pinstripes,
    "checks": checks,
    "blocks": blocks,
    "halves": halves,
    "diagonal": diagonal,
    "dots": dots,
}


def around(cloth: np.ndarray, centre: int, paint: Callable[[np.ndarray], object]) -> None:
    """Lets `paint` draw, in place, on `cloth` rolled so that the angle at column `centre` is in the middle."""
    rolled = np.ascontiguousarray(np.roll(cloth, COLUMNS // 2 - centre, axis=1))
    paint(rolled)
    cloth[:] = np.roll(rolled, centre - COLUMNS // 2, axis=1)


def add_print(cloth: np.ndarray, rng: np.random.Generator, colour: Colour, *, back: bool, big: bool) -> None:
    """A logo, in place: a symmetric glyph, a number, a badge, or lines of writing; in front or on the back."""
    size = int(rng.integers(24, 30) if big else rng.integers(11, 15))
    row, column = (38, COLUMNS // 2) if big else (27, COLUMNS // 2 + int(rng.choice((-10, 0, 10))))
    kind = str(rng.choice(("glyph", "number", "badge", "writing")))
    cells = rng.random((5, 3)) < 0.55
    digits = str(rng.integers(2, 99))
    shape = int(rng.integers(3))
    words = rng.integers(3, 11, size=4)

    def paint(canvas: np.ndarray) -> None:
        top, left = row - size // 2, column - size // 2
        if kind == "glyph":
            glyph = np.concatenate([cells, cells[:, 1::-1]], axis=1).astype(np.uint8)
            mask = cv2.resize(glyph, (size, size), interpolation=cv2.INTER_NEAREST) > 0
            canvas[top : top + size, left : left + size][mask] = colour
        elif kind == "number":
            scale = size / 24
            cv2.putText(canvas, digits, (column - round(9 * scale * len(digits)), top + size), 0, scale, colour, 3)
        elif kind == "badge":
            if shape == 0:
                cv2.circle(canvas, (column, row), size // 2, colour, -1)
            elif shape == 1:
                cv2.rectangle(canvas, (left, top + size // 4), (left + size, top + 3 * size // 4), colour, -1)
            else:
                corners = np.array([[column, top], [left + size, top + size], [left, top + size]])
                cv2.fillConvexPoly(canvas, corners, colour)
        else:
            for line, word in enumerate(words[: 3 if big else 2]):
                half, y = int(word) * size // 22, top + line * size // 3 + 3
                cv2.line(canvas, (column - half, y), (column + half, y), colour, 3 if big else 2)

    around(cloth, 0 if back else COLUMNS // 2, paint)


def open_front(cloth: np.ndarray, inner: Colour, width: int) -> None:
    """An unbuttoned jacket, in place: what is worn below shows in a wedge."""
    half = COLUMNS // 2
    low = width // 2
    wedge = [[half - width, 0], [half + width, 0], [half + low, ROWS], [half - low, ROWS]]
    cv2.fillConvexPoly(cloth, np.array(wedge), inner)


def add_collar(cloth: np.ndarray, skin: Colour, depth: int, *, closed: Colour | None) -> None:
    """The neckline, in place: a V or round hole with skin in front, or a closed collar of its own colour."""
    half = COLUMNS // 2
    if closed is not None:
        cloth[:7] = closed
        return
    cv2.ellipse(cloth, (half, 0), (13, depth), 0, 0, 180, skin, -1)


def add_straps(cloth: np.ndarray, colour: Colour) -> None:
    """The straps of a backpack, in place."""
    for column in (COLUMNS // 2 - 17, COLUMNS // 2 + 13):
        cloth[0:46, column : column + 5] = colour


def add_sash(cloth: np.ndarray, colour: Colour, left: bool) -> None:
    """The strap of a bag hung across, in place: front and back."""
    half = COLUMNS // 2
    slant = 26 if left else -26
    for centre, lean in ((half, slant), (0, -slant)):
        start, end = (half - lean // 2, 2), (half + lean, 74)
        around(cloth, centre, partial(cv2.line, pt1=start, pt2=end, color=colour, thickness=4))


def face(skin: Colour, hair: Colour, rng: np.random.Generator, *, bald: bool, beard: bool, glasses: bool) -> np.ndarray:
    """The head: eyes, brows, mouth in front; hair behind and above unless `bald`."""
    head = plain(skin)
    half = COLUMNS // 2
    dark = tuple(int(0.72 * c) for c in skin)
    lips = (int(0.80 * skin[0]), int(0.55 * skin[1]), int(0.55 * skin[2]))
    head[62:, half - 26 : half + 26] = tuple(int(0.93 * c) for c in skin)
    if not bald:
        head[: int(rng.integers(4, 12))] = hair
        head[:70, : half - 34] = hair
        head[:70, half + 34 :] = hair
    for sign in (-1, 1):
        eye = half + sign * 9
        cv2.ellipse(head, (eye, 46), (6, 5), 0, 0, 360, dark, -1)
        cv2.ellipse(head, (eye, 47), (4, 2), 0, 0, 360, (232, 228, 222), -1)
        cv2.circle(head, (eye, 47), 2, (34, 26, 24), -1)
        cv2.line(head, (eye - 5, 39), (eye + 5, 39), tuple(int(0.8 * c) for c in hair), 2)
        if glasses:
            cv2.ellipse(head, (eye, 47), (7, 6), 0, 0, 360, (24, 24, 26), 2)
    cv2.line(head, (half - 1, 52), (half - 1, 60), dark, 3)
    if beard:
        head[66:, half - 30 : half + 30] = tuple(int(0.75 * h + 0.25 * s) for h, s in zip(hair, skin, strict=True))
    cv2.ellipse(head, (half, 72), (8, 3), 0, 0, 360, lips, -1)
    return head


@cache
def folds() -> np.ndarray:
    """Brightness of creased cloth, float32 (96, 128) around 1: the same for everybody, so that it tells nothing."""
    rng = np.random.default_rng(20)
    crease = cv2.GaussianBlur(rng.normal(size=(ROWS, COLUMNS)).astype(np.float32), (0, 0), 5, sigmaY=9)
    fine = cv2.GaussianBlur(rng.normal(size=(ROWS, COLUMNS)).astype(np.float32), (0, 0), 1.2)
    return (1.0 + 0.10 * crease / crease.std() + 0.035 * fine / fine.std()).astype(np.float32)
