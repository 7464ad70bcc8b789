"""Recipe of the small DPTN weights that ship with the package (augment/weights/dptn-tiny.safetensors).

Question: which weights let the demo start from a generator that already knows pedestrians? Made from procedural
pedestrians alone, of identities that no demo uses (another seed). Cost and hash: docs/weights.md.

    python -m experiments.tiny_weights --work DIR [--images N] [--threads N]

Running it again continues it.
"""

import argparse
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from augment import files
from augment.data.pedestrians import PedestriansConfig, make_data
from augment.train_generator import TrainGeneratorConfig, run
from generators import checkpoint
from generators.registry import create_recipe

SHIPPED = Path(__file__).parents[1] / "augment" / "weights" / "dptn-tiny.safetensors"
PEDESTRIANS = PedestriansConfig(identities=500, test_identities=20, per_camera=6, seed=1501)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and run")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--images", type=int, default=80_000, help="training length")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = make_data(PEDESTRIANS, args.work / "data")
    recipe = create_recipe("dptn", "tiny", training={"images": args.images, "precision": "bf16"})
    config = TrainGeneratorConfig(recipe, flip=True, same_camera=True, sample_images=4_000)
    with tqdm(unit="img", file=sys.stderr, mininterval=10) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        weights = run(config, data, args.work / "run", progress=progress, log=bar.write)
    metadata = checkpoint.read_metadata(weights)
    extra = {key: metadata[key] for key in ("trained_on", "images_seen")}
    generator = checkpoint.load_generator(weights)
    files.write_atomic(args.out, checkpoint.generator_to_bytes("dptn", "tiny", generator, extra, torch.float16))
    print(args.out, files.sha256(args.out))


if __name__ == "__main__":
    main()
