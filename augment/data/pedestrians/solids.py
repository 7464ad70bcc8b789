"""The renderer: a body of round cones, ray cast and depth buffered, textured in body coordinates.

A round cone is the hull of two spheres; each lives in its own affine frame, so that flattened and stretched ones (a
chest, a skirt, a head) are the same primitive. Rays are parallel inside one solid and perspective acts on the ends of
the solids, which is near enough for a body metres away. Intersection after I. Quilez, "rounded cone - intersection".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Solid(NamedTuple):
    """A round cone from `start` to `end` in statures; a layer of the person's textures is wrapped around it."""

    start: np.ndarray
    end: np.ndarray
    lateral: np.ndarray  # unit vector to the anatomical left: texture angle 0 is a right angle from it, in front
    start_radius: float  # along `lateral`
    end_radius: float
    depth: float  # radius from back to front over the radius along `lateral`
    cap: float  # how far the ends bulge along the axis, over the radius
    layer: int
    rows: tuple[float, float]  # texture rows at start and end, as fractions of the texture's height
    clip: tuple[float, float] = (-9.0, 9.0)  # the part of the axis that is there: 0 is start, 1 is end


@dataclass(frozen=True)
class Projection:
    """Weak perspective: world (statures) to picture (pixels, x right, y down, depth growing away from the camera)."""

    tilt: np.ndarray  # (3, 3) world to camera axes
    centre: np.ndarray  # (3,) the place that `offset` shows
    distance: float  # statures from the camera to `centre`
    scale: float  # pixels a stature at `centre`
    stretch: float  # of the columns
    offset: tuple[float, float]  # x, y in pixels

    def project(self, places: np.ndarray) -> np.ndarray:
        """(n, 3) statures to (n, 4): x, y, depth in pixels, and pixels a stature there."""
        seen = (places - self.centre) @ self.tilt.T
        near = self.scale / (1.0 - seen[:, 2] / self.distance)
        x = self.offset[0] + seen[:, 0] * near * self.stretch
        return np.stack([x, self.offset[1] - seen[:, 1] * near, -seen[:, 2] * near, near], axis=1)


@dataclass(frozen=True)
class Light:
    """A sun, a sky and what the ground throws back; intensities are factors on the colour of the cloth."""

    direction: np.ndarray  # (3,) unit, towards the light, in camera axes
    sun: float
    sky: float


@dataclass(frozen=True)
class _Frames:
    """The solids in the picture; n of them, everything float64."""

    start: np.ndarray  # (n, 3) x, y, depth in pixels
    matrix: np.ndarray  # (n, 3, 3) solid to picture: columns are the lateral, the front and the axis
    inverse: np.ndarray  # (n, 3, 3) picture to solid
    length: np.ndarray  # (n,) of the axis, in the units of the solid
    radius: np.ndarray  # (n, 2) at start and end
    clip: np.ndarray  # (n, 2) along the axis, in the units of the solid
    ray: np.ndarray  # (n, 3) unit vector away from the camera, in the solid
    speed: np.ndarray  # (n,) units of the solid that a ray goes in a pixel of depth

    @property
    def taper(self) -> np.ndarray:
        return self.radius[:, 0] - self.radius[:, 1]


def _frames(solids: Sequence[Solid], view: Projection) -> _Frames:
    """Puts the solids into the picture: perspective for the ends, its mean scale for the sections."""
    starts, ends = np.array([s.start for s in solids]), np.array([s.end for s in solids])
    shape = np.array([(s.start_radius, s.end_radius, s.depth, s.cap, *s.clip) for s in solids])
    radius, depth, cap, clip = shape[:, :2], shape[:, 2:3], shape[:, 3:4], shape[:, 4:]
    first, second = view.project(starts), view.project(ends)
    zoom = 0.5 * (first[:, 3:] + second[:, 3:])
    flip = np.array([view.stretch, -1.0, -1.0])
    side = np.array([s.lateral for s in solids]) @ view.tilt.T * flip
    along = (ends - starts) @ view.tilt.T * flip
    side -= along * np.sum(side * along, axis=1, keepdims=True) / np.sum(along * along, axis=1, keepdims=True)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    front = np.cross(side, along)
    front /= np.linalg.norm(front, axis=1, keepdims=True)
    size = np.linalg.norm(ends - starts, axis=1, keepdims=True)
    axis = (second - first)[:, :3] * cap / size
    matrix = np.stack([side * zoom, front * zoom * depth, axis], axis=2)
    inverse = np.linalg.inv(matrix)
    # The hull of two spheres one of which holds the other is no cone.
    length = np.maximum((size / cap)[:, 0], 1.02 * np.abs(radius[:, 0] - radius[:, 1]) + 1e-4)
    speed = np.linalg.norm(inverse[:, :, 2], axis=1)
    ray = inverse[:, :, 2] / speed[:, None]
    return _Frames(first[:, :3], matrix, inverse, length, radius, clip * length[:, None], ray, speed)


