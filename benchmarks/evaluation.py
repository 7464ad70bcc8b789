"""What ranking and re-ranking a gallery of Market-1501's size cost, beside torchreid's own functions, on one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluation [--full] [--json OUT]

Each row is a process of its own, on Linux. MiB: what it grew by at its peak, beside features (and distances, where they
are given). torchreid's Python evaluation runs on 100 of the queries and its Cython one, where it is built, on 500; time
is scaled to all of them, memory is that of so many. torchreid's re-ranking runs on a quarter of the images and, with
--full (minutes, 9 GiB), on all. Its sort leaves equal distances in any order; with a stable one its numbers are ours.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from reid.centralisation import centralised
from reid.metrics import distance_matrix, evaluate, evaluate_features
from reid.rerank import rerank
from reid.torchreid_api import torchreid

QUERIES, GALLERY, LENGTH, PEOPLE, CAMERAS = 3_368, 15_913, 512, 751, 6
FEW, SOME = 100, 500  # queries of torchreid's evaluations


@dataclass(frozen=True)
class Data:
    """Features of people, and labels in the order that `evaluate` takes them."""

    query: np.ndarray
    gallery: np.ndarray
    labels: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Measured:
    """What a process prints."""

    seconds: float  # of CPU time
    mebibytes: float
    mAP: float | None
    difference: float | None = None  # largest to ours on the same distances: in mAP and CMC, or in a new distance


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    measured: Measured
    times_ours: float | None = None  # CPU seconds in those of the row of ours above


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="torchreid's re-ranking at the whole size")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--way", choices=sorted(WAYS), help="this one only, here; prints what it measured")
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--gallery", type=int, default=GALLERY)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.way:
        print(json.dumps(asdict(WAYS[args.way](people(args.queries, args.gallery)))))
        return
    rows = [*_evaluation(), *_blocks(), *_reranking(args.full), *_centralisation()]
    print(f"{'what':<58}{'CPU s':>8}{'MiB':>8}{'mAP':>8}{'difference':>12}{'times ours':>12}")
    for row in rows:
        found = row.measured
        cells = _cell(found.mAP, "8.4f") + _cell(found.difference, "12.1e") + _cell(row.times_ours, "12.1f")
        print(f"{row.name:<58}{found.seconds:>8.2f}{found.mebibytes:>8,.0f}{cells}")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def _cell(number: float | None, form: str) -> str:
    """As wide where there is no number."""
    return " " * len(format(0.0, form)) if number is None else format(number, form)


def people(queries: int, gallery: int) -> Data:
    """As many as Market-1501's test set has, distractors among them; made without a second copy of the features."""
    rng = np.random.default_rng(0)
    pids = np.concatenate([rng.integers(1, PEOPLE, queries), rng.integers(0, PEOPLE, gallery)])
    centres = rng.standard_normal((PEOPLE, LENGTH), dtype=np.float32)
    features = rng.standard_normal((len(pids), LENGTH), dtype=np.float32)
    for start in range(0, len(pids), 1024):
        block = slice(start, start + 1024)
        features[block] = 2.5 * features[block] + centres[pids[block]]
    cameras = rng.integers(0, CAMERAS, queries), rng.integers(0, CAMERAS, gallery)
    return Data(features[:queries], features[queries:], (pids[:queries], pids[queries:], *cameras))


def _evaluation() -> list[Row]:
    ours = _measure("evaluate")
    rows = [Row(f"evaluate {QUERIES:,} x {GALLERY:,}, distances given", ours)]
    ways = [("torchreid-evaluate", FEW)]
    if torchreid().metrics.rank.IS_CYTHON_AVAI:
        ways.append(("torchreid-evaluate-cython", SOME))
    else:
        print("torchreid's Cython evaluation is not built here: not measured", file=sys.stderr)
    for way, count in ways:
        theirs = _measure(way, queries=count)
        scaled = replace(theirs, seconds=theirs.seconds * QUERIES / count)
        rows.append(Row(f"{way.replace('-', ' ')}, {count} queries, scaled", scaled, scaled.seconds / ours.seconds))
    return rows


def _blocks() -> list[Row]:
    whole, blocks = _measure("matrix"), _measure("blocks")
    tenfold = _measure("blocks", gallery=10 * GALLERY)
    return [
        Row("distance matrix, then evaluate", whole),
        Row("evaluate_features, by blocks", blocks, blocks.seconds / whole.seconds),
        Row(f"evaluate_features, {10 * GALLERY:,} in the gallery", tenfold),
    ]


