"""A set to be scored, and judges and trainings so small that they take a second."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from augment import score_columns, store, train_generator, training_log, validation
from augment.data import keypoints
from augment.data.images import read_image
from augment.data.read import read_data
from augment.plan import UNKNOWN, Plan
from augment.scoring import JUDGES, ScoreConfig

SIZE = (64, 32)
TRAINING = replace(JUDGES, height=64, width=32, epochs=30, batch=8, learning_rate=3e-3, weight_decay=0.0)
CONFIG = ScoreConfig(training=TRAINING, batch=16)
PIXEL_SCORES = ScoreConfig(("source_l1", "sharpness"))
FEATURES = ("identity_similarity", "identity_margin", "source_distance")


class Colours(nn.Module):
    """A network that tells clothes apart after a second of training, where OSNet takes minutes."""

    def __init__(self, name, num_classes):
        super().__init__()
        layers = nn.AdaptiveAvgPool2d((8, 4)), nn.Flatten(), nn.BatchNorm1d(96), nn.Linear(96, 24), nn.BatchNorm1d(24)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(24, num_classes)

    def forward(self, images):
        features = self.features(images)
        return self.classifier(features) if self.training else features


@contextmanager
def small_networks() -> Iterator[None]:
    """Judges that tell colours apart; trainings that log, show and measure little; no weights of torch's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reid.torchreid_api.build_model", Colours)
        patch.setattr(score_columns, "ROWS", 50)
        patch.setattr(torch.hub, "get_dir", lambda: "/nonexistent")
        patch.setattr(training_log, "STEPS", 2)
        patch.setattr(validation, "PAIRS", 2)
        patch.setattr(validation, "SHEET_PAIRS", 2)
        patch.setattr(train_generator, "SHEET_PAIRS", 2)
        yield


def write(path, data, images=None, weights=None, **changes):
    """A set with three rows a training image: a copy of it, a blurred copy, and somebody in other clothes."""
    dataset = read_data(data)
    records = sorted(dataset.train, key=lambda record: record.name)
    points = keypoints.dataset_points(dataset)
    pixels = np.stack([read_image(record.path) for record in records])
    pids = np.array([record.pid for record in records])
    rng = np.random.default_rng(0)
    outfit = (pids - 1) // 8  # of four training identities each
    other = np.array([rng.choice(np.flatnonzero(outfit != own)) for own in outfit])
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in pixels])
    made = np.stack([pixels, blurred, pixels[other]], axis=1).reshape(-1, *SIZE, 3) if images is None else images
    source = np.repeat(np.arange(len(records)), 3)
    columns = {
        "files": tuple(record.name for record in records),
        "poses": keypoints.stack(records, points),
        "pid": pids[source],
        "camid": np.array([record.camid for record in records])[source],
        "source_index": source,
        "target_index": np.where(np.arange(len(source)) % 7 == 3, UNKNOWN, source[::-1]),
        "seed": np.arange(len(source)).astype(np.uint64),
    }
    provenance = {
        "tool": "test",
        "config": {},
        "generator": {"model": "none", "weights_sha256": weights},
        "versions": {},
        "data_digest": dataset.digest,
        "points_digest": "",
        "pose_estimator": "test",
    }
    plan = Plan(**columns | {key: value for key, value in changes.items() if key in columns})
    stated = provenance | {key: value for key, value in changes.items() if key not in columns}
    return store.write_set(path, plan, stated, [made])


def values(path):
    return {name: score.values for name, score in store.Reader(path).scores.items()}
