"""A generator and an uninterrupted set of it, made once for all of these tests; shards of eight images."""

import pytest

from augment import store
from augment.synthesize import run
from tests.synthesizing import CONFIG, save_generator


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store.shards, "SHARD_ROWS", 8)


@pytest.fixture(scope="session")
def generator(pedestrians, tmp_path_factory):
    return save_generator(tmp_path_factory.mktemp("g") / "generator.safetensors", pedestrians)


@pytest.fixture(scope="session")
def whole(pedestrians, generator, tmp_path_factory):
    """An uninterrupted set."""
    return run(CONFIG, pedestrians, generator, tmp_path_factory.mktemp("whole") / "x.h5", device="cpu")


@pytest.fixture
def words(pedestrians, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ["synthesize", pedestrians, "--generator", "copy", "--out", "x.h5", "--device", "cpu", "--poses", "diverse"]
