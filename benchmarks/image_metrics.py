"""Seconds of CPU time that measuring takes, networks left out, on one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.image_metrics [--images N] [--json OUT]

Reading street scenes of 128x64 (JPEG) and all metrics of pixels of as many pairs, masks given; FID, KID and the
Inception Score and their intervals once the features are known. Features are random, 2048 an image; those of the real
side are as many as Market-1501's training images.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.data.images import read_images
from augment.data.market1501 import read_folder
from augment.data.pedestrians import PedestriansConfig, make_data
from augment.image_metrics import PIXEL, pixel_columns
from augment.intervals import linear_interval, split_interval
from generators.metrics.frechet import frechet_distance, frechet_influences, moments
from generators.metrics.inception_score import divergences, inception_score
from generators.metrics.kernel_distance import kernel_distance, kernel_influences

WIDTH, CLASSES = 2048, 1008
REAL, IMAGES_EACH = 12_936, 16
SAMPLE, BATCH = 1000, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12_000, metavar="N", help="generated images (12000)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = {**pixels(args.images), **measure(args.images)}
    for name, seconds in rows.items():
        print(f"{name:<40}{seconds:>10.2f} s")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


def pixels(count: int) -> dict[str, float]:
    """Seconds of CPU time, one run each; a thousand images stand for all."""
    with tempfile.TemporaryDirectory() as folder:
        config = PedestriansConfig(identities=100, test_identities=1, per_camera=4)
        records = read_folder(make_data(config, Path(folder) / "data") / "bounding_box_train")[:SAMPLE]
        reading, images = _timed(lambda: read_images(records))
    mask = torch.zeros(images.shape[:3], dtype=torch.bool)
    mask[:, 20:110, 20:45] = True
    cpu = torch.device("cpu")
    pixel_columns(PIXEL, images[:1], images[:1], mask[:1], cpu)  # compiles
    batches = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
    other = np.roll(images, 1, axis=0)
    measuring = _timed(lambda: [pixel_columns(PIXEL, images[b], other[b], mask[b], cpu) for b in batches])[0]
    scale = count / len(images)
    return {f"reading {count} images": scale * reading, f"metrics of pixels of {count} pairs": scale * measuring}


def measure(count: int) -> dict[str, float]:
    """Seconds of CPU time, one run each."""
    rng = np.random.default_rng(0)
    spread = np.exp(-np.arange(WIDTH) / 300).astype(np.float32)
    real, generated = (rng.standard_normal((n, WIDTH), dtype=np.float32) * spread for n in (REAL, count))
    seconds, fitted = _timed(lambda: moments(real))
    rows = {f"moments of {REAL} images": seconds}
    other = moments(generated)
    rows["Frechet distance"] = _timed(lambda: frechet_distance(fitted, other))[0]
    rows["kernel distance, 100 subsets of 1000"] = _timed(lambda: kernel_distance(real, generated, seed=0))[0]
    people = np.arange(count) // IMAGES_EACH
    rows["interval of the Frechet distance"] = _timed(
        lambda: linear_interval(0.0, frechet_influences(fitted, generated), people, 0)
    )[0]
    rows["interval of the kernel distance"] = _timed(
        lambda: linear_interval(0.0, kernel_influences(real, generated, seed=0), people, 0)
    )[0]
    logits = rng.standard_normal((count, CLASSES), dtype=np.float32)
    rows[f"Inception Score of {count} images"] = _timed(lambda: inception_score(logits))[0]
    rows["interval of the Inception Score"] = _timed(lambda: split_interval(*divergences(logits), people, 0))[0]
    return rows


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


if __name__ == "__main__":
    main()
