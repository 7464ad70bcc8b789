"""SSIM of pairs of street scenes beside scikit-image, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.ssim [--images N] [--threads N] [--json OUT]

Rows: protocol, whose code (ours by OpenCV's filters, and as numba compiles it), threads, image pairs per second, how
many times the rate of scikit-image on one thread that is, and the largest difference from its values. scikit-image's
threads each take images of their own, as ours do. Each rate is the fastest of five rounds, in turn; compiling is not in
it. Needs the extra `test`.
"""

import argparse
import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from skimage.metrics import structural_similarity

from augment.data import images
from augment.data.market1501 import read_folder
from augment.data.pedestrians import PedestriansConfig, make_data
from generators.metrics import ssim_compiled, ssim_filters
from generators.metrics.ssim import ssim

Images = np.ndarray
Code = Callable[[Images, Images, str, int], Images]

GAUSSIAN: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
OPTIONS: dict[str, dict[str, Any]] = {"patn": GAUSSIAN, "standard": GAUSSIAN, "pg2": {}}


@dataclass(frozen=True)
class Row:
    """One measurement."""

    protocol: str
    code: str
    threads: int
    rate: float  # pairs per second
    ratio: float  # to scikit-image on one thread
    difference: float  # the largest from scikit-image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="pairs of 128x64 images (1000)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="beside one (one a core)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = measure(*_pairs(args.images), sorted({1, args.threads}))
    print(f"{'protocol':<10}{'code':<14}{'threads':>8}{'pairs/s':>10}{'ratio':>8}{'difference':>12}")
    for row in rows:
        print(
            f"{row.protocol:<10}{row.code:<14}{row.threads:>8}{row.rate:>10,.0f}{row.ratio:>8.1f}{row.difference:>12.1e}"
        )
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def measure(generated: Images, real: Images, threads: Sequence[int], rounds: int = 5) -> list[Row]:
    """Every protocol in scikit-image and ours, on each number of threads."""
    rows = []
    for protocol in OPTIONS:
        CODES["numba"](generated[:1], real[:1], protocol, 1)  # compiles
        cases = list(itertools.product(CODES, threads))
        seconds = dict.fromkeys(cases, math.inf)
        values = {}
        for _ in range(rounds):
            for case in cases:
                started = time.perf_counter()
                values[case] = CODES[case[0]](generated, real, protocol, case[1])
                seconds[case] = min(seconds[case], time.perf_counter() - started)
        base = cases[0]
        for case in cases:
            difference = float(np.abs(values[case] - values[base]).max())
            rows.append(Row(protocol, *case, len(real) / seconds[case], seconds[base] / seconds[case], difference))
    return rows


def _pairs(count: int) -> tuple[Images, Images]:
    """Each image of procedural people beside the next, mostly the same person in another pose."""
    with tempfile.TemporaryDirectory() as folder:
        config = PedestriansConfig(identities=max(1, count // 10), test_identities=1, per_camera=4)
        records = read_folder(make_data(config, Path(folder) / "data") / "bounding_box_train")
        pixels = images.read_images(records)
    chosen = np.arange(count) % len(pixels)
    return pixels[chosen], pixels[(chosen + 1) % len(pixels)]


def _scikit_image(generated: Images, real: Images, protocol: str, threads: int) -> Images:
    def value(pair: tuple[Images, Images]) -> Any:
        x, y = pair
        levels = int(x.max()) - int(x.min()) if protocol == "patn" else 255
        return structural_similarity(y, x, channel_axis=2, data_range=levels, **OPTIONS[protocol])

    with ThreadPoolExecutor(threads) as pool:
        return np.asarray(list(pool.map(value, zip(generated, real, strict=True))))


def _by(module: ModuleType) -> Code:
    def values(generated: Images, real: Images, protocol: str, threads: int) -> Images:
        torch.set_num_threads(threads)
        with patch("generators.metrics.ssim.Windows", module.Windows):
            return ssim(torch.from_numpy(generated), torch.from_numpy(real), protocol).numpy()

    return values


CODES: dict[str, Code] = {"scikit-image": _scikit_image, "OpenCV": _by(ssim_filters), "numba": _by(ssim_compiled)}


if __name__ == "__main__":
    main()
