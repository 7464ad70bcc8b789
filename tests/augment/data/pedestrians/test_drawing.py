"""Pictures of procedural people: exact joints, and identities that differ."""

import math
import sys
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from augment.data.pedestrians import (
    Camera,
    Person,
    Pose,
    draw,
    sample_camera,
    sample_heading,
    sample_outfit,
    sample_person,
    sample_pose,
    view_of,
)
from augment.data.pedestrians.drawing import cutout, frame
from augment.data.pedestrians.skeleton import JOINTS, SIDES, VIEWS, pose_skeleton, walking

SIZE = (128, 64)
INDEX = {name: k for k, name in enumerate(JOINTS)}


def clear_camera(place: int = 0) -> Camera:
    """A camera with nothing in the way, sharp and without noise."""
    camera = sample_camera(np.random.default_rng(place), place)
    return replace(camera, occlusion=0.0, noise=0.0, blur=0.2, quality=95)


def somebody(number: int) -> Person:
    return sample_person(np.random.default_rng(number))


def joints(heading: float, number: int, pose: Pose | None = None) -> dict[str, np.ndarray]:
    person = somebody(number)
    pose = walking(0.7 * number, 0.8, heading) if pose is None else pose
    _, points = draw(person, pose, clear_camera(number % 6), np.random.default_rng(number), SIZE)
    return dict(zip(JOINTS, points, strict=True))


# Anatomy


def test_joints_follow_openpose() -> None:
    assert len(JOINTS) == 18
    assert JOINTS[:5] == ("nose", "neck", "right_shoulder", "right_elbow", "right_wrist")
    assert JOINTS[14:] == ("right_eye", "left_eye", "right_ear", "left_ear")


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("part", ["shoulder", "hip"])
def test_the_right_side_is_on_the_left_of_a_frontal_picture_only(number: int, part: str) -> None:
    front, back = joints(0.0, number), joints(math.pi, number)
    assert front[f"right_{part}"][1] < front[f"left_{part}"][1]
    assert back[f"right_{part}"][1] > back[f"left_{part}"][1]


def test_a_heading_of_a_quarter_turn_shows_the_right_shoulder() -> None:
    skeleton = pose_skeleton(Pose(heading=math.pi / 2), somebody(0).proportions)
    assert skeleton.points["right_shoulder"][2] > skeleton.points["left_shoulder"][2]
    assert skeleton.points["nose"][0] > skeleton.points["neck"][0]


@pytest.mark.parametrize("number", range(4))
def test_faces_are_seen_from_where_they_can_be(number: int) -> None:
    face = ("nose", "right_eye", "left_eye")
    front, back = joints(0.0, number), joints(math.pi, number)
    right, left = joints(math.pi / 2, number), joints(-math.pi / 2, number)
    assert not any(np.isnan(front[name]).any() for name in face)
    assert all(np.isnan(back[name]).all() for name in face)
    for seen, near, far in ((right, "right", "left"), (left, "left", "right")):
        assert not np.isnan(seen[f"{near}_eye"]).any()
        assert not np.isnan(seen[f"{near}_ear"]).any()
        assert np.isnan(seen[f"{far}_eye"]).all()
        assert np.isnan(seen[f"{far}_ear"]).all()


@pytest.mark.parametrize("phase", np.linspace(0.0, 2 * math.pi, 7)[:-1])
def test_bones_keep_their_length_and_the_lower_foot_stands_on_the_ground(phase: float) -> None:
    proportions = somebody(1).proportions
    still, moved = (pose_skeleton(pose, proportions) for pose in (Pose(), walking(phase, 1.0, 1.1)))
    for side in SIDES:
        chain = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
        for first, last in [pair for part in chain for pair in pairwise(part)]:
            lengths = [np.linalg.norm(s.points[f"{side}_{first}"] - s.points[f"{side}_{last}"]) for s in (still, moved)]
            assert lengths[0] == pytest.approx(lengths[1])
    lowest = min(moved.points[f"{side}_{part}"][1] for side in SIDES for part in ("heel", "toe"))
    assert 0.0 < lowest < 0.03
    assert moved.points["crown"][1] == pytest.approx(0.95, abs=0.05)


@pytest.mark.parametrize("view", VIEWS)
def test_headings_lie_in_their_view(view: str) -> None:
    rng = np.random.default_rng(0)
    assert {view_of(sample_heading(rng, view)) for _ in range(50)} == {view}


@pytest.mark.parametrize("number", range(8))
def test_joints_lie_on_the_person(number: int) -> None:
    person, camera = somebody(number), clear_camera(number % 6)
    rng = np.random.default_rng(number)
    pose = sample_pose(rng, rng.uniform(-math.pi, math.pi), ("walk", "stand", "turn")[number % 3])
    skeleton = pose_skeleton(pose, person.proportions)
    view = frame(skeleton, camera, rng, SIZE)
    painted, depth = cutout(person, skeleton, camera, view, SIZE)
    coverage = cv2.dilate(painted[..., 3], np.ones((3, 3), np.uint8))
    spots = view.project(skeleton.joints())
    for x, y, *_ in spots:
        if 0 <= y < SIZE[0] and 0 <= x < SIZE[1]:
            assert coverage[int(y), int(x)] > 0.3
    assert np.isinf(depth).any()
    assert 0.1 < (painted[..., 3] > 0.5).mean() < 0.6


