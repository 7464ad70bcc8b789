"""Tables are what evaluating each part alone gives; views are those that procedural pedestrians stand in."""

import json
import math
from collections import Counter

import numpy as np
import pytest

from augment.data import keypoints
from augment.data.pedestrians.skeleton import Proportions, pose_skeleton, sample_pose, view_of
from reid import breakdown
from reid.breakdown import by_camera_pair, by_label, views
from reid.metrics import evaluate


def problem(seed, num_query=40, num_gallery=120):
    """Distances and labels, with junk, distractors and queries without a match."""
    rng = np.random.default_rng(seed)
    return (
        rng.random((num_query, num_gallery)).astype(np.float32),
        rng.integers(1, 9, num_query),
        rng.integers(-1, 7, num_gallery),
        rng.integers(1, 4, num_query),
        rng.integers(1, 5, num_gallery),
    )


@pytest.mark.parametrize("seed", range(4))
def test_by_camera_equals_evaluating_its_queries_alone(seed):
    distances, query_pids, gallery_pids, query_camids, gallery_camids = problem(seed)
    table = by_label(evaluate(*problem(seed)), query_camids.tolist())
    assert list(table) == [1, 2, 3]
    for camera, entry in table.items():
        own = query_camids == camera
        alone = evaluate(distances[own], query_pids[own], gallery_pids, query_camids[own], gallery_camids)
        assert entry["mAP"] == pytest.approx(alone.mAP)
        assert entry["rank1"] == pytest.approx(alone.cmc[0])
        assert entry["queries"] == alone.num_valid
        assert entry["queries"] + entry["without_match"] == own.sum()


def test_means_of_a_table_weighted_by_queries_are_the_whole():
    evaluation = evaluate(*problem(0))
    labels = np.random.default_rng(0).choice(["front", "side", "back", "unknown"], 40).tolist()
    table = by_label(evaluation, labels)
    assert list(table) == sorted(set(labels))
    total = sum(entry["queries"] for entry in table.values())
    assert total == evaluation.num_valid
    for name, whole in (("mAP", evaluation.mAP), ("rank1", evaluation.cmc[0])):
        assert sum(entry["queries"] * entry[name] for entry in table.values()) / total == pytest.approx(whole)


@pytest.mark.parametrize("seed", range(4))
def test_by_camera_pair_equals_evaluating_the_pair_alone(seed):
    distances, query_pids, gallery_pids, query_camids, gallery_camids = problem(seed)
    table = by_camera_pair([distances], query_pids, gallery_pids, query_camids, gallery_camids)
    assert {here: list(row) for here, row in table.items()} == {1: [2, 3, 4], 2: [1, 3, 4], 3: [1, 2, 4]}
    for here, row in table.items():
        for there, entry in row.items():
            own, searched = query_camids == here, gallery_camids == there
            alone = evaluate(
                distances[own][:, searched],
                query_pids[own],
                gallery_pids[searched],
                query_camids[own],
                gallery_camids[searched],
            )
            assert entry["mAP"] == pytest.approx(alone.mAP)
            assert entry["rank1"] == pytest.approx(alone.cmc[0])
            assert (entry["queries"], entry["without_match"]) == (alone.num_valid, own.sum() - alone.num_valid)


def test_by_camera_pair_takes_blocks():
    distances, *labels = problem(0)
    blocks = (distances[start : start + 7] for start in range(0, 40, 7))
    assert by_camera_pair(blocks, *labels) == by_camera_pair([distances], *labels)
    with pytest.raises(ValueError, match="give a row a query"):
        by_camera_pair([distances[:5]], *labels)


def test_a_group_without_any_match_has_no_scores_and_tables_are_json():
    labels = np.array([1, 9]), np.array([1, 2]), np.array([1, 2]), np.array([3, 3])
    distances = np.array([[0.0, 1.0], [0.0, 1.0]])
    table = by_label(evaluate(distances, *labels), [1, 2])
    empty = {"queries": 0, "without_match": 1, "mAP": None, "rank1": None}
    assert table == {1: {"queries": 1, "without_match": 0, "mAP": 1.0, "rank1": 1.0}, 2: empty}
    pairs = by_camera_pair([distances], *labels)
    assert pairs == {1: {3: table[1]}, 2: {3: empty}}
    assert json.loads(json.dumps(pairs)) == {"1": {"3": table[1]}, "2": {"3": empty}}


