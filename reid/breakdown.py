"""Where a model is good and where it is not: scores by query camera, by pair of cameras and by the view of the body.

Tables are dicts of plain values, ready for JSON. Each entry holds `queries` (those with a match, which the scores are
the means over), `without_match`, `mAP` and `rank1`; the scores are None where no query has a match.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer

from reid.metrics import Evaluation, Gallery, average_precision, each_row

Entry = dict[str, int | float | None]

VIEWS = ("front", "side", "back")
UNKNOWN = "unknown"

# Places of OpenPose's 18 joints that say which way a body is turned; each pair is right, left of the person.
NOSE, NECK, SHOULDERS, HIPS = 0, 1, [2, 5], [8, 11]

# Shoulders are 0.21 statures apart and 0.29 above the hips (Drillis and Contini 1966): seen from in front their width
# is 0.71 of the torso's height, from 45 degrees aside it is half of it.
BORDER = 0.5


def by_label(evaluation: Evaluation, labels: Sequence[int] | Sequence[str]) -> dict[int | str, Entry]:
    """Scores of the queries of each label, say their cameras or views, in the labels' order.

    Raises:
        ValueError: not as many labels as queries.
    """
    if len(labels) != len(evaluation.ap):
        raise ValueError(f"{len(labels)} labels for {len(evaluation.ap)} queries: give one a query")
    label_of = np.asarray(labels)
    return {label: _entry(label_of == label, evaluation.ap, evaluation.rank1) for label in np.unique(label_of).tolist()}


def by_camera_pair(
    blocks: Iterable[Float[np.ndarray, "b g"]],
    query_pids: Integer[np.ndarray, " q"],
    gallery_pids: Integer[np.ndarray, " g"],
    query_camids: Integer[np.ndarray, " q"],
    gallery_camids: Integer[np.ndarray, " g"],
) -> dict[int, dict[int, Entry]]:
    """Scores by query camera, then gallery camera: the queries of the one, searched among the other's images alone.

    A camera that is searched for its own queries has no match by the protocol and is left out.

    Raises:
        ValueError: as `reid.metrics.evaluate_blocks`, but not for want of a match.
    """
    cameras = np.unique(gallery_camids).tolist()
    columns = [np.flatnonzero(gallery_camids == camera) for camera in cameras]
    galleries = [Gallery.of(gallery_pids[own], gallery_camids[own]) for own in columns]
    ap, rank1 = np.full((2, len(cameras), len(query_pids)), np.nan)
    for q, row in each_row(blocks, query_pids, gallery_pids):
        for c, gallery in enumerate(galleries):
            places = gallery.places(row[columns[c]], int(query_pids[q]), int(query_camids[q]))
            if len(places):
                ap[c, q], rank1[c, q] = average_precision(places), places[0] == 0
    return {
        here: {there: _entry(query_camids == here, ap[c], rank1[c]) for c, there in enumerate(cameras) if there != here}
        for here in np.unique(query_camids).tolist()
    }


def views(points: Float[np.ndarray, "n 18 2"]) -> list[str]:
    """Which side of its body each person shows, from OpenPose's joints (row, column), NaN where missing.

    front: the left shoulder is to the right of the right one by at least half the torso's height, and the nose is seen.
    back: the other way round, and no nose. side: the shoulders are closer. unknown: shoulders and nose contradict each
    other, or joints are missing; the neck stands in for the middle if one shoulder is hidden, one hip is enough.
    """
    rows, columns = points[..., 0], points[..., 1]
    height = _mean(rows[:, HIPS]) - _mean(rows[:, SHOULDERS])
    right, left = columns[:, SHOULDERS].T
    neck = columns[:, NECK]
    width = np.where(np.isnan(left), 2 * (neck - right), np.where(np.isnan(right), 2 * (left - neck), left - right))
    nose = ~np.isnan(points[:, NOSE]).any(axis=1)
    turned = width / np.where(height > 0, height, np.nan)
    found = np.full(len(points), UNKNOWN, dtype="<U7")
    found[np.abs(turned) < BORDER] = "side"
    found[(turned >= BORDER) & nose] = "front"
    found[(turned <= -BORDER) & ~nose] = "back"
    return found.tolist()


def _mean(values: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """Of those of the two that are there; NaN where neither is."""
    first, second = values.T
    return np.where(np.isnan(first), second, np.where(np.isnan(second), first, (first + second) / 2))


def _entry(chosen: Bool[np.ndarray, " q"], ap: Float64[np.ndarray, " q"], rank1: Float64[np.ndarray, " q"]) -> Entry:
    valid = chosen & ~np.isnan(ap)
    queries = int(np.count_nonzero(valid))
    return {
        "queries": queries,
        "without_match": int(np.count_nonzero(chosen)) - queries,
        "mAP": float(ap[valid].mean()) if queries else None,
        "rank1": float(rank1[valid].mean()) if queries else None,
    }
