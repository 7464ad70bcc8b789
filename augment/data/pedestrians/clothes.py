"""An identity: body shape and textured clothes.

People of one outfit share cut, colours and kind of pattern, as in a street full of jeans and white shirts: what tells
them apart is the print in front or on the back, the pattern's scale, hair, shoes, bag and shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from augment.data.pedestrians import textures as paint
from augment.data.pedestrians.skeleton import Proportions
from augment.data.pedestrians.textures import Colour

LAYERS = ("top", "sleeve", "bottom", "leg", "skirt", "head", "hair", "skin", "shoe", "bag", "hat", "sock")
TOP, SLEEVE, BOTTOM, LEG, SKIRT, HEAD, HAIR, SKIN, SHOE, BAG, HAT, SOCK = range(len(LAYERS))
# Lower end below the waist, in statures.
HEMS = {"tee": 0.135, "shirt": 0.15, "jacket": 0.13, "hoodie": 0.14, "coat": 0.27, "dress": 0.27}
LOOSE = {"tee": 1.06, "shirt": 1.08, "jacket": 1.16, "hoodie": 1.16, "coat": 1.18, "dress": 1.02}
SLEEVED = ("hoops", "pinstripes", "checks", "dots")  # patterns that a sleeve may continue


@dataclass(frozen=True)
class Outfit:
    """What people who look alike have in common."""

    top: str  # a key of HEMS
    bottom: str  # trousers, shorts, skirt
    base: Colour
    accent: Colour
    low: Colour  # of the bottom
    pattern: str  # a key of textures.PATTERNS, or plain


@dataclass(frozen=True, eq=False)
class Person:
    """Who somebody is. `textures` is uint8 (layers, 96, 128, 3), one layer a name of `LAYERS`."""

    proportions: Proportions
    textures: np.ndarray
    top: str  # a key of HEMS
    bottom: str  # trousers, shorts, skirt
    sleeve: float  # how much of the arm is covered, 0 to 2: 1 ends at the elbow
    hem: float  # lower end of the top below the waist, in statures
    loose: float  # factor on the radius of the clothes
    hair: str  # bald, short, full, long, tail, bun
    hat: str  # none, cap, beanie, brim
    bag: str  # none, backpack, shoulder, hand
    bag_left: bool


def _pick(rng: np.random.Generator, table: dict[str, Colour]) -> Colour:
    """A colour of the table, dyed a little differently."""
    return _dye(rng, table[_draw(rng, dict.fromkeys(table, 1.0))])


def _dye(rng: np.random.Generator, colour: Colour) -> Colour:
    red, green, blue = np.clip(np.array(colour) + rng.normal(0.0, 4.0, size=3), 8, 245).astype(int).tolist()
    return red, green, blue


def _accent(rng: np.random.Generator, base: Colour) -> Colour:
    """A colour of the tops that is seen against `base`."""
    while True:
        colour = _pick(rng, paint.TOPS)
        if sum(abs(a - b) for a, b in zip(colour, base, strict=True)) > 130:
            return colour


def _draw(rng: np.random.Generator, weights: dict[str, float]) -> str:
    total = sum(weights.values())
    return str(rng.choice(list(weights), p=[weight / total for weight in weights.values()]))


def _tint(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(factor * c) for c in colour)
    return red, green, blue


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Cut and colours, from small palettes."""
    base, low = _pick(rng, paint.TOPS), _pick(rng, paint.BOTTOMS)
    return Outfit(
        top=_draw(rng, {"tee": 0.36, "shirt": 0.18, "jacket": 0.18, "coat": 0.07, "dress": 0.07, "hoodie": 0.14}),
        bottom=_draw(rng, {"trousers": 0.62, "shorts": 0.24, "skirt": 0.14}),
        base=base,
        accent=_accent(rng, base),
        low=low,
        pattern=_draw(rng, {"plain": 0.48, **dict.fromkeys(paint.PATTERNS, 0.52 / len(paint.PATTERNS))}),
    )


