"""A generator's training of six steps, and the losses that it leaves."""

import csv
from dataclasses import replace

from augment.train_generator import TrainGeneratorConfig
from generators.registry import create_recipe

TRAINING = {"images": 24, "batch": 4}
RECIPE = create_recipe("dptn", "tiny", network={"width": 8, "max_width": 16}, training=TRAINING)
# Saved after every step.
CONFIG = TrainGeneratorConfig(RECIPE, flip=True, same_camera=True, checkpoint_seconds=0.0)


def trained(config=CONFIG, **options):
    """A configuration with other training options."""
    recipe = replace(config.recipe, training=replace(config.recipe.training, **options))
    return replace(config, recipe=recipe)


def losses(folder):
    with (folder / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))
