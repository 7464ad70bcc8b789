"""Which gallery images a query is searched among, with cameras and without."""

from pathlib import Path

import numpy as np

from augment.data import search
from augment.data.records import UNKNOWN_CAMERA, DataSet, Record
from reid.metrics import evaluate


def records(*numbers):
    return tuple(Record(Path(f"{i}.jpg"), pid, camid) for i, (pid, camid) in enumerate(numbers))


def scores(query, gallery, distances):
    query_pids, gallery_pids = (np.array([record.pid for record in split]) for split in (query, gallery))
    return evaluate(np.array(distances, np.float32), query_pids, gallery_pids, *search.cameras(query, gallery))


def test_known_cameras_are_what_they_are():
    query, gallery = records((1, 3), (2, 0)), records((1, 3), (2, 1), (0, 5))
    found = search.cameras(query, gallery)
    assert [cameras.tolist() for cameras in found] == [[3, 0], [3, 1, 5]]


def test_without_cameras_every_gallery_image_is_searched():
    query, gallery = (
        records((1, UNKNOWN_CAMERA)),
        records((1, UNKNOWN_CAMERA), (2, UNKNOWN_CAMERA), (1, UNKNOWN_CAMERA)),
    )
    found = scores(query, gallery, [[0.1, 0.2, 0.3]])
    assert found.mAP == (1 / 1 + 2 / 3) / 2
    assert search.unmatched(DataSet(Path("root"), (), query, gallery)) == ()


def test_with_cameras_the_same_search_leaves_the_querys_own_out():
    query, gallery = records((1, 4)), records((1, 4), (2, 4), (1, 5))
    assert scores(query, gallery, [[0.1, 0.2, 0.3]]).mAP == 1 / 2


def test_one_unknown_camera_of_two_is_enough_to_search():
    unknown_query, known_query = records((1, UNKNOWN_CAMERA)), records((1, 4))
    gallery = records((1, 4), (2, 4), (1, UNKNOWN_CAMERA))
    assert scores(unknown_query, gallery, [[0.1, 0.2, 0.3]]).mAP == (1 / 1 + 2 / 3) / 2
    assert scores(known_query, gallery, [[0.1, 0.2, 0.3]]).mAP == 1 / 2


def test_queries_that_nothing_can_be_found_for():
    query = records((1, 1), (1, 2), (2, 1), (3, UNKNOWN_CAMERA), (4, UNKNOWN_CAMERA))
    gallery = records((1, 1), (1, 1), (2, 2), (3, 1), (0, 9))
    found = search.unmatched(DataSet(Path("root"), (), query, gallery))
    assert found == (query[0], query[4])
