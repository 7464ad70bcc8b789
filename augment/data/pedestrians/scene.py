"""Cameras: the place behind the people, light, colour, sharpness, viewpoint, JPEG quality, and things in the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from augment.data.pedestrians.textures import Colour

CANVAS = (320, 640)  # rows, columns of a backdrop; a person in it is about 130 rows tall
STATURE = 130.0


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera. Angles in radians, lengths in statures; `cast` and `sun` are factors, `noise` is in grey levels."""

    backdrop: np.ndarray  # uint8 (320, 640, 3)
    feet: tuple[int, int]  # rows of the backdrop where people stand
    pitch: float  # downward
    distance: float
    light: np.ndarray  # (3,) unit, towards the sun, in world axes
    sun: float
    sky: float
    shadow: float  # 0 none, 1 black
    cast: tuple[float, float, float]
    gamma: float
    blur: float  # standard deviation in pixels
    noise: float
    quality: int  # of the JPEG
    occluder: str  # a key of OCCLUDERS
    occlusion: float  # share of images with something in the way


def _noise(rng: np.random.Generator, sigma: float, strength: float) -> np.ndarray:
    """Smooth brightness around 0, float32, as large as a backdrop; `strength` is its deviation in grey levels."""
    small = rng.normal(size=(max(4, int(CANVAS[0] / sigma * 2)), max(4, int(CANVAS[1] / sigma * 2)))).astype(np.float32)
    field = cv2.resize(small, CANVAS[::-1], interpolation=cv2.INTER_CUBIC)
    return field * np.float32(strength / (field.std() + 1e-6))


