"""What is compared: lists and random pairs of test people, a synthetic set's truth, folders paired by name."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from augment import synthesize
from augment.data import keypoints
from augment.data.images import read_image
from augment.data.read import read_data
from augment.image_pairs import choose_pairs, of_generator, of_set
from augment.store import Reader
from generators import checkpoint


@pytest.fixture(scope="module")
def dataset(pedestrians):
    return read_data(pedestrians)


@pytest.fixture(scope="module")
def points(dataset):
    return keypoints.dataset_points(dataset)


def test_random_pairs_are_different_ones_of_test_people(dataset, points):
    chosen = choose_pairs(dataset, points, None, 50, same_camera=False, seed=0)
    pids = np.asarray([record.pid for record in chosen.records])[chosen.pairs]
    assert (pids[:, 0] == pids[:, 1]).all()
    assert not set(pids.ravel().tolist()) & {record.pid for record in dataset.train}
    assert len({tuple(pair) for pair in chosen.pairs.tolist()}) == len(chosen.pairs) == 50
    assert (chosen.pairs[:, 0] != chosen.pairs[:, 1]).all()
    np.testing.assert_array_equal(chosen.points, keypoints.stack(chosen.records, points))
    again = choose_pairs(dataset, points, None, 50, same_camera=False, seed=0)
    other = choose_pairs(dataset, points, None, 50, same_camera=False, seed=1)
    assert (again.pairs == chosen.pairs).all()
    assert {r.name for r in other.records} != {r.name for r in chosen.records} or (other.pairs != chosen.pairs).any()


def test_pairs_within_a_camera(dataset, points):
    chosen = choose_pairs(dataset, points, None, None, same_camera=True, seed=0)
    cameras = np.asarray([record.camid for record in chosen.records])[chosen.pairs]
    assert (cameras[:, 0] == cameras[:, 1]).all()
    assert "of one camera" in chosen.says["pairs"]


def listed(path, *pairs):
    path.write_text("\n".join(["from,to", *(f"{a.name},{b.name}" for a, b in pairs)]) + "\n")
    return path


def people_of(dataset, count):
    """Two test images each of some persons."""
    by_person = {}
    for record in sorted({*dataset.query, *dataset.gallery}, key=lambda record: record.name):
        if record.pid > 0:
            by_person.setdefault(record.pid, []).append(record)
    return [images[:2] for images in by_person.values()][:count]


def test_a_list_is_taken_as_it_is_but_for_people_without_a_torso(dataset, points, tmp_path):
    first, second, third = people_of(dataset, 3)
    points = dict(points)
    for record in (*first, *second, *third):
        points[record.name] = np.ones((18, 2), np.float32)
    points[second[1].name] = np.full((18, 2), np.nan, np.float32)
    path = listed(tmp_path / "pairs.csv", first, second, third, first[::-1])
    chosen = choose_pairs(dataset, points, path, None, same_camera=False, seed=0)
    names = [tuple(chosen.records[index].name for index in pair) for pair in chosen.pairs]
    assert names == [(a.name, b.name) for a, b in (first, third, first[::-1])]
    assert (chosen.says["listed"], chosen.says["left_out_without_torso"]) == (4, 1)
    assert chosen.notes == ("1 listed pairs left out: an image without annotated shoulders and hips",)
    fewer = choose_pairs(dataset, points, path, 2, same_camera=False, seed=0)
    assert len(fewer.pairs) == 2
    own = choose_pairs(dataclasses.replace(dataset, test_pairs=path), points, None, None, same_camera=False, seed=0)
    np.testing.assert_array_equal(own.pairs, chosen.pairs)


def test_a_pair_that_is_listed_twice_counts_once(dataset, points, tmp_path):
    first, second = people_of(dataset, 2)
    points = points | {record.name: np.ones((18, 2), np.float32) for record in (*first, *second)}
    path = listed(tmp_path / "pairs.csv", second, first, second, first[::-1], second)
    chosen = choose_pairs(dataset, points, path, None, same_camera=False, seed=0)
    names = [tuple(chosen.records[index].name for index in pair) for pair in chosen.pairs]
    assert names == [(a.name, b.name) for a, b in (second, first, first[::-1])]
    assert (chosen.says["listed"], chosen.says["left_out_repeated"]) == (5, 2)
    assert chosen.notes == ("2 listed pairs left out: they are listed before, and a pair counts once",)


def test_refusals(dataset, points, tmp_path):
    first, second = people_of(dataset, 2)
    points = points | {record.name: np.ones((18, 2), np.float32) for record in (*first, *second)}
    path = listed(tmp_path / "pairs.csv", (first[0], second[0]))
    with pytest.raises(ValueError, match=f"{first[0].name} and {second[0].name} show two persons"):
        choose_pairs(dataset, points, path, None, same_camera=False, seed=0)
    itself = listed(tmp_path / "itself.csv", first, (second[1], second[1]))
    with pytest.raises(ValueError, match=rf"itself\.csv: {second[1].name} is paired with itself"):
        choose_pairs(dataset, points, itself, None, same_camera=False, seed=0)
    with pytest.raises(ValueError, match="--same-camera: chooses random pairs, but --pairs lists them"):
        choose_pairs(dataset, points, path, None, same_camera=True, seed=0)
    with pytest.raises(ValueError, match="has no query or gallery"):
        choose_pairs(dataclasses.replace(dataset, query=(), gallery=()), points, None, 5, same_camera=False, seed=0)
    empty = listed(tmp_path / "empty.csv")
    with pytest.raises(ValueError, match=r"empty\.csv: no pair of images with key points"):
        choose_pairs(dataset, points, empty, None, same_camera=False, seed=0)


def test_a_generators_images_beside_source_and_truth(dataset, points):
    chosen = choose_pairs(dataset, points, None, 9, same_camera=False, seed=0)
    compared = of_generator(checkpoint.load_generator("copy"), chosen, dataset.train, torch.device("cpu"))
    rows = np.asarray([4, 0, 7])
    source, true = (
        np.stack([read_image(chosen.records[index].path) for index in chosen.pairs[rows, side]]) for side in (0, 1)
    )
    np.testing.assert_array_equal(compared.generated(rows), source)
    assert compared.source is not None
    np.testing.assert_array_equal(compared.source(rows), source)
    np.testing.assert_array_equal(compared.true(rows), true)
    assert compared.paired.all()
    assert compared.poses is not None
    np.testing.assert_array_equal(compared.poses, chosen.points[chosen.pairs[:, 1]])
    assert [record.name for record in compared.other] == sorted(
        {chosen.records[index].name for index in chosen.pairs[:, 1]}
    )


def test_a_set_has_a_true_image_where_the_pose_is_the_persons_own(dataset, points, pedestrians, tmp_path):
    out = tmp_path / "set.h5"
    config = synthesize.SynthesizeConfig(per_image=2)
    synthesize.run(config, pedestrians, "copy", out, device="cpu")  # pyright: ignore[reportArgumentType]
    reader = Reader(out)
    compared = of_set(reader, dataset, points, seed=0)
    named = {record.name: record for record in dataset.train}
    same = [
        named[reader.target_name(row)].pid == reader.identity(row)
        and reader.target_name(row) != reader.source_name(row)
        for row in range(len(reader))
    ]
    assert compared.paired.tolist() == same
    note = f"whom the generator may have seen; {sum(same)} of {len(reader)} rows have a true image"
    assert compared.notes[0].endswith(note)
    rows = np.flatnonzero(same)[:3]
    np.testing.assert_array_equal(
        compared.true(rows), np.stack([read_image(named[reader.target_name(row)].path) for row in rows])
    )
    assert compared.source is not None
    np.testing.assert_array_equal(compared.source(rows), compared.generated(rows))
    assert not {record.pid for record in compared.other} & {record.pid for record in dataset.train}
    other = dataclasses.replace(dataset, train=dataset.train[:-1])
    with pytest.raises(ValueError, match="give the data that the set was made from"):
        of_set(reader, other, points, seed=0)


def test_the_pose_of_the_source_makes_no_true_image(dataset, points, pedestrians, tmp_path):
    out = tmp_path / "set.h5"
    config = synthesize.SynthesizeConfig("self", per_image=1)
    synthesize.run(config, pedestrians, Path("copy"), out, device="cpu")
    compared = of_set(Reader(out), dataset, points, seed=0)
    assert not compared.paired.any(), "no image is its own truth"
    assert compared.says["of_own_pose"] == len(compared)
    assert compared.notes[1] == (
        f"{len(compared)} rows have the pose of their own source, which is no true image: not compared"
    )
