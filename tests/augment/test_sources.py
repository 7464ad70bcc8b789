"""Source policies: the best image of each identity and camera."""

import cv2
import numpy as np
import pytest

from augment.data.feed import Posed
from augment.data.sharpness import sharpness
from augment.sources import SOURCES, choose_sources
from tests.posing import posed

PIDS, CAMERAS = [1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 1, 1, 1]


@pytest.fixture
def split():
    """Noise, blurred the more the higher the number; images 1 and 2 are equal, as are 5 and 6."""
    bare = posed(PIDS, [0] * 7, CAMERAS)
    noise = np.random.default_rng(0).integers(0, 256, (32, 16, 3), dtype=np.uint8)
    blur = [1, 0.5, 0.5, 3, 2, 1.5, 1.5]
    return Posed(bare.records, np.stack([cv2.GaussianBlur(noise, (0, 0), sigma) for sigma in blur]), bare.points)


def test_all_may_be_sources_at_random(split):
    assert choose_sources("random", split).all()


def test_the_sharpest_of_each_identity_and_camera(split):
    np.testing.assert_array_equal(np.flatnonzero(choose_sources("sharpest", split)), [1, 3, 5])


def test_the_most_visible_and_of_several_the_sharpest(split):
    split.points[1, [0, 3]] = np.nan
    split.points[4, 0] = np.nan
    split.points[5, 7, 1] = np.nan  # either coordinate
    np.testing.assert_array_equal(np.flatnonzero(choose_sources("most-visible", split)), [2, 3, 6])
    split.points[[2, 6], 0] = np.nan
    np.testing.assert_array_equal(np.flatnonzero(choose_sources("most-visible", split)), [0, 3, 5])
    np.testing.assert_array_equal(np.flatnonzero(choose_sources("sharpest", split)), [1, 3, 5])


@pytest.mark.parametrize("policy", SOURCES[1:])
def test_there_is_one_of_each_identity_and_camera_and_none_better(split, policy):
    rng = np.random.default_rng(3)
    split.points[rng.random(split.points.shape[:2]) < 0.3] = np.nan
    chosen = choose_sources(policy, split)
    visible = np.isfinite(split.points).all(axis=2).sum(axis=1)
    seen = list(zip(visible, map(sharpness, split.pixels), strict=True))
    groups = [(record.pid, record.camid) for record in split.records]
    assert sorted(np.asarray(groups)[chosen].tolist()) == [[1, 1], [1, 2], [2, 1]]
    for best in np.flatnonzero(chosen):
        for other in range(7):
            if groups[other] == groups[best]:
                assert seen[best][policy == "sharpest" :] >= seen[other][policy == "sharpest" :]


def test_another_word_is_refused(split):
    with pytest.raises(ValueError, match="--sources best: expected one of random, sharpest, most-visible"):
        choose_sources("best", split)
