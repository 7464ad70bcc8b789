"""A clothed body: the solids that a person's shape and clothes put around a posed skeleton.

Lengths are in statures. Axes run from the lower to the upper end, so that the middle of every texture is in front.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from augment.data.pedestrians.clothes import (
    BAG,
    BOTTOM,
    HAIR,
    HAT,
    HEAD,
    LEG,
    SHOE,
    SKIN,
    SKIRT,
    SLEEVE,
    SOCK,
    TOP,
    Person,
)
from augment.data.pedestrians.skeleton import SIDES, Skeleton
from augment.data.pedestrians.solids import Solid

WHOLE = (-9.0, 9.0)
OPEN_BELOW = (0.0, 9.0)  # cloth that ends at its hem, without a rounded end
NECK_ROW, CHEST_ROW, WAIST_ROW = 0.02, 0.13, 0.56  # of the top's texture
ROWS_PER_STATURE = 2.65  # the same scale below the waist
SHORT = 0.17  # longest top that hangs from the shoulders; what is longer is a skirt from the waist down


def dress(person: Person, skeleton: Skeleton) -> list[Solid]:
    """The solids of a clothed body, in no order: the renderer's depth buffer sorts them."""
    parts = _trunk(person, skeleton) + _head(person, skeleton) + _bag(person, skeleton)
    for side in SIDES:
        parts += _arm(person, skeleton, side) + _leg(person, skeleton, side)
    return parts


def _trunk(person: Person, skeleton: Skeleton) -> list[Solid]:
    p, shape, loose = skeleton.points, person.proportions, person.loose
    pelvis, chest = skeleton.frames["pelvis"], skeleton.frames["chest"]
    waist = (0.080 if person.top == "dress" else 0.086) * shape.girth
    hips = 0.101 * shape.hips * (0.5 + 0.5 * shape.girth)
    ribs = 0.098 * shape.shoulders * (0.7 + 0.3 * shape.girth)
    down, chest_left, pelvis_left = -pelvis[:, 1], chest[:, 0], pelvis[:, 0]
    top, nape = p["neck"] - 0.034 * chest[:, 1], p["nape"] + 0.006 * chest[:, 1]
    long = person.top in ("coat", "dress")
    skirt = long or person.bottom == "skirt"
    short = min(person.hem, SHORT)
    stride = abs(float(pelvis[:, 2] @ (p["left_knee"] - p["right_knee"])))
    seat = SKIRT if person.top == "dress" else BOTTOM
    above, below = (WAIST_ROW, CHEST_ROW), (WAIST_ROW + ROWS_PER_STATURE * short, WAIST_ROW)
    wide, deep = hips * max(1.09, 0.98 * loose), 0.70 + 0.35 * stride
    throat, skull = p["neck"] - 0.01 * chest[:, 1], p["skull"] + 0.02 * chest[:, 1]
    parts = [
        Solid(p["waist"], top, chest_left, waist * loose, ribs * loose, 0.68, 0.25, TOP, above),
        Solid(top, nape, chest_left, ribs * loose, 0.038 * loose, 0.68, 0.25, TOP, (CHEST_ROW, NECK_ROW)),
        Solid(throat, skull, chest_left, 0.038, 0.034, 1.0, 1.0, SKIN, (0.0, 1.0)),
        Solid(p["pelvis"] + 0.008 * down, p["waist"], pelvis_left, hips, waist * 0.96, 0.70, 0.5, seat, (0.3, 0.0)),
    ]
    if long or not skirt:  # else the top is tucked in
        hem = p["waist"] + short * down
        parts.append(Solid(hem, p["waist"], pelvis_left, wide, waist * loose, deep, 0.2, TOP, below, OPEN_BELOW))
    if skirt:
        knees = 0.5 * (p["left_knee"] + p["right_knee"]) - p["pelvis"]
        sway = 0.35 * (knees - float(down @ knees) * down)
        hem = p["waist"] + (person.hem if long else 0.24) * down + sway
        wide, deep = hips * (1.22 if person.top == "dress" else 1.20), min(1.5, 0.80 + 2.5 * stride)
        start = p["waist"] + (0.05 if long else 0.01) * down
        parts.append(
            Solid(hem, start, pelvis_left, wide, waist * 1.02 * loose, deep, 0.4, SKIRT, (1.0, 0.0), OPEN_BELOW)
        )
    return parts