def test_the_pixels_at_the_joints_are_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    person, camera, pose = somebody(3), clear_camera(), walking(1.0, 0.7, 0.3)
    picture, points = draw(person, pose, camera, np.random.default_rng(8), SIZE)
    empty = (np.zeros((*SIZE, 4), np.float32), np.full((2 * SIZE[0], 2 * SIZE[1]), np.inf, np.float32))
    monkeypatch.setattr("augment.data.pedestrians.drawing.cutout", lambda *_: empty)
    without, _ = draw(person, pose, camera, np.random.default_rng(8), SIZE)
    changed = np.abs(picture.astype(int) - without).max(axis=2)
    rows, columns = np.rint(points[~np.isnan(points[:, 0])]).astype(int).T
    assert (changed[rows, columns] > 12).mean() > 0.9
    assert np.median(changed[:, :4]) <= 3  # the margin stays what it was


def test_joints_outside_of_the_picture_are_missing() -> None:
    rng = np.random.default_rng(0)
    camera = clear_camera()
    drawn = [draw(somebody(1), walking(0.1 * k), camera, rng, SIZE)[1] for k in range(40)]
    known = np.stack(drawn)
    assert np.isnan(known).any(axis=2).sum() == np.isnan(known).all(axis=2).sum()
    inside = known[~np.isnan(known[..., 0])]
    assert ((np.rint(inside) >= 0) & (np.rint(inside) < SIZE)).all()
    assert np.isnan(known[:, [INDEX["right_ankle"], INDEX["left_ankle"]]]).any()  # some boxes cut the feet


def test_occluders_hide_joints() -> None:
    person = somebody(2)
    missing = []
    for occlusion in (0.0, 1.0):
        camera = replace(clear_camera(1), occlusion=occlusion)
        drawn = [draw(person, walking(0.5 * k), camera, np.random.default_rng(k), SIZE)[1] for k in range(12)]
        missing.append(np.isnan(np.stack(drawn)[:, INDEX["left_ankle"], 0]).mean())
    assert missing[1] > missing[0] + 0.4


# Pictures


def test_a_picture_is_a_function_of_its_arguments() -> None:
    first, second, other = (
        draw(somebody(1), walking(0.3), clear_camera(), np.random.default_rng(seed), (96, 48)) for seed in (1, 1, 2)
    )
    assert first[0].shape == (96, 48, 3)
    assert first[0].dtype == np.uint8
    assert first[1].shape == (18, 2)
    assert first[1].dtype == np.float32
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != other[0]).any()


def trunk(person: Person, camera: Camera, seed: int) -> np.ndarray:
    """Mean and deviation of the colours between shoulders and hips."""
    rng = np.random.default_rng(seed)
    skeleton = pose_skeleton(sample_pose(rng, rng.normal(0.0, 0.3)), person.proportions)
    view = frame(skeleton, camera, rng, SIZE)
    painted, _ = cutout(person, skeleton, camera, view, SIZE)
    body = painted[30:64, 20:44].reshape(-1, 4)
    body = body[body[:, 3] > 0.9, :3]
    return np.concatenate([body.mean(axis=0), body.std(axis=0)])


def test_identities_differ_more_than_pictures_of_one_identity() -> None:
    looks = np.stack([[trunk(somebody(who), clear_camera(k), 10 * who + k) for k in (0, 3, 4)] for who in range(8)])
    within = np.linalg.norm(looks - looks.mean(axis=1, keepdims=True), axis=2).mean()
    between = np.linalg.norm(looks.mean(axis=1) - looks.mean(axis=(0, 1)), axis=1).mean()
    assert between > 1.5 * within


def test_people_of_one_outfit_share_colours_and_differ_in_detail() -> None:
    outfit = sample_outfit(np.random.default_rng(1))
    first, second, again = (sample_person(np.random.default_rng(seed), outfit) for seed in (1, 2, 1))
    assert (first.top, first.bottom) == (second.top, second.bottom)
    assert (first.textures != second.textures).mean() > 0.1
    np.testing.assert_array_equal(first.textures, again.textures)


def test_prints_are_seen_from_their_side_only() -> None:
    person, camera = somebody(5), clear_camera(3)
    printed = np.full_like(person.textures, 200)
    printed[0, 20:60, 50:78] = (255, 0, 255)
    marked = replace(person, textures=printed, bag="none")

    def magenta(heading: float) -> float:
        pose = Pose(heading=heading)
        skeleton = pose_skeleton(pose, person.proportions)
        view = frame(skeleton, camera, np.random.default_rng(0), SIZE)
        seen = cutout(marked, skeleton, camera, view, SIZE)[0]
        return float(((seen[..., 0] > 60) & (seen[..., 1] < 0.3 * seen[..., 0])).sum())

    assert magenta(0.0) > 60
    assert magenta(math.pi) < 5
    assert magenta(0.0) > 1.5 * magenta(math.pi / 2)


def test_drawing_needs_no_torch() -> None:
    import subprocess

    code = "import sys, augment.data.pedestrians; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
