"""One picture of one person: projection into the box, shadow, occlusion, and the key points that are seen."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from augment.data.pedestrians import textures
from augment.data.pedestrians.body import dress
from augment.data.pedestrians.clothes import Person
from augment.data.pedestrians.scene import Camera, backdrop, occluder, photograph
from augment.data.pedestrians.skeleton import JOINTS, SIDES, Pose, Skeleton, pose_skeleton, rotation
from augment.data.pedestrians.solids import Light, Projection, render

SUPERSAMPLE = 2
# A face point is seen while it turns to the camera by at least this (cosine): OpenPose guesses the rim of the head.
SEEN = {"nose": -0.25, "right_eye": -0.10, "left_eye": -0.10, "right_ear": -0.55, "left_ear": -0.55}
BONES = (
    ("skull", "pelvis", 0.11),
    ("left_shoulder", "left_elbow", 0.05),
    ("left_elbow", "left_wrist", 0.04),
    ("right_shoulder", "right_elbow", 0.05),
    ("right_elbow", "right_wrist", 0.04),
    ("left_hip", "left_knee", 0.07),
    ("left_knee", "left_heel", 0.05),
    ("right_hip", "right_knee", 0.07),
    ("right_knee", "right_heel", 0.05),
)
SOLES = (("left_heel", "left_toe", 0.05), ("right_heel", "right_toe", 0.05))
LIFTED = 0.08  # a sole this high darkens no ground


def frame(skeleton: Skeleton, camera: Camera, rng: np.random.Generator, size: tuple[int, int]) -> Projection:
    """A detector's box: the person fills it but for a jitter; now and then feet or head are cut."""
    height, width = size
    tilt = rotation(0, camera.pitch + rng.normal(0.0, 0.02))
    centre = np.array([skeleton.points["pelvis"][0], 0.5, skeleton.points["pelvis"][2]])
    unit = Projection(tilt, centre, camera.distance * rng.uniform(0.8, 1.25), 1.0, 1.0, (0.0, 0.0))
    crown = skeleton.points["crown"] + np.array([0.0, 0.058, 0.0])
    feet = [skeleton.points[f"{side}_{part}"] for side in SIDES for part in ("toe", "heel")]
    spots = unit.project(np.array([crown, *feet]))
    top, bottom = spots[0, 1], spots[1:, 1].max() + 0.02
    above, below = rng.uniform(-0.01, 0.06), rng.uniform(-0.01, 0.06)
    if rng.random() < 0.06:
        below = -rng.uniform(0.08, 0.25)
    scale = height * (1.0 - above - below) / (bottom - top)
    trunk = unit.project(np.array([skeleton.points["neck"], skeleton.points["pelvis"]]))[:, 0].mean()
    middle = 0.7 * trunk + 0.3 * spots[1:, 0].mean()
    stretch = rng.uniform(0.88, 1.12) * (width / height) / 0.5
    x = width * (0.5 + rng.normal(0.0, 0.045)) - middle * scale * stretch
    return Projection(tilt, centre, unit.distance, scale, stretch, (x, height * above - top * scale))


def _magnify(view: Projection, factor: int) -> Projection:
    x, y = view.offset
    return replace(view, scale=view.scale * factor, offset=(x * factor, y * factor))


