"""Five images to be imported, and the data that they are said to be of."""

import pytest

from augment.data import keypoints
from augment.data.read import read_data
from tests.importing import Given


@pytest.fixture(scope="session")
def dataset(pedestrians):
    return read_data(pedestrians)


@pytest.fixture(scope="session")
def points(dataset):
    return keypoints.dataset_points(dataset)


@pytest.fixture
def given(tmp_path, dataset):
    return Given(tmp_path, dataset)