def _ground(
    rng: np.random.Generator, horizon: int, colour: Colour, tile: int = 0, joint: Colour = (0, 0, 0), rough: float = 9.0
) -> np.ndarray:
    """A plane seen in perspective, paved with slabs of `tile` pixels (0: none)."""
    flat = np.full((512, 512, 3), colour, np.float32)
    if tile:
        slabs = rng.normal(0.0, 6.0, size=(512 // tile + 1, 512 // tile + 1, 1))
        flat += slabs.repeat(tile, 0).repeat(tile, 1)[:512, :512]
        flat[::tile] = flat[1::tile] = joint
        flat[:, ::tile] = flat[:, 1::tile] = joint
    flat += rng.normal(0.0, rough, size=(512, 512, 1))
    rows, columns = CANVAS
    corners = np.array([[0, 0], [512, 0], [512, 512], [0, 512]], np.float32)
    seen = np.array([[-60, horizon], [columns + 60, horizon], [columns + 560, rows], [-560, rows]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, seen)
    return cv2.warpPerspective(flat, matrix, (columns, rows), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)


def _grass(rng: np.random.Generator) -> np.ndarray:
    """A park: lawn, a path, a hedge and trunks."""
    view = _ground(rng, 60, (92, 116, 66), rough=26.0)
    view[:, :, 1] += _noise(rng, 30.0, 7.0)
    path = np.array([[250, 60], [330, 60], [620, 320], [60, 320]])
    cv2.fillConvexPoly(view, path, (156, 146, 128))
    hedge = np.full((100, CANVAS[1], 3), (54, 76, 44), np.float32) + rng.normal(0, 16, (100, CANVAS[1], 1))
    view[:100] = cv2.GaussianBlur(hedge, (0, 0), 1.2)
    for _ in range(7):
        x, width = int(rng.integers(0, 640)), int(rng.integers(8, 18))
        cv2.rectangle(view, (x, 0), (x + width, int(rng.integers(100, 150))), (82, 68, 54), -1)
    return view


def _plaza(rng: np.random.Generator) -> np.ndarray:
    """Red brick paving before shop windows."""
    view = _ground(rng, 100, (150, 112, 98), 24, (120, 90, 80), 8.0)
    view[:118] = (176, 170, 160)
    for x in range(0, 640, 106):
        cv2.rectangle(view, (x + 8, 0), (x + 92, 104), (62, 74, 88), -1)
        colour = tuple(int(c) for c in rng.integers(60, 220, 3))
        cv2.rectangle(view, (x + 18, 50), (x + 50, 104), colour, -1)
        cv2.line(view, (x + 50, 0), (x + 50, 104), (190, 190, 190), 3)
    return view


def _street(rng: np.random.Generator) -> np.ndarray:
    """Tarmac with a zebra crossing and a kerb."""
    view = _ground(rng, 50, (96, 98, 102), rough=10.0)
    view[:70] = (120, 118, 112)
    view[70:92] = (164, 162, 156)
    for k in range(-4, 14):
        stripe = np.array([[k * 60 + 20, 170], [k * 60 + 48, 170], [k * 74 - 10, 250], [k * 74 - 46, 250]])
        cv2.fillConvexPoly(view, stripe, (212, 212, 206))
    for _ in range(3):
        x = int(rng.integers(0, 560))
        body = tuple(int(c) for c in rng.integers(40, 210, 3))
        cv2.rectangle(view, (x, 34), (x + 120, 84), body, -1)
        cv2.rectangle(view, (x + 20, 14), (x + 100, 36), (50, 58, 66), -1)
        for wheel in (24, 96):
            cv2.circle(view, (x + wheel, 84), 13, (28, 28, 30), -1)
    return view


def _hall(rng: np.random.Generator) -> np.ndarray:
    """Indoors: bright tiles, a wall with posters and a skirting board."""
    view = _ground(rng, 130, (190, 186, 176), 32, (150, 146, 138), 4.0)
    view[:150] = (206, 200, 184)
    view[140:152] = (96, 84, 74)
    for _ in range(6):
        x, y = int(rng.integers(0, 600)), int(rng.integers(10, 60))
        colour = tuple(int(c) for c in rng.integers(50, 230, 3))
        cv2.rectangle(view, (x, y), (x + int(rng.integers(24, 60)), y + int(rng.integers(30, 70))), colour, -1)
    return view


def _yard(rng: np.random.Generator) -> np.ndarray:
    """Grey slabs before a brick wall."""
    view = _ground(rng, 120, (132, 132, 130), 40, (106, 106, 104), 9.0)
    wall = np.full((140, 640, 3), (138, 88, 70), np.float32) + rng.normal(0, 7, (14, 32, 1)).repeat(10, 0).repeat(20, 1)
    wall[::10] = (168, 156, 146)
    for row in range(0, 140, 10):
        wall[row : row + 10, (row // 10 % 2) * 10 :: 20] = (164, 152, 142)
    view[:140] = wall
    for x in (int(rng.integers(0, 200)), int(rng.integers(300, 560))):
        cv2.rectangle(view, (x, 30), (x + 56, 140), (66, 78, 74), -1)
    return view


def _stairs(rng: np.random.Generator) -> np.ndarray:
    """Concrete steps, seen from above."""
    view = _ground(rng, -40, (142, 144, 146))
    for row in range(0, 150, 22):
        view[row : row + 8] *= 0.72
        view[row + 8 : row + 10] = (196, 196, 192)
    for x in (60, 330, 590):
        cv2.line(view, (x, 0), (x + 24, 190), (70, 74, 84), 6)
    return view


@dataclass(frozen=True)
class Place:
    """What the camera of one place has of its own; see `Camera`."""

    paint: Callable[[np.random.Generator], np.ndarray]
    feet: tuple[int, int]
    pitch: float
    sunny: bool
    cast: tuple[float, float, float]
    gamma: float
    blur: float
    noise: float
    quality: int
    occluder: str


PLACES = (
    Place(_plaza, (215, 300), 0.18, True, (1.06, 1.00, 0.90), 1.00, 0.35, 2.0, 88, "bollard"),
    Place(_grass, (150, 300), 0.10, False, (0.94, 1.04, 0.94), 1.12, 0.60, 4.0, 76, "hedge"),
    Place(_street, (140, 290), 0.30, True, (1.00, 1.00, 1.00), 0.90, 0.45, 3.0, 82, "bicycle"),
    Place(_hall, (190, 300), 0.12, False, (1.12, 1.02, 0.82), 1.00, 0.80, 6.0, 64, "bench"),
    Place(_yard, (190, 300), 0.22, True, (0.90, 0.98, 1.12), 1.20, 0.30, 3.0, 90, "bin"),
    Place(_stairs, (160, 310), 0.40, False, (1.02, 0.95, 1.06), 0.92, 0.95, 5.0, 70, "rail"),
)


def sample_camera(rng: np.random.Generator, place: int) -> Camera:
    """A camera at one of six places (index 0 to 5)."""
    here = PLACES[place]
    backdrop = here.paint(rng) + _noise(rng, 60.0, 7.0)[..., None]
    backdrop = cv2.GaussianBlur(np.clip(backdrop, 0, 255).astype(np.uint8), (0, 0), 0.8)
    azimuth, height = rng.uniform(-2.2, 2.2), rng.uniform(0.55, 1.1)
    level = math.cos(height)
    return Camera(
        backdrop=backdrop,
        feet=here.feet,
        pitch=here.pitch + float(rng.uniform(-0.03, 0.03)),
        distance=float(rng.uniform(3.2, 6.0)),
        light=np.array([math.sin(azimuth) * level, math.sin(height), math.cos(azimuth) * level]),
        sun=float(rng.uniform(0.55, 0.75) if here.sunny else rng.uniform(0.15, 0.3)),
        sky=float(rng.uniform(0.50, 0.62) if here.sunny else rng.uniform(0.72, 0.88)),
        shadow=0.55 if here.sunny else 0.28,
        cast=(
            float(here.cast[0] * rng.uniform(0.97, 1.03)),
            float(here.cast[1] * rng.uniform(0.97, 1.03)),
            float(here.cast[2] * rng.uniform(0.97, 1.03)),
        ),
        gamma=float(here.gamma * rng.uniform(0.96, 1.04)),
        blur=here.blur,
        noise=here.noise,
        quality=here.quality,
        occluder=here.occluder,
        occlusion=0.14,
    )


def _bollard(rng: np.random.Generator, cover: np.ndarray) -> None:
    h, w = cover.shape[:2]
    x, half = rng.uniform(0.1, 0.9) * w, 0.07 * w
    cv2.rectangle(cover, (int(x - half), int(0.62 * h)), (int(x + half), h), (86, 84, 82, 255), -1)
    cv2.rectangle(cover, (int(x - half), int(0.68 * h)), (int(x + half), int(0.71 * h)), (206, 190, 60, 255), -1)


def _hedge(rng: np.random.Generator, cover: np.ndarray) -> None:
    h, w = cover.shape[:2]
    top = rng.uniform(0.66, 0.82)
    edge = [(x, (top + rng.uniform(-0.03, 0.03)) * h) for x in np.linspace(0, w, 9)]
    cv2.fillPoly(cover, [np.array([*edge, (w, h), (0, h)], np.int32)], (58, 82, 46, 255))
    cover[..., :3] = np.clip(cover[..., :3] + rng.normal(0, 14, (h, w, 1)), 0, 255).astype(np.uint8)


def _bicycle(rng: np.random.Generator, cover: np.ndarray) -> None:
    h, w = cover.shape[:2]
    x, y, r = int(rng.uniform(-0.1, 0.5) * w), int(0.84 * h), int(0.13 * h)
    colour = (*(int(c) for c in rng.integers(30, 200, 3)), 255)
    far = x + int(1.9 * r)
    for centre in (x, far):
        cv2.circle(cover, (centre, y), r, (30, 30, 32, 255), max(1, h // 50), cv2.LINE_AA)
    saddle, bar = [x + r // 2, y - int(1.2 * r)], [far - r // 3, y - int(1.3 * r)]
    frame = np.array([[x, y], saddle, bar, [far, y], [x + r, y], saddle])
    cv2.polylines(cover, [frame], False, colour, max(1, h // 42), cv2.LINE_AA)


def _bench(rng: np.random.Generator, cover: np.ndarray) -> None:
    h, w = cover.shape[:2]
    y, x = int(rng.uniform(0.66, 0.76) * h), int(rng.uniform(-0.5, 0.5) * w)
    for k in range(3):
        cv2.rectangle(cover, (x, y + k * h // 22), (x + w, y + k * h // 22 + h // 34), (120, 84, 54, 255), -1)
    for leg in (x + w // 10, x + 9 * w // 10):
        cv2.rectangle(cover, (leg, y), (leg + w // 16, h), (60, 60, 62, 255), -1)


def _bin(rng: np.random.Generator, cover: np.ndarray) -> None:
    h, w = cover.shape[:2]
    x, y, wide = int(rng.uniform(-0.2, 0.8) * w), int(rng.uniform(0.6, 0.75) * h), int(0.4 * w)
    cv2.rectangle(cover, (x, y), (x + wide, h), (52, 92, 74, 255), -1)
    cv2.rectangle(cover, (x - 2, y), (x + wide + 2, y + h // 30), (38, 66, 54, 255), -1)


def _rail(rng: np.random.Generator, cover: np.ndarray) -> None:
    h, w = cover.shape[:2]
    y = int(rng.uniform(0.5, 0.7) * h)
    slope = int(rng.uniform(-0.2, 0.2) * h)
    cv2.line(cover, (0, y), (w, y + slope), (72, 76, 88, 255), max(2, h // 36), cv2.LINE_AA)
    for x in range(int(rng.integers(0, w // 3)), w, w // 3):
        cv2.line(cover, (x, y + slope * x // w), (x, h), (72, 76, 88, 255), max(1, h // 60))


OCCLUDERS: dict[str, Callable[[np.random.Generator, np.ndarray], None]] = {
    "bollard": _bollard,
    "hedge": _hedge,
    "bicycle": _bicycle,
    "bench": _bench,
    "bin": _bin,
    "rail": _rail,
}


def occluder(camera: Camera, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Something in the way, float32 (height, width, 4): colour and coverage in 0 to 1."""
    cover = np.zeros((*shape, 4), np.uint8)
    OCCLUDERS[camera.occluder](rng, cover)
    painted = cover.astype(np.float32)
    painted[..., 3] /= 255
    return painted


def backdrop(
    camera: Camera, rng: np.random.Generator, shape: tuple[int, int], stature: float, feet: float, stretch: float
) -> np.ndarray:
    """The place behind somebody `stature` pixels tall with feet on row `feet`, float32 (height, width, 3)."""
    height, width = shape
    zoom = STATURE * rng.uniform(0.85, 1.1) / stature
    row = rng.uniform(*camera.feet)
    left = rng.uniform(0, CANVAS[1] - width * zoom / stretch)
    matrix = np.array([[zoom / stretch, 0, left], [0, zoom, row - feet * zoom]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    view = cv2.warpAffine(camera.backdrop, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return view.astype(np.float32)


def photograph(picture: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Lens, sensor and exposure: float32 (height, width, 3) as painted to uint8 as recorded."""
    sigma = camera.blur * rng.uniform(0.7, 1.4) * picture.shape[0] / 128
    if rng.random() < 0.15:
        length = int(rng.integers(3, 6))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        picture = cv2.filter2D(picture, -1, kernel if rng.random() < 0.7 else kernel.T)
    picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    exposure = np.array(camera.cast) * rng.normal(1.0, 0.09) * rng.normal(1.0, 0.02, size=3)
    picture = picture * exposure.astype(np.float32)
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(camera.noise)
    curve = 255.0 * (np.arange(256) / 255.0) ** (camera.gamma * rng.uniform(0.93, 1.07))
    return cv2.LUT(np.clip(picture, 0, 255).astype(np.uint8), curve.astype(np.uint8))
