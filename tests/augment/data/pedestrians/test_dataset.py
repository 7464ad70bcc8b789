"""The procedural data set: its layout and annotation, and the same bytes wherever they are drawn."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from augment.data.pedestrians import (
    PedestriansConfig,
    count_images,
    dataset,
    make_data,
    portray,
    view_of,
)
from augment.data.pedestrians.skeleton import VIEWS

SMALL = PedestriansConfig(identities=3, test_identities=3, cameras=3, per_camera=2, seed=5)
NAME = re.compile(r"^(-1|\d{4})_c([1-6])s([1-6])_(\d{6})_(\d{2})\.jpg$")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(SMALL, tmp_path_factory.mktemp("pedestrians") / "data")


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


# What it holds


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


# Done, other, interrupted


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