def sample_person(rng: np.random.Generator, outfit: Outfit | None = None) -> Person:
    """An identity in `outfit`, or in an outfit of its own."""
    outfit = sample_outfit(rng) if outfit is None else outfit
    proportions = Proportions(
        shoulders=float(np.clip(rng.normal(1.0, 0.06), 0.86, 1.14)),
        hips=float(np.clip(rng.normal(1.0, 0.07), 0.85, 1.18)),
        girth=float(np.clip(rng.normal(1.0, 0.10), 0.82, 1.28)),
        legs=float(np.clip(rng.normal(1.0, 0.025), 0.95, 1.05)),
        head=float(np.clip(rng.normal(1.0, 0.04), 0.92, 1.08)),
    )
    skin = paint.SKINS[int(rng.choice(len(paint.SKINS), p=(0.4, 0.3, 0.18, 0.12)))]
    hair = _draw(rng, {"bald": 0.07, "short": 0.38, "full": 0.15, "long": 0.2, "tail": 0.12, "bun": 0.08})
    bag = _draw(rng, {"none": 0.5, "backpack": 0.22, "shoulder": 0.16, "hand": 0.12})
    bag_left = bool(rng.random() < 0.5)
    bag_colour = _pick(rng, paint.TOPS)
    top, sleeve, skirt = _top_cloth(rng, outfit, skin)
    legs = _leg_cloth(rng, outfit.low)
    if bag == "backpack":
        paint.add_straps(top, _tint(bag_colour, 0.7))
    elif bag == "shoulder":
        paint.add_sash(top, _tint(bag_colour, 0.7), bag_left)
    if outfit.bottom == "skirt" and outfit.top not in ("coat", "dress"):
        skirt = legs
    hair_colour = _pick(rng, paint.HAIRS)
    beard = hair in ("bald", "short") and rng.random() < 0.2
    glasses = rng.random() < 0.15
    layers = {
        "top": top,
        "sleeve": sleeve,
        "bottom": legs,
        "leg": legs,
        "skirt": skirt,
        "head": paint.face(skin, hair_colour, rng, bald=hair == "bald", beard=bool(beard), glasses=bool(glasses)),
        "hair": paint.plain(hair_colour),
        "skin": paint.plain(skin),
        "shoe": _shoe(rng),
        "bag": _bag_cloth(rng, bag_colour, bag),
        "hat": paint.plain(_pick(rng, paint.TOPS)),
        "sock": paint.plain(_pick(rng, paint.SHOES)),
    }
    short = {"tee": rng.uniform(0.45, 0.75), "dress": rng.uniform(0.0, 0.8), "shirt": rng.choice((0.8, 1.5, 1.95))}
    return Person(
        proportions=proportions,
        textures=np.stack([layers[name] for name in LAYERS]),
        top=outfit.top,
        bottom=outfit.bottom,
        sleeve=float(short.get(outfit.top, 1.95)),
        hem=HEMS[outfit.top] + float(rng.normal(0.0, 0.01)),
        loose=LOOSE[outfit.top] + float(rng.normal(0.0, 0.02)),
        hair=hair,
        hat=_draw(rng, {"none": 0.76, "cap": 0.13, "beanie": 0.07, "brim": 0.04}),
        bag=bag,
        bag_left=bag_left,
    )


def _top_cloth(rng: np.random.Generator, outfit: Outfit, skin: Colour) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Textures of the trunk, the sleeves and what hangs below the hips."""
    base, accent = _dye(rng, outfit.base), _dye(rng, outfit.accent)
    cloth, sleeve = paint.plain(base), paint.plain(base)
    if outfit.pattern != "plain":
        cloth = paint.PATTERNS[outfit.pattern](rng, base, accent)
        if outfit.pattern in SLEEVED and rng.random() < 0.7:
            sleeve = cloth.copy()
    elif rng.random() < 0.2:
        sleeve = paint.plain(accent)
    below = cloth.copy()
    if rng.random() < 0.6:
        paint.add_print(cloth, rng, _accent(rng, base), back=False, big=bool(rng.random() < 0.5))
    if rng.random() < 0.5:
        paint.add_print(cloth, rng, _accent(rng, base), back=True, big=bool(rng.random() < 0.7))
    if outfit.top in ("jacket", "coat") and rng.random() < 0.65:
        paint.open_front(cloth, _accent(rng, base), int(rng.integers(5, 13)))
    collar = None if outfit.top in ("tee", "dress") else accent if rng.random() < 0.4 else base
    paint.add_collar(cloth, skin, int(rng.integers(5, 13)), closed=collar)
    return cloth, sleeve, below


def _leg_cloth(rng: np.random.Generator, low: Colour) -> np.ndarray:
    """Trousers, shorts or skirt: plain, with a stripe at the sides, or checked."""
    low = _dye(rng, low)
    style = rng.random()
    if style < 0.1:
        return paint.checks(rng, low, _tint(low, 1.6) if sum(low) < 330 else _tint(low, 0.6))
    legs = paint.plain(low)
    if style < 0.26:
        legs[:, 26:34] = legs[:, 94:102] = _accent(rng, low)
    return legs


def _bag_cloth(rng: np.random.Generator, colour: Colour, bag: str) -> np.ndarray:
    cloth = paint.plain(colour)
    cloth[44:54] = _tint(colour, 0.6)
    if rng.random() < 0.5:
        paint.add_print(cloth, rng, _accent(rng, colour), back=bag == "backpack", big=False)
    return cloth


def _shoe(rng: np.random.Generator) -> np.ndarray:
    """Leather above, a sole below."""
    shoe = paint.plain(_pick(rng, paint.SHOES))
    shoe[:, :14] = shoe[:, -14:] = (196, 194, 190) if rng.random() < 0.5 else (50, 48, 48)
    return shoe
