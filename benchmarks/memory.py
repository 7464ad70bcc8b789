"""Memory and time of a synthetic set of 10^4, 10^5 and 10^6 rows: planned, made, opened, read, chosen from, joined.

    OMP_NUM_THREADS=1 python -m benchmarks.memory [--rows N ...] [--only STEP ...] [--json OUT]

Images are of 8x4 pixels, so that what grows is what rows cost beside their pixels; names are as many as Market-1501.
Each step runs in a process of its own. MB: the peak of its resident memory, less what it took before it began. The last
column is what memory grows by, from the fewest rows to the most. A row's labels alone take 28 bytes in a Reader.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from augment import store
from augment.plan import COLUMNS, Plan

SIZE = (8, 4)
READS, NAMES = 20_000, 12_936
FILE, SHARDS, SELECTION = "set.h5", "set", "selection.h5"
PROVENANCE = {"tool": "benchmark", "config": {}, "generator": {}, "versions": {}}
Work = Callable[[], object]


@dataclass(frozen=True)
class Measured:
    """One step at one number of rows."""

    step: str
    rows: int
    seconds: float
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--only", nargs="+", choices=list(STEPS), help="these steps, and those that they need")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        step, rows, folder = args.child
        measure(step, int(rows), Path(folder))
        return
    found: list[Measured] = []
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            for step in STEPS:
                if args.only is None or step in (*args.only, *NEEDED):
                    found.append(_apart(step, rows, folder))
    show(found)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in found], indent=2) + "\n")


def plan_of(rows: int) -> Plan:
    """A plan of so many rows over as many images as Market-1501 trains on."""
    names, numbers = np.arange(NAMES), np.arange(rows)
    return Plan(
        files=tuple(f"{number // 17 + 1:04d}_c1s1_{number:06d}_00.jpg" for number in names),
        poses=np.random.default_rng(0).uniform(0, 64, (NAMES, 18, 2)).astype(np.float32),
        pid=numbers % NAMES // 17 + 1,
        camid=numbers % 6 + 1,
        source_index=numbers % NAMES,
        target_index=numbers * 7 % NAMES,
        seed=numbers.astype(np.uint64),
    )


def show(found: list[Measured]) -> None:
    """A line a step, with the numbers of rows side by side."""
    counts = sorted({row.rows for row in found})
    print(f"{'':<34}" + "".join(f"{count:>22,}" for count in counts) + f"{'bytes a row':>14}")
    for step, (name, _) in STEPS.items():
        mine = sorted((row for row in found if row.step == step), key=lambda row: row.rows)
        if not mine:
            continue
        grown = (mine[-1].megabytes - mine[0].megabytes) * 1e6 / max(mine[-1].rows - mine[0].rows, 1)
        cells = "".join(f"{row.seconds:>10.3f} s{row.megabytes:>7.0f} MB" for row in mine)
        print(f"{name:<34}{cells}{grown:>14.0f}")


def _apart(step: str, rows: int, folder: str) -> Measured:
    command = [sys.executable, "-m", "benchmarks.memory", "--child", step, str(rows), folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Measured(**json.loads(done.stdout))


def measure(step: str, rows: int, folder: Path) -> None:
    """Run one step in this process and print what it took."""
    _, prepare = STEPS[step]
    work = prepare(rows, folder)
    before, started = peak_megabytes(), time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    print(json.dumps(asdict(Measured(step, rows, seconds, peak_megabytes() - before))))


def peak_megabytes() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


# Steps: each makes ready what is not measured, and returns what is.


def plan(rows: int, folder: Path) -> Work:
    from augment.data.feed import Posed
    from augment.data.records import Record
    from augment.planning import Budget, draw_plan

    records = tuple(
        Record(Path(f"{number // 17:04d}_c{number % 6}s1_{number:06d}_00.jpg"), number // 17, number % 6)
        for number in range(NAMES)
    )
    points = np.random.default_rng(0).uniform(0, 128, (NAMES, 18, 2)).astype(np.float32)
    split = Posed(records, np.zeros((NAMES, *SIZE, 3), np.uint8), points)
    return lambda: draw_plan(split, "random", Budget(ratio=rows / NAMES), 0).sha256


def make_file(rows: int, folder: Path) -> Work:
    return _make(rows, folder / FILE)


def make_shards(rows: int, folder: Path) -> Work:
    return _make(rows, folder / SHARDS)


def _make(rows: int, out: Path) -> Work:
    from augment import producing
    from augment.launch import Rank

    block = np.random.default_rng(0).integers(0, 256, (1024, *SIZE, 3), dtype=np.uint8)
    return lambda: producing.produce(
        producing.Work(plan_of(rows), SIZE, 1024, lambda batch: block[: len(batch)], PROVENANCE, out), Rank()
    )


def open_file(rows: int, folder: Path) -> Work:
    return _open(folder / FILE)


def open_shards(rows: int, folder: Path) -> Work:
    return _open(folder / SHARDS)


def open_selection(rows: int, folder: Path) -> Work:
    return _open(folder / SELECTION)


def _open(path: Path) -> Work:
    return lambda: store.Reader(path).image(0)


def read_file(rows: int, folder: Path) -> Work:
    return _read(rows, folder / FILE)


def read_shards(rows: int, folder: Path) -> Work:
    return _read(rows, folder / SHARDS)


def _read(rows: int, path: Path) -> Work:
    def work() -> None:
        reader = store.Reader(path)
        for row in np.random.default_rng(0).integers(0, rows, READS).tolist():
            reader.image(row)

    return work


def labels(rows: int, folder: Path) -> Work:
    def work() -> None:
        reader = store.Reader(folder / FILE)
        for name in COLUMNS.keys() - {"target_pose"}:
            getattr(reader, name)

    return work


def content(rows: int, folder: Path) -> Work:
    return lambda: store.Reader(folder / SHARDS).content_sha256


def select(rows: int, folder: Path) -> Work:
    return lambda: store.write_selection(
        folder / SELECTION, store.Reader(folder / FILE), np.arange(0, rows, 2), {"keep": "every other"}
    )


def score(rows: int, folder: Path) -> Work:
    values = np.zeros(rows, np.float32)
    return lambda: store.write_scores(store.Reader(folder / FILE), {"sharpness": store.Score(values, {})})


def join(rows: int, folder: Path) -> Work:
    def work() -> None:
        readers = [store.Reader(folder / SELECTION), store.Reader(folder / SELECTION)]
        store.join(readers, folder / "joined.h5", PROVENANCE)

    return work


def export(rows: int, folder: Path) -> Work:
    from augment import export

    return lambda: export.run(export.ExportConfig("webdataset"), folder / FILE, folder / "exported")


STEPS: dict[str, tuple[str, Callable[[int, Path], Work]]] = {
    "plan": ("plan, random poses", plan),
    "make": ("make, merged into one file", make_file),
    "make-shards": ("make, left in shards", make_shards),
    "open": ("open a file, read an image", open_file),
    "open-shards": ("open shards, read an image", open_shards),
    "read": (f"read {READS:,} images of the file", read_file),
    "read-shards": (f"read {READS:,} images of the shards", read_shards),
    "labels": ("take all labels of the file", labels),
    "content": ("identify the images of the shards", content),
    "select": ("select every other row", select),
    "open-selection": ("open the selection, read an image", open_selection),
    "score": ("publish a column of scores", score),
    "join": ("join the selection with itself", join),
    "export": ("export as tar files", export),
}
NEEDED = ("make", "make-shards", "select")  # by the steps after them


if __name__ == "__main__":
    main()