def _head(person: Person, skeleton: Skeleton) -> list[Solid]:
    head, size = skeleton.frames["head"], person.proportions.head
    origin, left = skeleton.points["skull"], head[:, 0]
    parts: list[Solid] = []

    def add(  # in the axes of the head, from the joint with the neck
        start: tuple[float, float, float],
        end: tuple[float, float, float],
        radii: tuple[float, float],
        depth: float,
        cap: float,
        layer: int,
        rows: tuple[float, float],
        clip: tuple[float, float] = WHOLE,
    ) -> None:
        low, high = origin + head @ (np.array(start) * size), origin + head @ (np.array(end) * size)
        parts.append(Solid(low, high, left, radii[0] * size, radii[1] * size, depth, cap, layer, rows, clip))

    add((0.0, 0.026, 0.018), (0.0, 0.072, 0.006), (0.036, 0.048), 1.14, 1.08, HEAD, (0.76, 0.33))
    add((0.0, 0.036, 0.054), (0.0, 0.052, 0.050), (0.009, 0.006), 1.3, 1.0, SKIN, (0.0, 1.0))  # nose
    for sign in SIDES.values():  # ears
        add((sign * 0.045, 0.036, -0.003), (sign * 0.047, 0.056, -0.006), (0.006, 0.008), 1.6, 1.0, SKIN, (0.0, 1.0))
    if person.hair != "bald":
        full = {"full": 1.16, "long": 1.08}.get(person.hair, 1.0)
        crown, back = (0.0485 * full, 0.0475 * full), (0.040 * full, 0.046 * full)
        add((0.0, 0.072, -0.018), (0.0, 0.082, -0.012), crown, 1.12, 1.05, HAIR, (0.8, 0.2))
        add((0.0, 0.036, -0.022), (0.0, 0.070, -0.016), back, 0.9, 1.0, HAIR, (0.9, 0.5))
    if person.hair == "long":
        add((0.0, -0.035, -0.036), (0.0, 0.060, -0.026), (0.042, 0.048), 0.62, 0.7, HAIR, (1.0, 0.3))
    elif person.hair == "tail":
        add((0.0, -0.020, -0.078), (0.0, 0.075, -0.062), (0.012, 0.019), 1.0, 1.0, HAIR, (1.0, 0.3))
    elif person.hair == "bun":
        add((0.0, 0.105, -0.052), (0.0, 0.109, -0.052), (0.024, 0.024), 1.0, 1.0, HAIR, (1.0, 0.3))
    if person.hat == "beanie":
        add((0.0, 0.082, -0.006), (0.0, 0.100, -0.008), (0.054, 0.047), 1.14, 1.0, HAT, (0.9, 0.1), (-0.3, 9.0))
    elif person.hat != "none":
        add((0.0, 0.088, -0.004), (0.0, 0.094, -0.004), (0.053, 0.050), 1.16, 0.95, HAT, (0.9, 0.1), (-0.6, 9.0))
    if person.hat == "cap":
        add((0.0, 0.079, 0.048), (0.0, 0.083, 0.048), (0.042, 0.042), 1.4, 0.16, HAT, (0.5, 0.5))
    elif person.hat == "brim":
        add((0.0, 0.082, -0.002), (0.0, 0.086, -0.002), (0.080, 0.080), 1.1, 0.12, HAT, (0.5, 0.5))
    return parts


def _arm(person: Person, skeleton: Skeleton, side: str) -> list[Solid]:
    p, sign, cover = skeleton.points, SIDES[side], person.sleeve
    chest, upper, fore = (skeleton.frames[name] for name in ("chest", f"{side}_upper_arm", f"{side}_forearm"))
    elbow, wrist, hand = (p[f"{side}_{name}"] for name in ("elbow", "wrist", "hand"))
    shoulder = p[f"{side}_shoulder"] - 0.010 * upper[:, 1]
    slope = p["nape"] + chest @ [sign * 0.022, -0.014, 0.0]
    thick = 0.6 + 0.4 * person.proportions.girth
    cloth = thick * person.loose
    down_to_elbow, down_to_wrist = cover >= 1.0, cover > 1.8
    parts = [
        Solid(shoulder, slope, -sign * chest[:, 1], 0.0285 * person.loose, 0.024, 1.1, 1.0, SLEEVE, (0.1, 0.0)),
        Solid(hand, wrist, fore[:, 0], 0.0135, 0.0175, 1.25, 1.0, SKIN, (0.9, 0.1)),
    ]
    add = _onto(parts, upper[:, 0], (elbow, shoulder), (0.5, 0.0))
    if down_to_elbow:
        add((0.0240 * cloth, 0.0295 * cloth), 1.1, 1.0, SLEEVE)
    else:
        add((0.0240 * thick, 0.0295 * thick), 1.1, 1.0, SKIN)
        if cover > 0.05:
            add((0.0295 * cloth, 0.0315 * cloth), 1.1, 1.0, SLEEVE, (1.0 - cover, 9.0))
    add = _onto(parts, fore[:, 0], (wrist, elbow), (1.0, 0.5))
    if down_to_wrist:
        add((0.0165 * cloth, 0.0245 * cloth), 1.0, 1.0, SLEEVE)
    else:
        add((0.0165 * thick, 0.0245 * thick), 1.0, 1.0, SKIN)
        if down_to_elbow:
            add((0.024 * cloth, 0.026 * cloth), 1.0, 1.0, SLEEVE, (2.0 - cover, 9.0))
    return parts


