"""The data set: who is seen where, in Market-1501's layout and names, with PATN's key-point annotation.

Every image is a function of (seed, identity, camera, index): more identities or other worker counts change no byte of
the rest. Training and test differ as they do in the street: training people mostly walk towards the camera, test people
are seen from the side, from behind, standing and turning as often.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from augment import files
from augment.data.pedestrians.clothes import Outfit, Person, sample_outfit, sample_person
from augment.data.pedestrians.drawing import draw, draw_fragment
from augment.data.pedestrians.scene import Camera, sample_camera
from augment.data.pedestrians.skeleton import VIEWS, Pose, sample_heading, sample_pose

FORMAT = 1  # of the pictures: raised when the same configuration draws other bytes
TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
ANNOTATIONS = {"train": "market-annotation-train.csv", "test": "market-annotation-test.csv"}
ACTIVITIES = ("walk", "stand", "turn")
MIX = {  # shares of front, side and back, and of walking, standing and turning
    "train": ((0.72, 0.19, 0.09), (0.86, 0.10, 0.04)),
    "test": ((0.30, 0.36, 0.34), (0.46, 0.32, 0.22)),
}
ALIKE = 4  # people of a split that share an outfit
_PERSON, _CAMERA, _VISITS, _IMAGE, _EXTRA, _OUTFIT = range(6)  # first spawn key of each kind of randomness


@dataclass(frozen=True)
class PedestriansConfig:
    """How much to draw. Training identities are even numbers and test identities odd, as Market-1501's first ones."""

    identities: int = 64
    test_identities: int = 32
    cameras: int = 6
    per_camera: int = 4  # images of an identity in each camera it visits, its query apart
    size: tuple[int, int] = (128, 64)  # height, width in pixels
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))
        limits = {
            "identities": (1, 4999),
            "test_identities": (1, 4999),
            "cameras": (1, 6),
            "per_camera": (1, 200),
            "seed": (0, 2**63 - 1),
        }
        for name, (least, most) in limits.items():
            _check(name, getattr(self, name), least, most)
        if len(self.size) != 2:
            raise ValueError(f"size {self.size}: expected two numbers; give height and width in pixels, as (128, 64)")
        for name, value in zip(("size (height)", "size (width)"), self.size, strict=True):
            _check(name, value, 32, 1024)


@dataclass(frozen=True)
class _Job:
    """The images of one identity, or of the people and things in one camera that are none."""

    kind: str  # train, test, junk, distractor
    number: int  # identity, or camera for junk and distractors


@dataclass(frozen=True)
class Take:
    """One image before it is drawn: camera (from 0), pose, where it goes, and the randomness that is left for it."""

    place: int
    pose: Pose
    activity: str
    folder: str
    name: str
    rng: np.random.Generator


@dataclass(frozen=True)
class _Shot:
    """One image: its folder and name, whose annotation it is in, its JPEG, its joints int (18, 2), -1 where missing."""

    folder: str
    name: str
    split: str  # train, test
    jpeg: bytes
    points: np.ndarray