@dataclass(frozen=True)
class _Rays:
    """One ray for each pixel of each solid's box, in one flat list: box after box, row after row."""

    corner: np.ndarray  # (n, 2, 2) of the boxes: low and high, x and y
    count: np.ndarray  # (n,) rays of each solid
    origin: tuple[np.ndarray, np.ndarray, np.ndarray]  # in the solid, on the plane through its start across the rays
    depth: np.ndarray  # of the origin, in pixels


def _rays(frames: _Frames, shape: tuple[int, int]) -> _Rays:
    height, width = shape
    reach = np.linalg.norm(frames.matrix[:, :2], axis=2)
    first = frames.start[:, :2]
    last = first + frames.matrix[:, :2, 2] * frames.length[:, None]
    near, far = reach * frames.radius[:, :1], reach * frames.radius[:, 1:]
    low = np.clip(np.floor(np.minimum(first - near, last - far)).astype(int), 0, (width, height))
    high = np.clip(np.ceil(np.maximum(first + near, last + far)).astype(int), 0, (width, height))
    wide, tall = (high - low).T
    tall = tall * (wide > 0)
    count = wide * tall

    # Everything is linear in x and y: constants for each line of each box, a step for each pixel.
    line = np.repeat(np.arange(len(count)), tall)
    y = np.arange(len(line)) - np.repeat(np.cumsum(tall) - tall, tall) + low[line, 1] + 0.5 - first[line, 1]
    line_wide = wide[line]
    x = low[line, 0] + 0.5 - first[line, 0] - (np.cumsum(line_wide) - line_wide)
    number = np.arange(int(count.sum()), dtype=np.float64)

    def linear(constant: np.ndarray | float, per_x: np.ndarray, per_y: np.ndarray) -> np.ndarray:
        lines = constant + per_x[line] * x + per_y[line] * y
        return (np.repeat(lines, line_wide) + np.repeat(per_x, count) * number).astype(np.float32)

    slope = np.sum(frames.ray[:, :, None] * frames.inverse[:, :, :2], axis=1)  # of the plane through start, (n, 2)
    square = frames.inverse[:, :, :2] - frames.ray[:, :, None] * slope[:, None]
    sink = -slope / frames.speed[:, None]
    ox, oy, oz = (linear(0.0, square[:, k, 0], square[:, k, 1]) for k in range(3))
    depth = linear(frames.start[line, 2], sink[:, 0], sink[:, 1])
    return _Rays(np.stack([low, high], axis=1), count, (ox, oy, oz), depth)


def _hit(frames: _Frames, rays: _Rays) -> np.ndarray:
    """How far each ray goes before it meets its solid, in the units of the solid; inf where it does not."""

    def spread(values: np.ndarray) -> np.ndarray:
        return np.repeat(values.astype(np.float32), rays.count)

    ox, oy, oz = rays.origin
    start, end = frames.radius.T
    advance = frames.length * frames.ray[:, 2]  # of the axis along the ray
    flank = frames.length**2 - frames.taper**2
    bend = flank - advance**2
    bend = spread(np.where(np.abs(bend) < 1e-6, 1e-6, bend))
    length, advance_, flank_ = spread(frames.length), spread(advance), spread(flank)
    inner = spread(start**2) - ox * ox - oy * oy - oz * oz
    along = length * oz
    shift = along - spread(frames.taper * start)
    with np.errstate(invalid="ignore"):
        half = shift * advance_
        far = (half - np.sqrt(half * half + (flank_ * inner + shift * shift) * bend)) / bend
        place = shift + far * advance_
        far[~((place > 0) & (place < flank_))] = np.inf
        far = np.fmin(far, -np.sqrt(inner))
        outer = inner + 2 * along + spread(advance**2 - frames.length**2 + end**2 - start**2)
        far = np.fmin(far, advance_ - np.sqrt(outer))
        height = oz + far * spread(frames.ray[:, 2])
        far[~((height >= spread(frames.clip[:, 0])) & (height <= spread(frames.clip[:, 1])))] = np.inf
    return far


