"""A set of one-coloured images with made-up scores, to select from."""

import numpy as np

from augment import store
from augment.filtering import FilterConfig, prepare
from augment.plan import Plan

PIDS = np.asarray([2] * 10 + [7] * 5 + [9] + [11] * 4)
ROWS = len(PIDS)
MARGIN = np.round(np.sin(np.arange(ROWS) * 1.7), 1).astype(np.float32)  # with ties
MARGIN[[1, 12, 16, 17, 18, 19]] = np.nan  # the whole of identity 11
SHARPNESS = (np.arange(ROWS) % 7).astype(np.float32)
SCORES = {
    "margin": store.Score(MARGIN, {"reid": "abc", "folds": 2}),
    "sharpness": store.Score(SHARPNESS, {"measure": "laplacian"}),
}
BEST = FilterConfig(top=0.5, by="margin")


def make(path, first=0, scores=SCORES):
    """A set of one-coloured images, and its scores."""
    plan = Plan(
        files=tuple(f"{pid:04d}_c1_{pid}.jpg" for pid in np.unique(PIDS)),
        poses=np.zeros((4, 18, 2), np.float32),
        pid=PIDS,
        camid=np.arange(ROWS) % 3 + 1,
        source_index=np.unique(PIDS, return_inverse=True)[1],
        target_index=np.zeros(ROWS, np.int64),
        seed=np.zeros(ROWS, np.uint64),
    )
    images = np.full((ROWS, 4, 2, 3), first, np.uint8) + np.arange(ROWS, dtype=np.uint8)[:, None, None, None]
    store.write_set(
        path, plan, {"tool": "test", "config": {}, "generator": {"model": "dptn"}, "versions": {}}, [images]
    )
    if scores:
        store.write_scores(store.Reader(path), scores)
    return path


def rows(config, path):
    return prepare(config, path).rows.tolist()