def _check(name: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ValueError(f"{name} {value!r}: expected a whole number from {least} to {most}; choose one in that range")


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@cache
def _camera(seed: int, place: int) -> Camera:
    return sample_camera(_rng(seed, _CAMERA, place), place)


def _person(seed: int, identity: int) -> Person:
    return sample_person(_rng(seed, _PERSON, identity), _outfit(seed, identity % 2, (identity - 1) // (2 * ALIKE)))


def _outfit(seed: int, odd: int, family: int) -> Outfit:
    return sample_outfit(_rng(seed, _OUTFIT, odd, family))


def _visits(config: PedestriansConfig, identity: int) -> list[int]:
    """The cameras that see an identity: at least two where there are two."""
    rng = _rng(config.seed, _VISITS, identity)
    count = int(rng.integers(min(2, config.cameras), config.cameras + 1))
    return sorted(int(c) for c in rng.permutation(config.cameras)[:count])


def _encode(picture: np.ndarray, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


def _joints(points: np.ndarray) -> np.ndarray:
    """Rounded row and column, int (18, 2); -1 in both where the joint is missing."""
    missing = np.isnan(points).any(axis=1, keepdims=True)
    return np.where(missing, -1, np.rint(np.nan_to_num(points))).astype(np.int64)


def _name(identity: int, camera: int, sequence: int, frame: int, box: int) -> str:
    label = "-1" if identity < 0 else f"{identity:04d}"
    return f"{label}_c{camera + 1}s{sequence}_{frame:06d}_{box:02d}.jpg"


def plan(config: PedestriansConfig, split: str, identity: int) -> Iterator[Take]:
    """What is to be drawn of an identity, camera by camera; somebody crosses a camera in about one direction."""
    views, activities = MIX[split]
    for place in _visits(config, identity):
        visit = _rng(config.seed, _VISITS, identity, place)
        heading = sample_heading(visit, str(visit.choice(VIEWS, p=views)))
        sequence, start = int(visit.integers(1, 7)), int(visit.integers(1, 90_000))
        for index in range(config.per_camera + (split == "test")):
            rng = _rng(config.seed, _IMAGE, identity, place, index)
            activity = str(rng.choice(ACTIVITIES, p=activities))
            pose = sample_pose(rng, heading + rng.normal(0.0, 0.16), activity)
            folder = TRAIN if split == "train" else QUERY if index == 0 else GALLERY
            name = _name(identity, place, sequence, start + 25 * index, int(rng.integers(1, 6)))
            yield Take(place, pose, activity, folder, name, rng)


def portray(config: PedestriansConfig, identity: int, place: int, pose: Pose, rng: np.random.Generator) -> np.ndarray:
    """Anybody of the data set in any pose before one of its cameras (from 0), as a JPEG shows it: uint8 (h, w, 3)."""
    camera = _camera(config.seed, place)
    picture, _ = draw(_person(config.seed, identity), pose, camera, rng, config.size)
    decoded = cv2.imdecode(np.frombuffer(_encode(picture, camera.quality), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[..., ::-1].copy()


def _identity_images(config: PedestriansConfig, split: str, identity: int) -> Iterator[_Shot]:
    """All images of an identity."""
    person = _person(config.seed, identity)
    for take in plan(config, split, identity):
        camera = _camera(config.seed, take.place)
        picture, points = draw(person, take.pose, camera, take.rng, config.size)
        yield _Shot(take.folder, take.name, split, _encode(picture, camera.quality), _joints(points))


def _extra_images(config: PedestriansConfig, kind: str, place: int) -> Iterator[_Shot]:
    """A camera's junk (pieces of bodies, bare background) or distractors (strangers, some dressed like somebody)."""
    camera = _camera(config.seed, place)
    junk = kind == "junk"
    for index in range(_extras(config)):
        rng = _rng(config.seed, _EXTRA, place, int(junk), index)
        person = sample_person(rng, _outfit(config.seed, 1, index))
        heading = sample_heading(rng, str(rng.choice(VIEWS, p=MIX["test"][0])))
        pose = sample_pose(rng, heading, str(rng.choice(ACTIVITIES)))
        picture, points = (draw_fragment if junk else draw)(person, pose, camera, rng, config.size)
        sequence, frame, box = int(rng.integers(1, 7)), 100 * index + int(rng.integers(100)), int(rng.integers(1, 6))
        name = _name(-1 if junk else 0, place, sequence, frame, box)
        yield _Shot(GALLERY, name, "test", _encode(picture, camera.quality), _joints(points))


def _extras(config: PedestriansConfig) -> int:
    """Junk images, and as many distractors, in each camera."""
    return -(-config.test_identities * config.per_camera // 8)


def _run(config: PedestriansConfig, root: Path, job: _Job) -> list[_Shot]:
    """Writes the images of one job below `root`; returns them without their bytes."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        shots = []
        for shot in (_identity_images if job.kind in MIX else _extra_images)(config, job.kind, job.number):
            (root / shot.folder / shot.name).write_bytes(shot.jpeg)
            shots.append(replace(shot, jpeg=b""))
        return shots
    finally:
        cv2.setNumThreads(threads)


def _annotate(path: Path, shots: list[_Shot]) -> None:
    """PATN's key-point file, sorted by name."""
    lines = ["name:keypoints_y:keypoints_x"]
    for shot in sorted(shots, key=lambda shot: shot.name):
        rows, columns = shot.points.T.tolist()
        lines.append(f"{shot.name}: {rows}: {columns}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _jobs(config: PedestriansConfig) -> list[_Job]:
    train = [_Job("train", 2 * k) for k in range(1, config.identities + 1)]
    test = [_Job("test", 2 * k - 1) for k in range(1, config.test_identities + 1)]
    extras = [_Job(kind, place) for place in range(config.cameras) for kind in ("junk", "distractor")]
    return train + test + extras


def count_images(config: PedestriansConfig) -> int:
    """How many images `make_data` writes."""
    train = sum(len(_visits(config, 2 * k)) for k in range(1, config.identities + 1))
    test = sum(len(_visits(config, 2 * k - 1)) for k in range(1, config.test_identities + 1))
    return train * config.per_camera + test * (config.per_camera + 1) + 2 * config.cameras * _extras(config)


def make_data(
    config: PedestriansConfig, out: Path, *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Draws the data set into `out`, which appears whole or not at all; done work is recognised and returned at once.

    `progress` is told the images made and the images in all. The bytes do not depend on `workers`.

    Raises:
        ValueError: `out` holds something else, or `workers` is less than 1.
        OSError: the disk's own complaint, after what was written has been removed.
    """
    out = Path(out)
    _check("workers", workers, 1, 4096)
    wanted = {"format": FORMAT, **asdict(config), "size": list(config.size)}
    if _holds(out, wanted):
        return out
    _remove_abandoned(out)
    part = part_folder(out, os.getpid())
    try:
        for folder in (TRAIN, QUERY, GALLERY):
            (part / folder).mkdir(parents=True)
        shots: list[_Shot] = []
        total = count_images(config)
        for made in _work(partial(_run, config, part), _jobs(config), workers):
            shots += made
            if progress is not None:
                progress(len(shots), total)
        for split, name in ANNOTATIONS.items():
            _annotate(part / name, [shot for shot in shots if shot.split == split])
        (part / "pedestrians.json").write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        if not _holds(out, wanted):  # by now another process may have made the same
            if out.exists():
                out.rmdir()
            part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _work(run: Callable[[_Job], list[_Shot]], jobs: list[_Job], workers: int) -> Iterator[list[_Shot]]:
    """The results of the jobs, in their order."""
    if workers == 1:
        yield from map(run, jobs)
        return
    # Spawned, not forked: the caller may hold threads and a GPU.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield from pool.map(run, jobs, chunksize=1)
    finally:
        pool.shutdown(cancel_futures=True)


def _holds(out: Path, wanted: dict[str, object]) -> bool:
    """Whether `out` is this data set already; False where it is free.

    Raises:
        ValueError: it is something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        held = json.loads((out / "pedestrians.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{out}: exists and is no procedural data set; choose another folder") from None
    held = held if isinstance(held, dict) else {}
    differing = sorted(key for key in {*wanted, *held} if wanted.get(key) != held.get(key))
    if differing:
        named = ", ".join(f"{key} {held.get(key)} instead of {wanted.get(key)}" for key in differing)
        raise ValueError(f"{out}: holds pedestrians of another configuration ({named}); choose another folder")
    return True


def part_folder(out: Path, process: int) -> Path:
    """Where a process of this machine builds `out`."""
    return out.with_name(f"{out.name}.part-{socket.gethostname()}-{process}")


def _remove_abandoned(out: Path) -> None:
    """Removes what killed processes of this machine left beside `out`."""
    prefix = part_folder(out, 0).name.removesuffix("0")
    for folder in list(out.parent.iterdir()) if out.parent.is_dir() else ():
        number = folder.name.removeprefix(prefix)
        if number.isdigit() and not files.alive(int(number)):
            shutil.rmtree(folder, ignore_errors=True)
