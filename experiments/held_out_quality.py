"""Generators side by side on random pairs of a data set's test identities.

Question: what does a network have to beat? `copy` and `warp` need no training.

    OMP_NUM_THREADS=1 python -m experiments.held_out_quality DATA [GENERATOR ...] [--pairs N]

Expected cost: a minute for each generator and 1,000 pairs of 128x64. Result: docs/results.md.
"""

import argparse
from pathlib import Path

import torch

from augment.data import keypoints
from augment.data.read import read_data
from augment.validation import hold_out
from generators import checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("generators", nargs="*", default=["copy", "warp"], help="run folders, weights, copy, warp")
    parser.add_argument("--pairs", type=int, default=1_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dataset = read_data(args.data)
    points = keypoints.dataset_points(dataset)
    people = keypoints.usable((*dataset.query, *dataset.gallery), points)
    print("| generator | pairs of | L1 | SSIM (`patn`) | SSIM in mask |\n| --- | --- | --- | --- | --- |")
    for same_camera, cameras in ((True, "one camera"), (False, "any camera")):
        held_out = hold_out(people, points, same_camera, count=args.pairs)
        if held_out is None:
            raise SystemExit(f"{args.data}: no test identity has two images of {cameras} with key points")
        for name in args.generators:
            found, _ = held_out.measure(checkpoint.load_generator(name), torch.device("cpu"))
            cells = f"{found['l1']:.1f} | {found['ssim']:.3f} | {found['ssim_in_mask']:.3f}"
            print(f"| {name} | {cameras} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
