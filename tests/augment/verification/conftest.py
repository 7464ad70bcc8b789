"""Sets to be damaged: one in all its forms, and one that was planned of real pedestrians."""

import shutil

import numpy as np
import pytest

from augment import planning, store
from augment.data import feed, keypoints
from augment.data.read import read_data
from tests import fuzzing


@pytest.fixture(scope="session")
def forms(tmp_path_factory):
    return fuzzing.make_forms(tmp_path_factory.mktemp("forms"))


@pytest.fixture
def folder(forms, tmp_path, monkeypatch):
    """A set in all its forms, to be damaged."""
    monkeypatch.setattr(store.shards, "SHARD_ROWS", fuzzing.SHARD_ROWS)
    shutil.copytree(forms, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture(scope="session")
def drawn(pedestrians, tmp_path_factory):
    """A set of noise that was planned of real pedestrians."""
    dataset = read_data(pedestrians)
    points = keypoints.dataset_points(dataset)
    split = feed.load(keypoints.usable(dataset.train, points), points)
    table = planning.draw_plan(split, "other-identity", planning.Budget(per_image=1), 0)
    images = np.random.default_rng(0).integers(0, 256, (len(table), *split.size, 3), dtype=np.uint8)
    provenance = fuzzing.PROVENANCE | {
        "data_digest": dataset.digest,
        "points_digest": keypoints.digest(split.records, points),
    }
    return store.write_set(tmp_path_factory.mktemp("drawn") / "x.h5", table, provenance, iter([images]))


@pytest.fixture
def made(drawn, tmp_path):
    return shutil.copy(drawn, tmp_path / "x.h5")
