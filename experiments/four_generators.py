"""The four published systems, small, on the same procedural pedestrians for the same number of images.

Question: does each of them put the right clothes into the right pose, and does it beat what needs no training? Networks
and losses are the tiny presets, 1.4 M parameters each, from noise, on one CPU core. This ranks no papers: the networks
are small, the training short, and the terms that need VGG19's ImageNet weights are off.

    OMP_NUM_THREADS=1 python -m experiments.four_generators --work DIR [--images N] [--sheet PNG]

Expected cost: about two hours on one core at 32,000 images each. Running it again continues it.
Result: docs/generators.md.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from augment import sheets
from augment.data import keypoints
from augment.data.pedestrians import make_data
from augment.data.read import read_data
from augment.files import read_json
from augment.train_generator import TrainGeneratorConfig, run
from augment.validation import HeldOut, hold_out, transfer
from experiments.tiny_weights import PEDESTRIANS
from generators import checkpoint
from generators.registry import create_recipe

TRAINED = ("pg2", "patn", "dptn", "dptn-ta")
BASELINES = ("copy", "warp")
MEASURES = ("l1", "ssim", "ssim_in_mask")
ROWS = 12  # pairs drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and runs")
    parser.add_argument("--images", type=int, default=32_000, help="training length of each")
    parser.add_argument("--sheet", type=Path, default=None, help="default: WORK/four-generators.png")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = make_data(PEDESTRIANS, args.work / "data")
    for model in TRAINED:
        train(model, args.images, data, args.work / model)
    print_table(args.work)
    print(draw(data, args.work, args.sheet or args.work / "four-generators.png"))


def train(model: str, images: int, data: Path, out: Path) -> None:
    """As `augment train-generator DATA --model MODEL --preset tiny --images N --precision bf16` does."""
    recipe = create_recipe(model, "tiny", training={"images": images, "precision": "bf16"})
    config = TrainGeneratorConfig(recipe, flip=True, same_camera=True, validation=8, sample_images=images // 4)
    with tqdm(unit="img", file=sys.stderr, mininterval=10, desc=model) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        run(config, data, out, progress=progress, log=bar.write)


def print_table(work: Path) -> None:
    """Held-out quality of all, as a Markdown table."""
    found = {model: read_json(work / model / "results.json")["held_out"] for model in TRAINED}
    print("| generator | L1, grey levels | SSIM (`patn`) | SSIM in mask |\n| --- | --- | --- | --- |")
    rows = {model: [values[f"{name}_generated"] for name in MEASURES] for model, values in found.items()}
    rows |= {name: [found["dptn"][f"{each}_{name}"] for each in MEASURES] for name in BASELINES}
    for model, (l1, ssim, in_mask) in rows.items():
        print(f"| {model} | {l1:.1f} | {ssim:.3f} | {in_mask:.3f} |")


def draw(data: Path, work: Path, sheet: Path) -> Path:
    """The same held-out pairs through every generator."""
    held_out = people(data)
    split, pairs = held_out.split, held_out.pairs
    columns = {"source": list(split.pixels[pairs[:, 0]])}
    columns["target pose"] = [sheets.draw_skeleton(split.points[target], split.size) for target in pairs[:, 1]]
    for model in (*TRAINED, "warp"):
        network = checkpoint.load_generator(model if model in BASELINES else work / model)
        columns[model] = list(transfer(network, split, pairs, torch.device("cpu")))
    columns["true"] = list(split.pixels[pairs[:, 1]])
    return sheets.write_sheet(sheet, list(zip(*columns.values(), strict=True)), list(columns), groups=2)


def people(data: Path) -> HeldOut:
    """ROWS pairs of one camera, of people that no generator has seen."""
    dataset = read_data(data)
    points = keypoints.dataset_points(dataset)
    test = [record for record in (*dataset.query, *dataset.gallery) if keypoints.has_torso(points[record.name])]
    held_out = hold_out(test, points, same_camera=True, count=ROWS)
    assert held_out is not None
    assert np.ptp([record.camid for record in held_out.split.records]) > 0
    return held_out


if __name__ == "__main__":
    main()