def _reranking(full: bool) -> list[Row]:
    rows = []
    for parts in (4, 1):
        queries, gallery = QUERIES // parts, GALLERY // parts
        ours = _measure("rerank", queries, gallery)
        rows.append(Row(f"rerank {queries:,} x {gallery:,}, from features", ours))
        if parts > 1 or full:
            theirs = _measure("torchreid-rerank", queries, gallery)
            rows.append(Row("torchreid rerank, from features", theirs, theirs.seconds / ours.seconds))
    equal = _measure("torchreid-rerank-stable", QUERIES // 4, GALLERY // 4)
    rows.append(Row("torchreid rerank, distances given, stable sort", equal))
    return rows


def _centralisation() -> list[Row]:
    return [Row(f"NFC of {QUERIES:,} and {GALLERY:,}, then evaluate", _measure("centralise"))]


def _measure(way: str, queries: int = QUERIES, gallery: int = GALLERY) -> Measured:
    """Run one way in a process of its own."""
    options = ["--way", way, "--queries", str(queries), "--gallery", str(gallery)]
    command = [sys.executable, "-m", "benchmarks.evaluation", *options]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Measured(**json.loads(printed.splitlines()[-1]))


def _taken(work: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """The result, CPU seconds, and MiB by which the process grew; older peaks of its size are forgotten first."""
    Path("/proc/self/clear_refs").write_text("5")
    size, started = _size("VmRSS"), time.process_time()
    result = work()
    return result, (time.process_time() - started, _size("VmHWM") - size)


def _size(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith(name))


def _evaluate(data: Data) -> Measured:
    distances = distance_matrix(data.query, data.gallery)
    found, costs = _taken(lambda: evaluate(distances, *data.labels))
    return Measured(*costs, found.mAP)


def _matrix(data: Data) -> Measured:
    found, costs = _taken(lambda: evaluate(distance_matrix(data.query, data.gallery), *data.labels))
    return Measured(*costs, found.mAP)


def _in_blocks(data: Data) -> Measured:
    found, costs = _taken(lambda: evaluate_features(data.query, data.gallery, *data.labels))
    return Measured(*costs, found.mAP)


def _torchreid_evaluate(cython: bool, data: Data) -> Measured:
    distances = distance_matrix(data.query, data.gallery)
    evaluate_rank = torchreid().metrics.evaluate_rank
    (cmc, mean_ap), costs = _taken(lambda: evaluate_rank(distances, *data.labels, use_cython=cython))
    ours = evaluate(distances, *data.labels)
    return Measured(*costs, float(mean_ap), float(max(abs(mean_ap - ours.mAP), np.abs(cmc - ours.cmc).max())))


def _rerank(data: Data) -> Measured:
    distances, costs = _taken(lambda: rerank(data.query, data.gallery))
    return Measured(*costs, evaluate(distances, *data.labels).mAP)


def _torchreid_rerank(data: Data) -> Measured:
    query, gallery = torch.from_numpy(data.query), torch.from_numpy(data.gallery)
    pairs = (query, gallery), (query, query), (gallery, gallery)
    between = torchreid().metrics.compute_distance_matrix

    def work() -> np.ndarray:
        return torchreid().utils.re_ranking(*(between(*pair).numpy() for pair in pairs))

    distances, costs = _taken(work)
    return Measured(*costs, evaluate(distances, *data.labels).mAP)


def _torchreid_rerank_stable(data: Data) -> Measured:
    """torchreid's sort leaves equal distances in any order: here it is made a stable one."""
    pairs = (data.query, data.gallery), (data.query, data.query), (data.gallery, data.gallery)
    matrices = [distance_matrix(*pair) for pair in pairs]
    with mock.patch("numpy.argsort", partial(np.argsort, kind="stable")):
        theirs, costs = _taken(lambda: torchreid().utils.re_ranking(*matrices))
    return Measured(*costs, None, float(np.abs(rerank(data.query, data.gallery) - theirs).max()))


def _centralise(data: Data) -> Measured:
    found, costs = _taken(lambda: evaluate_features(centralised(data.query), centralised(data.gallery), *data.labels))
    return Measured(*costs, found.mAP)


WAYS: dict[str, Callable[[Data], Measured]] = {
    "evaluate": _evaluate,
    "torchreid-evaluate": partial(_torchreid_evaluate, False),
    "torchreid-evaluate-cython": partial(_torchreid_evaluate, True),
    "matrix": _matrix,
    "blocks": _in_blocks,
    "rerank": _rerank,
    "torchreid-rerank": _torchreid_rerank,
    "torchreid-rerank-stable": _torchreid_rerank_stable,
    "centralise": _centralise,
}

if __name__ == "__main__":
    main()
