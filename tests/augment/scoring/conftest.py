"""Data, its judges and a set of it with its scores: made once for all of these tests."""

import pytest

from augment import cross_fitting
from augment.data.pedestrians import PedestriansConfig, make_data
from augment.data.read import read_data
from augment.scoring import run
from tests.judging import CONFIG, SIZE, TRAINING, small_networks, values, write


@pytest.fixture(scope="module", autouse=True)
def small():
    with small_networks():
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    config = PedestriansConfig(identities=16, test_identities=2, cameras=3, per_camera=2, size=SIZE, seed=5)
    return make_data(config, tmp_path_factory.mktemp("pedestrians") / "data")


@pytest.fixture(scope="session")
def judges(data, tmp_path_factory):
    """A trained pair."""
    folder = tmp_path_factory.mktemp("judges") / "run"
    dataset = read_data(data)
    with small_networks():
        cross_fitting.train(cross_fitting.prepare(folder, dataset, TRAINING), dataset, device="cpu")
    return folder


@pytest.fixture(scope="session")
def base(data, tmp_path_factory):
    return write(tmp_path_factory.mktemp("base") / "x.h5", data)


@pytest.fixture
def synthetic(base, tmp_path):
    """A fresh copy of the set, without scores."""
    (tmp_path / "x.h5").write_bytes(base.read_bytes())
    return tmp_path / "x.h5"


@pytest.fixture(scope="session")
def scored(base, data, judges):
    with small_networks():
        run(CONFIG, base, data, reid=judges, device="cpu")
    return {name: column.reshape(-1, 3) for name, column in values(base).items()}
