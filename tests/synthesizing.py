"""Small untrained generators, and what a synthetic set holds and may be made of."""

import h5py
import torch

from augment.data import keypoints
from augment.data.read import read_data
from augment.synthesize import SynthesizeConfig
from generators import checkpoint
from generators.initialisation import initialise
from generators.registry import create_generator

CONFIG = SynthesizeConfig(ratio=0.5, batch=8)


def save_generator(path, data, seed=0):
    """Weights that say they were trained on `data`."""
    dataset = read_data(data)
    points = keypoints.dataset_points(dataset)
    digest = keypoints.digest(keypoints.usable(dataset.train, points), points)
    return save_weights(path, {"trained_on": dataset.digest, "points_digest": digest}, seed)


def save_weights(path, extra, seed=0):
    network = create_generator("dptn", "tiny", width=8, max_width=16)
    initialise(network, torch.Generator().manual_seed(seed), "lecun")
    path.write_bytes(checkpoint.generator_to_bytes("dptn", "tiny", network, extra))
    return path


def content(path):
    with h5py.File(path) as file:
        return {name: file[name][...].tobytes() for name in file}


def usable_points(data, split="train"):
    dataset = read_data(data)
    points = keypoints.dataset_points(dataset)
    return {record.name: points[record.name] for record in keypoints.usable(getattr(dataset, split), points)}
