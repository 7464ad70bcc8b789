"""Synthetic sets of noise, planned of real pedestrians, as `augment synthesize` and `filter` would leave them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from augment import planning, store
from augment.data import feed, keypoints
from augment.data.read import read_data
from augment.plan import Plan
from tests.fuzzing import PROVENANCE


def planned(data: Path, test_too: bool = False) -> Plan:
    """One image of each training image; with `test_too` also of query and gallery."""
    dataset = read_data(data)
    points = keypoints.dataset_points(dataset)
    test = [record for record in (*dataset.query, *dataset.gallery) if record.pid > 0] if test_too else []
    split = feed.load(keypoints.usable([*dataset.train, *test], points), points)
    return planning.draw_plan(split, "other-identity", planning.Budget(per_image=1), 0)


def provenance(data: Path, **changes: Any) -> dict[str, Any]:
    """Of a set by a generator that was trained on this data."""
    dataset = read_data(data)
    points = keypoints.dataset_points(dataset)
    own = {
        "data_digest": dataset.digest,
        "points_digest": keypoints.digest(keypoints.usable(dataset.train, points), points),
        "generator": PROVENANCE["generator"] | {"trained_on": dataset.digest, "initialised_from": None},
    }
    return PROVENANCE | own | changes


def write_set(path: Path, data: Path, plan: Plan | None = None, **changes: Any) -> Path:
    """A whole set; `changes` are of its provenance."""
    table = plan or planned(data)
    images = np.random.default_rng(0).integers(0, 256, (len(table), 128, 64, 3), dtype=np.uint8)
    return store.write_set(path, table, provenance(data, **changes), iter([images]))


def renamed(plan: Plan, place: int, name: str) -> Plan:
    """With another name for one of the images that it refers to."""
    files = list(plan.files)
    files[place] = name
    return replace(plan, files=tuple(files))


def scores(data: Path, **changes: Any) -> dict[str, Any]:
    """Which column a selection goes by, and what `augment score` says of it."""
    judges = [{"rank1": 0.5, "chance": 0.25}] * 2
    said = {
        "definition": "a margin",
        "data_digest": read_data(data).digest,
        "reid": {"networks_sha256": ["0" * 64, "1" * 64]},
        "judges": judges,
    }
    return {"identity_margin": said | changes}
