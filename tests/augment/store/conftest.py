"""One set in all its forms, made once, and a copy of it for each test that damages it."""

import shutil

import numpy as np
import pytest

from augment import store
from tests.fuzzing import PROVENANCE
from tests.set_forms import CHOSEN, FEWER, IMAGES, PLAN, write_shards


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    store.write_set(folder / "file.h5", PLAN, PROVENANCE, iter(np.array_split(IMAGES, 5)))
    write_shards(folder / "shards", PLAN, IMAGES)
    for base in ("file.h5", "shards"):
        of = store.Reader(folder / base)
        store.write_selection(folder / f"of-{base.removesuffix('.h5')}.h5", of, CHOSEN, {"keep": "these"})
    first = store.Reader(folder / "of-file.h5")
    store.write_selection(folder / "of-selection.h5", first, FEWER, {"keep": "fewer"})
    return folder


@pytest.fixture
def copied(made, tmp_path):
    """Forms that a test may damage."""
    return shutil.copytree(made, tmp_path / "copied")