def test_a_wrong_number_of_labels_is_an_error():
    with pytest.raises(ValueError, match="3 labels for 40 queries"):
        by_label(evaluate(*problem(0)), [1, 2, 3])


def person(shoulders=(24, 40), hips=(28, 36), nose=True):
    """Joints of somebody of 40 rows from shoulders to hips; columns of the right and the left joint."""
    points = np.full((18, 2), np.nan, np.float32)
    points[1] = 30, 32
    points[[2, 5]] = [[30, shoulders[0]], [30, shoulders[1]]]
    points[[8, 11]] = [[70, hips[0]], [70, hips[1]]]
    if nose:
        points[0] = 15, 32
    return points


def test_joints_are_those_of_the_annotation():
    names = [keypoints.JOINTS[joint] for joint in (breakdown.NOSE, breakdown.NECK, *breakdown.SHOULDERS)]
    assert names == ["nose", "neck", "right shoulder", "left shoulder"]
    assert [keypoints.JOINTS[joint] for joint in breakdown.HIPS] == ["right hip", "left hip"]


def test_views_by_hand():
    hidden, left, right = person((31, 34)), person((20, 44)), person((20, 44))
    hidden[5], left[2], right[5] = np.nan, np.nan, np.nan  # the neck stands in for the middle of the shoulders
    one_hip = person((20, 44))
    one_hip[8] = np.nan
    headless, legless = person((20, 44)), person((20, 44))
    headless[[1, 2]], legless[[8, 11]] = np.nan, np.nan
    cases = {
        "front": [person((22, 42)), person((20, 44)), left, right, one_hip],
        "back": [person((42, 22), nose=False)],
        "side": [person((30, 34)), person((34, 30)), person((23, 42)), person((30, 34), nose=False), hidden],
        "unknown": [
            person((20, 44), nose=False),
            person((44, 20)),
            headless,
            legless,
            person((20, 44), nose=False) * [-1, 1],
            np.full((18, 2), np.nan),
        ],
    }
    for expected, people in cases.items():
        assert views(np.stack(people).astype(np.float32)) == [expected] * len(people)
    assert views(np.empty((0, 18, 2))) == []


def test_views_do_not_depend_on_place_and_size():
    people = np.stack([person((20, 44)), person((44, 20), nose=False), person((30, 34))])
    assert views(people * 2.5 + 7) == views(people) == ["front", "back", "side"]


def test_a_mirrored_person_faces_the_same_way():
    points, _ = pedestrians(200)
    mirrored = points[:, list(keypoints.MIRROR)] * [1, -1]
    assert views(mirrored) == views(points)


def test_views_of_procedural_pedestrians():
    points, headings = pedestrians(1000)
    found, true = np.array(views(points)), np.array([view_of(heading) for heading in headings])
    known = found != "unknown"
    assert known.mean() > 0.95
    assert (found == true)[known].mean() > 0.85
    pairs = Counter(zip(true[known].tolist(), found[known].tolist(), strict=True))
    assert pairs["front", "back"] == pairs["back", "front"] == 0
    # The heading is that of the hips, and chests turn by up to 34 degrees: away from the borders most are right.
    degrees = np.degrees(np.abs(headings))
    clear = known & (np.abs(degrees - 45) > 20) & (np.abs(degrees - 135) > 20)
    assert (found == true)[clear].mean() > 0.9


def pedestrians(count):
    """Joints and headings of people in any view and pose; the nose is there where it is nearer than the ears."""
    rng = np.random.default_rng(0)
    headings = rng.uniform(-math.pi, math.pi, count)
    points = np.empty((count, 18, 2))
    for person, heading in zip(points, headings, strict=True):
        pose = sample_pose(rng, heading, str(rng.choice(["walk", "stand", "turn"])))
        joints = pose_skeleton(pose, Proportions()).joints()
        person[:, 0], person[:, 1] = -joints[:, 1], joints[:, 0]
        if joints[0, 2] < joints[16:, 2].mean():
            person[0] = np.nan
    return points, headings
