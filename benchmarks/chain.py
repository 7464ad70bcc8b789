"""What each stage of the chain costs, beside its limit, in one run on one thread; benchmarks.synthesis has the sets.

    OMP_NUM_THREADS=1 python -m benchmarks.chain [--json OUT]

Rows: name, images (or pairs) per second of CPU time, and a ratio: to the limit named in the row, or to the way that
others do the same.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from augment.data import images, posemaps
from augment.data.market1501 import read_folder
from augment.data.pedestrians import PedestriansConfig, make_data
from benchmarks.posemaps import whole_image_maps
from benchmarks.rates import Row, publish
from reid.metrics import distance_matrix, evaluate
from reid.torchreid_api import torchreid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [*_data(Path(folder)), *_maps(), *_evaluation(), _help()]
    publish(rows, args.json)


def _data(folder: Path) -> list[Row]:
    config = PedestriansConfig(identities=24, test_identities=12)
    seconds = _cpu(lambda: make_data(config, folder / "data"))
    count = sum(1 for _ in (folder / "data").rglob("*.jpg"))
    records = read_folder(folder / "data" / "bounding_box_train")
    decode = len(records) / _cpu(lambda: images.read_images(records))
    return [
        Row("make-data, 128x64 JPEG", count / seconds, count / seconds / 150, "the 150 images/s a core asked for"),
        Row("decode JPEG into memory", decode),
    ]


def _maps() -> list[Row]:
    rng = np.random.default_rng(0)
    points = (rng.random((32, 18, 2)) * [128, 64]).astype(np.float32)
    ours = 32 / _cpu(lambda: posemaps.render(torch.from_numpy(points), (128, 64)), repeat=10)
    twin = 8 / _cpu(lambda: [whole_image_maps(person, (128, 64)) for person in points[:8]])
    return [Row("pose maps, 18x128x64", ours, ours / twin, "one NumPy exponential a pixel and joint, as PATN's code")]


def _evaluation() -> list[Row]:
    rng = np.random.default_rng(0)
    queries, gallery, identities = 3_368, 15_913, 750
    query_pids, gallery_pids = rng.integers(1, identities, queries), rng.integers(0, identities, gallery)
    query_cams, gallery_cams = rng.integers(0, 6, queries), rng.integers(0, 6, gallery)
    features = [rng.standard_normal((count, 64)).astype(np.float32) for count in (queries, gallery)]
    distances = distance_matrix(features[0], features[1])
    ours = queries / _cpu(lambda: evaluate(distances, query_pids, gallery_pids, query_cams, gallery_cams))
    few = 200
    theirs = few / _cpu(
        lambda: torchreid().metrics.evaluate_rank(
            distances[:few], query_pids[:few], gallery_pids, query_cams[:few], gallery_cams, use_cython=False
        )
    )
    return [Row("evaluate 3,368 x 15,913, queries", ours, ours / theirs, "torchreid's Python, on 200 of the queries")]


def _help() -> Row:
    command = [sys.executable, "-m", "augment", "--help"]
    started = time.perf_counter()
    for _ in range(5):
        subprocess.run(command, check=True, capture_output=True)
    seconds = (time.perf_counter() - started) / 5
    return Row("augment --help, runs", 1 / seconds, 0.5 / seconds, "half a second (above 1 is faster; wall time)")


def _cpu(work: Callable[[], object], repeat: int = 1) -> float:
    """Seconds of CPU time of this process, per call."""
    started = time.process_time()
    for _ in range(repeat):
        work()
    return (time.process_time() - started) / repeat


if __name__ == "__main__":
    main()
