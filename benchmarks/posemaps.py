"""What drawing poses costs at 128x64, beside its limit and the way of PATN's and DPTN's code, in one run on one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.posemaps [--json OUT]

Rows: name, microseconds of CPU time a person, and how often that goes into NumPy's time for the same persons. The limit
is filling the memory of the maps with one number: no way of drawing can write faster. The last two rows are wall time
with all cores, of which NumPy uses one.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from augment.data import posemaps

SIZE = (128, 64)
BATCHES = (1, 8, 32, 64)


@dataclass(frozen=True)
class Row:
    """One measurement."""

    name: str
    microseconds: float  # of CPU time, a person
    times_numpy: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [*(row for batch in BATCHES for row in _rows(batch)), *_all_cores()]
    print(f"{'what':<46}{'us a person':>12}{'NumPy / this':>14}")
    for row in rows:
        print(f"{row.name:<46}{row.microseconds:>12.1f}{row.times_numpy:>14.1f}")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def _rows(batch: int) -> list[Row]:
    persons = np.random.default_rng(batch).integers(0, SIZE, (batch, 18, 2)).astype(np.float32)
    points = torch.from_numpy(persons)
    maps = torch.empty(batch, 18, *SIZE)
    ways: dict[str, Callable[[], object]] = {
        "NumPy, Gaussian maps": lambda: [whole_image_maps(person, SIZE) for person in persons],
        "Gaussian maps": lambda: posemaps.render(points, SIZE, out=maps),
        "Gaussian maps, into memory of their own": lambda: posemaps.render(points, SIZE),
        "discs": lambda: posemaps.render(points, SIZE, kind="disc", out=maps),
        "body mask": lambda: posemaps.body_mask(points, SIZE),
        "limit: filling the memory of the maps": lambda: maps.fill_(0.5),
    }
    costs = {name: _best(work, time.process_time) / batch for name, work in ways.items()}
    numpy = costs["NumPy, Gaussian maps"]
    return [Row(f"{name}, batch {batch}", 1e6 * cost, numpy / cost) for name, cost in costs.items()]


def _all_cores(batch: int = 32) -> list[Row]:
    persons = np.random.default_rng(batch).integers(0, SIZE, (batch, 18, 2)).astype(np.float32)
    points, maps = torch.from_numpy(persons), torch.empty(batch, 18, *SIZE)
    numpy = _best(lambda: [whole_image_maps(person, SIZE) for person in persons], time.perf_counter) / batch
    torch.set_num_threads(os.cpu_count() or 1)
    ours = _best(lambda: posemaps.render(points, SIZE, out=maps), time.perf_counter) / batch
    return [
        Row(f"NumPy, Gaussian maps, batch {batch}, wall", 1e6 * numpy, 1.0),
        Row(f"Gaussian maps, batch {batch}, wall, {os.cpu_count()} cores", 1e6 * ours, numpy / ours),
    ]


def whole_image_maps(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pose maps as PATN's and DPTN's code makes them: for each joint a grid, then its exponential."""
    maps = np.zeros((*size, len(points)), dtype=np.float32)
    for joint, (row, column) in enumerate(points):
        columns, rows = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
        maps[..., joint] = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * posemaps.SIGMA**2))
    return maps


def _best(work: Callable[[], object], clock: Callable[[], float], seconds: float = 0.2) -> float:
    """Seconds by `clock`, per call: the best of three rounds."""
    work()
    best = float("inf")
    for _ in range(3):
        started, calls = clock(), 0
        while clock() - started < seconds:
            work()
            calls += 1
        best = min(best, (clock() - started) / calls)
    return best


if __name__ == "__main__":
    main()