def _onto(
    parts: list[Solid], lateral: np.ndarray, axis: tuple[np.ndarray, np.ndarray], rows: tuple[float, float]
) -> Callable[..., None]:
    """A function that adds one more tube around the same bone: (radii, depth, cap, layer, clip)."""

    def add(
        radii: tuple[float, float], depth: float, cap: float, layer: int, clip: tuple[float, float] = WHOLE
    ) -> None:
        parts.append(Solid(*axis, lateral, *radii, depth, cap, layer, rows, clip))

    return add


def _leg(person: Person, skeleton: Skeleton, side: str) -> list[Solid]:
    p = skeleton.points
    femur, tibia, foot = (skeleton.frames[f"{side}_{name}"] for name in ("thigh", "shin", "foot"))
    knee, ankle, heel, toe = (p[f"{side}_{name}"] for name in ("knee", "ankle", "heel", "toe"))
    hip = p[f"{side}_hip"] - 0.01 * skeleton.frames["pelvis"][:, 1]
    thick = 0.55 + 0.45 * person.proportions.girth
    sole, instep = heel + foot @ [0.0, 0.004, 0.012], heel + foot @ [0.0, 0.020, 0.020]
    parts = [
        Solid(heel, toe, foot[:, 0], 0.0235, 0.0215, 0.75, 1.0, SHOE, (0.6, 0.4)),
        Solid(sole, instep, foot[:, 0], 0.0225, 0.021, 1.4, 1.0, SHOE, (0.6, 0.4)),
    ]
    thigh = _onto(parts, femur[:, 0], (knee, hip), (0.55, 0.1))
    shin = partial(_onto, parts, tibia[:, 0])
    if person.bottom == "trousers" and person.top != "dress":
        thigh((0.040 * thick, 0.047 * thick), 1.25, 0.7, BOTTOM)
        shin((ankle, knee), (1.0, 0.55))((0.031 * thick, 0.039 * thick), 1.12, 0.7, LEG, (-0.12, 9.0))
        return parts
    thigh((0.036 * thick, 0.043 * thick), 1.25, 0.7, SKIN)
    if person.bottom == "shorts" and person.top != "dress":
        thigh((0.050 * thick, 0.051 * thick), 1.15, 0.8, BOTTOM, (0.22, 9.0))
    calf = knee + tibia @ [0.0, -0.085, -0.008]
    shin((calf, knee), (0.6, 0.3))((0.034 * thick, 0.033 * thick), 1.1, 1.0, SKIN)
    shin((ankle, calf), (1.0, 0.6))((0.0185, 0.033 * thick), 1.1, 1.0, SKIN)
    shin((ankle, knee), (1.0, 0.6))((0.0215, 0.040 * thick), 1.1, 1.0, SOCK, (-0.1, 0.2))
    return parts


def _bag(person: Person, skeleton: Skeleton) -> list[Solid]:
    p, chest, pelvis = skeleton.points, skeleton.frames["chest"], skeleton.frames["pelvis"]
    side = "left" if person.bag_left else "right"
    rows = (0.9, 0.1)
    if person.bag == "backpack":
        back = -0.098 * person.loose * person.proportions.girth
        low, high = p["waist"] + chest @ [0.0, 0.02, back], p["neck"] + chest @ [0.0, -0.06, back]
        return [Solid(low, high, chest[:, 0], 0.082, 0.070, 0.55, 0.6, BAG, rows)]
    if person.bag == "shoulder":
        out = SIDES[side] * 0.125 * person.proportions.hips * person.loose
        low, high = p["pelvis"] + pelvis @ [out, -0.03, 0.0], p["pelvis"] + pelvis @ [out, 0.04, 0.0]
        return [Solid(low, high, pelvis[:, 0], 0.028, 0.022, 2.4, 1.2, BAG, rows)]
    if person.bag == "hand":
        hand = p[f"{side}_hand"]
        low, rim = hand - np.array([0.0, 0.10, 0.0]), hand - np.array([0.0, 0.04, 0.0])
        return [
            Solid(low, rim, pelvis[:, 0], 0.030, 0.024, 2.3, 1.0, BAG, rows),
            Solid(rim, hand, pelvis[:, 0], 0.016, 0.006, 2.0, 1.0, BAG, (0.5, 0.4)),
        ]
    return []
