"""results.json: the stated keys, plain JSON."""

import json

import numpy as np

from reid.metrics import evaluate
from reid.results import results


def test_the_schema():
    pids, camids = np.array([1, 2, 9]), np.array([0, 0, 0])
    distances = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = results(
        evaluate(distances, pids, np.array([1, 2]), camids, np.array([1, 1])),
        query_pids=pids,
        query_camids=camids,
        num_gallery=2,
        config={"model": "osnet_x0_25"},
        provenance={"data_digest": "abc"},
        images_seen=64,
        iterations=4,
        seconds=1.5,
    )
    assert found == json.loads(json.dumps(found, allow_nan=False))
    assert found == {
        "schema": 1,
        "mAP": (1 + 1 / 2) / 2,
        "cmc": {"1": 0.5, "5": 1.0, "10": 1.0, "20": 1.0},
        "mINP": (1 + 1 / 2) / 2,
        "per_query": {"pid": [1, 2, 9], "camid": [0, 0, 0], "ap": [1.0, 0.5, None], "rank1": [1, 0, None]},
        "num_query": 3,
        "num_gallery": 2,
        "config": {"model": "osnet_x0_25"},
        "provenance": {"data_digest": "abc"},
        "images_seen": 64,
        "iterations": 4,
        "seconds": 1.5,
    }
