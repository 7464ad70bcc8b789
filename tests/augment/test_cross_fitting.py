"""Judges that cannot be trained are refused before anything is; `scoring/` holds the rest, with smaller networks."""

import pytest

from augment import cross_fitting
from augment.data.read import read_data
from reid.training import ReidConfig


def test_a_size_that_the_judges_cannot_take(pedestrians, tmp_path):
    training = ReidConfig(model="osnet_x0_25", height=1, width=1)
    with pytest.raises(ValueError, match="--size 1x1: osnet_x0_25 cannot take images of this size; 32x16 would do"):
        cross_fitting.prepare(tmp_path / "run", read_data(pedestrians), training)
    assert not (tmp_path / "run").exists()
