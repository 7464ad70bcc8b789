"""How should the tiny DPTN start: as its authors' network (orthogonal, gain 0.02) or with unit variance (LeCun)?

Question: error on held-out identities after 4,000 images of 64x32, each start at the learning rate that suits it.
Cost: about 2 minutes an arm on one core. Result: docs/results.md.

    OMP_NUM_THREADS=1 python -m experiments.tiny_initialisation --work DIR
"""

import argparse
from pathlib import Path

import torch

from augment.data.pedestrians import PedestriansConfig, make_data
from augment.files import read_json
from augment.train_generator import TrainGeneratorConfig, run
from generators.registry import create_recipe

ARMS = {
    "published, 5e-4": {"initialisation": "published", "learning_rate": 5e-4},
    "published, 2e-4": {"initialisation": "published", "learning_rate": 2e-4},
    "lecun, 5e-4": {"initialisation": "lecun", "learning_rate": 5e-4},
    "lecun, 1e-3": {"initialisation": "lecun", "learning_rate": 1e-3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    people = PedestriansConfig(identities=200, test_identities=32, size=(64, 32), seed=7)
    data = make_data(people, args.work / "data")
    for name, options in ARMS.items():
        recipe = create_recipe("dptn", "tiny", training={"images": 4_000, **options})
        config = TrainGeneratorConfig(recipe, flip=True, same_camera=True)
        run(config, data, args.work / name.replace(", ", "-"))
        held_out = read_json(args.work / name.replace(", ", "-") / "results.json")["held_out"]
        print(
            f"{name:<20} L1 {held_out['l1_generated']:.1f} grey levels (copy of the source: {held_out['l1_copy']:.1f})"
        )


if __name__ == "__main__":
    main()