def cutout(
    person: Person, skeleton: Skeleton, camera: Camera, view: Projection, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The person alone: float32 (height, width, 4), colour times coverage and coverage; and the fine depth buffer."""
    light = Light(view.tilt @ camera.light, camera.sun, camera.sky)
    fine = _magnify(view, SUPERSAMPLE)
    shape = (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE)
    painted, depth = render(dress(person, skeleton), person.textures, textures.folds(), fine, light, shape)
    return cv2.resize(painted, size[::-1], interpolation=cv2.INTER_AREA), depth


def _shade(skeleton: Skeleton, camera: Camera, view: Projection, size: tuple[int, int]) -> np.ndarray:
    """Share of the light left on the ground by the body and below the shoes, float32 (height, width, 1)."""
    mask = np.zeros(size, np.uint8)
    fall = camera.light[[0, 2]] / max(camera.light[1], 0.2)
    ends = np.array([skeleton.points[name] for *bone, _ in BONES + SOLES for name in bone])
    height = ends[:, 1:2].copy()
    ends[:, 1] = 0.0
    ends[: 2 * len(BONES), ::2] -= height[: 2 * len(BONES)] * fall
    spots = np.clip(view.project(ends)[:, :2], -2000, 2000).round().astype(int).reshape(-1, 2, 2).tolist()
    for k, ((first, last), (*_, thick)) in enumerate(zip(spots, BONES + SOLES, strict=True)):
        if k < len(BONES) or height[2 * k : 2 * k + 2].min() < LIFTED:
            cv2.line(mask, first, last, 140 if k < len(BONES) else 255, max(1, round(thick * view.scale)))
    soft = cv2.GaussianBlur(mask, (0, 0), 1.6 * size[0] / 128)
    return 1.0 - soft[..., None].astype(np.float32) * np.float32(camera.shadow / 255)


def _inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which rows and columns (n, 2) round to a pixel of the picture."""
    return np.all((points > -0.5) & (points < np.array(size) - 0.5), axis=1)


def seen_points(
    skeleton: Skeleton,
    view: Projection,
    depth: np.ndarray,
    cover: np.ndarray,
    rng: np.random.Generator,
    size: tuple[int, int],
) -> np.ndarray:
    """OpenPose's joints as float32 (18, 2) row and column of the pixel's centre; NaN where OpenPose would find none.

    Missing are face points that turn away, most joints behind an occluder, a part of those deep behind the body, and
    whatever lies outside of the picture.
    """
    places = skeleton.joints()
    seen = view.project(places)
    points = np.stack([seen[:, 1], seen[:, 0]], axis=1) - 0.5
    keep = _inside(points, size)
    luck = rng.random((len(JOINTS), 2))
    axis = np.linalg.inv(view.tilt)[:, 2]
    skull = skeleton.points["skull"] + skeleton.frames["head"] @ [0.0, 0.045, 0.0]
    for k, name in enumerate(JOINTS):
        if not keep[k]:
            continue
        if name in SEEN:
            out = places[k] - skull
            keep[k] = float(out @ axis) / math.sqrt(float(out @ out)) > SEEN[name]
        row, column = (round(float(v)) for v in points[k])
        front = depth[min(SUPERSAMPLE * row, depth.shape[0] - 1), min(SUPERSAMPLE * column, depth.shape[1] - 1)]
        if seen[k, 2] - front / SUPERSAMPLE > 0.10 * view.scale and luck[k, 0] < 0.35:
            keep[k] = False
        if cover[row, column] > 0.5 and luck[k, 1] < 0.75:
            keep[k] = False
    points[~keep] = np.nan
    return points.astype(np.float32)


def draw(
    person: Person, pose: Pose, camera: Camera, rng: np.random.Generator, size: tuple[int, int] = (128, 64)
) -> tuple[np.ndarray, np.ndarray]:
    """A crop as a detector would cut it, uint8 (height, width, 3) RGB, and the joints, float32 (18, 2), row and column.

    `rng` decides framing, background, occlusion, exposure and noise; missing joints are NaN.
    """
    skeleton = pose_skeleton(pose, person.proportions)
    view = frame(skeleton, camera, rng, size)
    painted, depth = cutout(person, skeleton, camera, view, size)
    feet = view.project(np.zeros((1, 3)) + skeleton.points["pelvis"] * [1.0, 0.0, 1.0])[0, 1]
    picture = backdrop(camera, rng, size, view.scale, feet, view.stretch)
    picture *= _shade(skeleton, camera, view, size)
    picture = picture * (1.0 - painted[..., 3:]) + painted[..., :3]
    cover = np.zeros(size, np.float32)
    if rng.random() < camera.occlusion:
        thing = occluder(camera, rng, size)
        cover = thing[..., 3]
        picture = picture * (1.0 - thing[..., 3:]) + thing[..., :3] * thing[..., 3:]
    points = seen_points(skeleton, view, depth, cover, rng, size)
    return photograph(picture, camera, rng), points


def draw_fragment(
    person: Person, pose: Pose, camera: Camera, rng: np.random.Generator, size: tuple[int, int] = (128, 64)
) -> tuple[np.ndarray, np.ndarray]:
    """A detector's mistake: a piece of a body, or background alone. As `draw`."""
    height, width = size
    if rng.random() < 0.4:
        picture = backdrop(camera, rng, size, height * rng.uniform(0.8, 1.6), height * rng.uniform(0.6, 1.0), 1.0)
        if rng.random() < 0.5:
            thing = occluder(camera, rng, size)
            picture = picture * (1.0 - thing[..., 3:]) + thing[..., :3] * thing[..., 3:]
        return photograph(picture, camera, rng), np.full((len(JOINTS), 2), np.nan, np.float32)
    whole, points = draw(person, pose, camera, rng, size)
    zoom = rng.uniform(1.5, 2.4)
    top, left = rng.uniform(0.0, 1.0 - 1.0 / zoom) * height, rng.uniform(-0.3, 1.3 - 1.0 / zoom) * width
    matrix = np.array([[1.0 / zoom, 0.0, left], [0.0, 1.0 / zoom, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    piece = cv2.warpAffine(whole, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
    points = (points - np.array([top, left], np.float32)) * np.float32(zoom)
    points[~_inside(points, size)] = np.nan
    return piece, points
