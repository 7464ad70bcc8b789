"""Four pedestrians to train on, made once; trainings that log, show and measure little."""

import pytest

from augment import train_generator, training_log, validation
from augment.data.pedestrians import PedestriansConfig, make_data


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_log, "STEPS", 2)
        patch.setattr(validation, "PAIRS", 8)
        patch.setattr(validation, "SHEET_PAIRS", 4)
        patch.setattr(train_generator, "SHEET_PAIRS", 4)
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Four identities at a quarter of the usual size."""
    config = PedestriansConfig(identities=4, test_identities=2, cameras=2, per_camera=3, size=(64, 32))
    return make_data(config, tmp_path_factory.mktemp("pedestrians") / "data")
