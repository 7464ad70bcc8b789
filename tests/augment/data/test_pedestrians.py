"""Procedural pedestrians: exact joints, identities that differ, and the same bytes wherever they are drawn."""

import json
import math
import os
import re
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from augment.data.pedestrians import (
    Camera,
    PedestriansConfig,
    Person,
    Pose,
    count_images,
    dataset,
    draw,
    make_data,
    portray,
    sample_camera,
    sample_heading,
    sample_outfit,
    sample_person,
    sample_pose,
    view_of,
)
from augment.data.pedestrians.drawing import cutout, frame
from augment.data.pedestrians.skeleton import JOINTS, SIDES, VIEWS, pose_skeleton, walking

SMALL = PedestriansConfig(identities=3, test_identities=3, cameras=3, per_camera=2, seed=5)
NAME = re.compile(r"^(-1|\d{4})_c([1-6])s([1-6])_(\d{6})_(\d{2})\.jpg$")
SIZE = (128, 64)
INDEX = {name: k for k, name in enumerate(JOINTS)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(SMALL, tmp_path_factory.mktemp("pedestrians") / "data")


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


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def names(root: Path, folder: str) -> list[tuple[int, int]]:
    parsed = [NAME.match(path.name) for path in sorted((root / folder).iterdir())]
    assert all(parsed)
    return [(int(match[1]), int(match[2])) for match in parsed if match]


def annotation(path: Path) -> dict[str, np.ndarray]:
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    assert header == "name:keypoints_y:keypoints_x"
    fields = [line.split(":") for line in lines]
    return {name: np.array([json.loads(rows), json.loads(columns)]).T for name, rows, columns in fields}


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


# The data set


def test_layout_and_names(root: Path) -> None:
    held = {path.name for path in root.iterdir()}
    assert held == {
        "bounding_box_train",
        "query",
        "bounding_box_test",
        "market-annotation-train.csv",
        "market-annotation-test.csv",
        "pedestrians.json",
    }
    train, query, gallery = (names(root, folder) for folder in ("bounding_box_train", "query", "bounding_box_test"))
    assert len(train) + len(query) + len(gallery) == count_images(SMALL)
    assert {pid for pid, _ in train} == {2, 4, 6}
    assert {pid for pid, _ in query} == {1, 3, 5}
    assert {pid for pid, _ in gallery} == {-1, 0, 1, 3, 5}
    picture = cv2.imread(str(next((root / "query").iterdir())))
    assert picture.shape == (*SMALL.size, 3)


def test_every_query_has_matches_in_other_cameras(root: Path) -> None:
    query, gallery = names(root, "query"), names(root, "bounding_box_test")
    assert len(set(query)) == len(query)
    for pid, camera in query:
        assert [(p, c) for p, c in gallery if p == pid and c != camera]
        assert gallery.count((pid, camera)) == SMALL.per_camera


def test_identities_visit_some_cameras_and_at_least_two() -> None:
    config = PedestriansConfig()
    visits = [len(dataset._visits(config, identity)) for identity in range(1, 65)]
    assert min(visits) == 2
    assert max(visits) == 6
    assert len(set(visits)) == 5


@pytest.mark.parametrize(
    ("split", "folders"), [("train", ("bounding_box_train",)), ("test", ("query", "bounding_box_test"))]
)
def test_annotation_names_each_image_and_its_joints(root: Path, split: str, folders: tuple[str, ...]) -> None:
    known = annotation(root / f"market-annotation-{split}.csv")
    assert sorted(known) == sorted(path.name for folder in folders for path in (root / folder).iterdir())
    for name, points in known.items():
        assert points.shape == (18, 2)
        missing = points < 0
        np.testing.assert_array_equal(missing[:, 0], missing[:, 1])
        assert (points[missing] == -1).all()
        assert (points < SMALL.size).all()
        if not name.startswith("-1"):
            assert (~missing[:, 0]).sum() >= 6


def test_the_same_bytes_from_two_processes(root: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    again = make_data(SMALL, tmp_path / "again", workers=2, progress=lambda done, total: told.append((done, total)))
    assert contents(again) == contents(root)
    assert told[-1] == (count_images(SMALL), count_images(SMALL))
    assert told == sorted(told)


def test_more_identities_leave_the_others_as_they_are(root: Path, tmp_path: Path) -> None:
    larger = contents(make_data(replace(SMALL, identities=4), tmp_path / "larger"))
    smaller = contents(root)
    images = {name for name in smaller if name.endswith(".jpg")}
    assert all(larger[name] == smaller[name] for name in images)
    assert len([name for name in larger if name.endswith(".jpg")]) > len(images)


def test_another_seed_draws_other_pictures(root: Path, tmp_path: Path) -> None:
    config = replace(SMALL, seed=6, identities=1, test_identities=1, cameras=2)
    assert not set(contents(make_data(config, tmp_path / "other")).values()) & set(contents(root).values())


def test_training_lacks_the_views_and_poses_that_the_test_asks_for() -> None:
    def shares(split: str, first: int) -> np.ndarray:
        config = PedestriansConfig()
        seen = []
        for identity in range(first, 101, 2):
            for shot in dataset.plan(config, split, identity):
                seen.append((view_of(shot.pose.heading), shot.activity))
        views, activities = zip(*seen, strict=True)
        return np.array([*(views.count(view) for view in VIEWS), activities.count("walk")]) / len(seen)

    train, test = shares("train", 2), shares("test", 1)
    assert train[0] > 2 * test[0] - 0.05
    assert test[2] > 2 * train[2]
    assert train[3] > test[3] + 0.2


def test_a_portrait_is_the_picture_of_the_data_set(root: Path) -> None:
    for take in dataset.plan(SMALL, "train", 2):
        held = cv2.imread(str(root / take.folder / take.name))
        assert held is not None
        drawn = portray(SMALL, 2, take.place, take.pose, take.rng)
        np.testing.assert_array_equal(drawn, held[..., ::-1])


def test_a_portrait_shows_the_person_in_another_pose(root: Path) -> None:
    one, other = (take for take in list(dataset.plan(SMALL, "train", 4))[:2])
    pictures = [
        portray(SMALL, person, one.place, pose, np.random.default_rng(0)).astype(float)
        for person, pose in ((4, one.pose), (4, other.pose), (6, one.pose))
    ]
    assert np.abs(pictures[0] - pictures[1]).mean() > 2
    assert np.abs(pictures[0] - pictures[2]).mean() > 2


def test_finished_work_is_left_alone(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert make_data(SMALL, root) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    config = PedestriansConfig(identities=1, test_identities=1, cameras=1, per_camera=1)
    (tmp_path / "data").mkdir()
    made = make_data(config, tmp_path / "data")
    assert json.loads((made / "pedestrians.json").read_text())["identities"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_another_configuration_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"seed 5 instead of 7.*choose another folder"):
        make_data(replace(SMALL, seed=7), root)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("keep")
    with pytest.raises(ValueError, match=r"no procedural data set; choose another folder"):
        make_data(SMALL, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_nothing_is_left_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.parent.name == "query":
            raise OSError(28, "No space left on device")
        return written(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        make_data(SMALL, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    config = PedestriansConfig(identities=1, test_identities=1, cameras=1, per_camera=1)
    dead, living = (dataset.part_folder(tmp_path / "data", process) for process in (2**22 + 1, os.getppid()))
    for folder in (dead, living):
        (folder / "query").mkdir(parents=True)
    make_data(config, tmp_path / "data")
    assert {path.name for path in tmp_path.iterdir()} == {"data", living.name}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"identities": 0}, "identities 0"),
        ({"test_identities": 5000}, "test_identities 5000"),
        ({"cameras": 7}, r"cameras 7: expected a whole number from 1 to 6"),
        ({"per_camera": -1}, "per_camera -1"),
        ({"seed": -3}, "seed -3"),
        ({"size": (8, 64)}, r"size \(height\) 8"),
        ({"identities": True}, "identities True"),
    ],
)
def test_senseless_values_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PedestriansConfig(**values)


def test_no_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers 0"):
        make_data(SMALL, tmp_path / "data", workers=0)


def test_drawing_needs_no_torch() -> None:
    import subprocess

    code = "import sys, augment.data.pedestrians; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
