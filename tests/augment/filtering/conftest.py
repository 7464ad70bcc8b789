"""A set with scores, anew for each test."""

import pytest

from tests.scored_sets import make


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "x.h5")