def _nearest(rays: _Rays, depth: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The depth buffer (height, width), and which ray each pixel shows, -1 for none."""
    buffer = np.full(shape, np.inf, np.float32)
    owner = np.full(shape, -1, np.int32)
    number = np.arange(len(depth), dtype=np.int32)
    first = 0
    for ((x0, y0), (x1, y1)), count in zip(rays.corner.tolist(), rays.count.tolist(), strict=True):
        if count:
            window = buffer[y0:y1, x0:x1]
            part = depth[first : first + count].reshape(window.shape)
            closer = part < window
            np.copyto(window, part, where=closer)
            np.copyto(owner[y0:y1, x0:x1], number[first : first + count].reshape(window.shape), where=closer)
            first += count
    return buffer, owner


def _normals(frames: _Frames, part: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Unit normals (m, 3) in camera axes at `place` (m, 3) on the surface of solid `part` (m,)."""
    x, y, z = place.T
    slope = (frames.taper / frames.length).astype(np.float32)
    tangent = slope / np.sqrt(1.0 - slope * slope)
    lean = tangent[part] * np.hypot(x, y)  # on the flank; on the caps that of a sphere
    first, last = (slope * frames.radius[:, 0]), (frames.length + slope * frames.radius[:, 1])
    lean = np.where(z < first.astype(np.float32)[part], z, lean)
    lean = np.where(z > last.astype(np.float32)[part], z - frames.length.astype(np.float32)[part], lean)
    turn = frames.inverse.astype(np.float32)[part]
    normal = turn[:, 0] * x[:, None] + turn[:, 1] * y[:, None] + turn[:, 2] * lean[:, None]
    normal /= np.sqrt(np.einsum("mk,mk->m", normal, normal))[:, None] + np.float32(1e-9)
    normal[:, 1:] *= -1.0
    return normal


def render(
    solids: Sequence[Solid],
    textures: np.ndarray,
    folds: np.ndarray,
    view: Projection,
    light: Light,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """The solids as seen by one ray a pixel.

    `textures` is uint8 (layers, rows, columns, 3), `folds` the brightness of creases, float32 (rows, columns).
    Returns float32 (height, width, 4), colour times coverage and coverage, and depth in pixels, inf where nothing is.
    """
    frames = _frames(solids, view)
    rays = _rays(frames, shape)
    far = _hit(frames, rays)
    depth = rays.depth + far * np.repeat((1.0 / frames.speed).astype(np.float32), rays.count)
    buffer, owner = _nearest(rays, depth, shape)

    pixel = np.flatnonzero(owner >= 0)
    ray = owner.reshape(-1)[pixel]
    part = np.searchsorted(np.cumsum(rays.count), ray, side="right")
    place = np.stack([o[ray] for o in rays.origin], axis=1) + frames.ray.astype(np.float32)[part] * far[ray, None]

    _, tall, wide, _ = textures.shape
    table = np.array([(s.rows[0], s.rows[1] - s.rows[0], s.layer) for s in solids], np.float32)
    row = table[part, 0] + table[part, 1] * place[:, 2] / frames.length.astype(np.float32)[part]
    row = np.clip(row * tall, 0, tall - 1).astype(np.int32)
    turn = np.arctan2(place[:, 0], place[:, 1]) * np.float32(0.5 / np.pi) + np.float32(0.5)
    column = np.minimum((turn * wide).astype(np.int32), wide - 1)
    cloth = np.take(textures.reshape(-1, 3), (table[part, 2].astype(np.int32) * tall + row) * wide + column, axis=0)

    normal = _normals(frames, part, place)
    bright = light.sun * np.maximum(normal @ light.direction.astype(np.float32), 0.0)
    bright += light.sky * (0.72 + 0.28 * normal[:, 1] + 0.12 * normal[:, 2])
    bright *= folds[row, column]
    picture = np.zeros((*shape, 4), np.float32)
    flat = picture.reshape(-1, 4)
    flat[pixel, :3] = cloth * bright.astype(np.float32)[:, None]
    flat[pixel, 3] = 1.0
    return picture, buffer
