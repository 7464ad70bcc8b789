"""SSIM of pairs of street scenes beside scikit-image, in one run on one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.ssim [--images N] [--json OUT]

Rows: protocol and precision, image pairs per second of CPU time, how many times scikit-image's rate that is, and the
largest difference from its values. Each is the fastest of three rounds.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage.metrics import structural_similarity

from augment.data import images
from augment.data.market1501 import read_folder
from augment.data.pedestrians import PedestriansConfig, make_data
from generators.metrics.ssim import ssim

Images = np.ndarray

GAUSSIAN: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
OPTIONS: dict[str, dict[str, Any]] = {"patn": GAUSSIAN, "standard": GAUSSIAN, "pg2": {}}


@dataclass(frozen=True)
class Row:
    """One measurement."""

    protocol: str
    precision: str
    rate: float  # per second of CPU time
    ratio: float  # to scikit-image
    difference: float  # the largest from scikit-image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="pairs of 128x64 images (1000)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(*_pairs(args.images))
    print(f"{'protocol':<10}{'precision':<11}{'per CPU second':>16}{'ratio':>9}{'difference':>12}")
    for row in rows:
        print(f"{row.protocol:<10}{row.precision:<11}{row.rate:>16,.0f}{row.ratio:>9.1f}{row.difference:>12.1e}")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def measure(generated: Images, real: Images) -> list[Row]:
    """Every protocol in scikit-image, then in float64 and float32."""
    count, rows = len(generated), []
    tensors = torch.from_numpy(generated), torch.from_numpy(real)
    for protocol in OPTIONS:
        expected, theirs = _fastest(lambda protocol=protocol: _scikit_image(generated, real, protocol))
        rows.append(Row(protocol, "skimage", count / theirs, 1.0, 0.0))
        for dtype in (torch.float64, torch.float32):
            found, seconds = _fastest(lambda protocol=protocol, dtype=dtype: ssim(*tensors, protocol, dtype=dtype))
            difference = float(np.abs(found.double().numpy() - expected).max())
            precision = str(dtype).removeprefix("torch.")
            rows.append(Row(protocol, precision, count / seconds, theirs / seconds, difference))
    return rows


def _pairs(count: int) -> tuple[Images, Images]:
    """Each image of procedural people beside the next, mostly the same person in another pose."""
    with tempfile.TemporaryDirectory() as folder:
        config = PedestriansConfig(identities=max(1, count // 10), test_identities=1, per_camera=4)
        records = read_folder(make_data(config, Path(folder) / "data") / "bounding_box_train")
        pixels = images.read_images(records)
    chosen = np.arange(count) % len(pixels)
    return pixels[chosen], pixels[(chosen + 1) % len(pixels)]


def _scikit_image(generated: Images, real: Images, protocol: str) -> Images:
    values = []
    for x, y in zip(generated, real, strict=True):
        levels = int(x.max()) - int(x.min()) if protocol == "patn" else 255
        values.append(structural_similarity(y, x, channel_axis=2, data_range=levels, **OPTIONS[protocol]))
    return np.asarray(values)


def _fastest(work: Callable[[], Any], rounds: int = 3) -> tuple[Any, float]:
    """The result, and the least seconds of CPU time of this process."""
    result, seconds = None, []
    for _ in range(rounds):
        started = time.process_time()
        result = work()
        seconds.append(time.process_time() - started)
    return result, min(seconds)


if __name__ == "__main__":
    main()
