"""Random numbers of processes make one small synthetic set together and are killed at random times, over and over.

    OMP_NUM_THREADS=1 python -m benchmarks.faults [--seconds 300] [--seed 0]

In each round 2 to 5 processes begin within some milliseconds; in more than half of the rounds all but one of them, at
most, are killed. Whoever lives must end without an error, and the set must be that of an undisturbed process byte for
byte; what a late process leaves that was killed must go with the next run. Exit code 1 if any of it does not hold. The
kills at every step and inside the library's writes are in tests/augment/test_faults.py.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from augment import producing, store
from augment.launch import Rank
from augment.store import shards
from tests import fuzzing

ROWS, BATCH = 30, 3
PLAN, IMAGES = fuzzing.small_plan(ROWS), fuzzing.small_images(ROWS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    shards.SHARD_ROWS, producing.POLL_SECONDS = fuzzing.SHARD_ROWS, 0.0005
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    os.fsync = lambda fd: None  # a kill loses nothing that was written
    draw = random.Random(args.seed)
    rounds = kills = wrong = 0
    ends = time.monotonic() + args.seconds
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        expected = {}
        for name in ("x.h5", "x"):
            _make(folder / name, 0, 0)
            expected[name] = _content(folder / name)
        while time.monotonic() < ends:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            out = folder / draw.choice(["x.h5", "x.h5", "x"])
            died, failed = _round(out, draw)
            rounds, kills = rounds + 1, kills + died
            if out.is_file():
                store.remove_shards(store.shard_folder(out))
            else:
                _make(out, 0, 0)
            left = [path.name for path in folder.iterdir() if not path.name.endswith(".part")]
            if failed or left != [out.name] or _content(out) != expected[out.name]:
                wrong += 1
                print(f"round {rounds} ({out.name}): {failed} ended with an error; left: {', '.join(left)}")
    print(f"{rounds} rounds, {kills} processes killed, {wrong} rounds with an error or another set")
    sys.exit(wrong > 0)


def _round(out: Path, draw: random.Random) -> tuple[int, int]:
    """How many processes were killed, and how many of the others failed."""
    delay, gap = draw.choice([0, 0.002, 0.01]), draw.choice([0.001, 0.02, 0.08])
    processes = []
    for index in range(draw.randint(2, 5)):
        process = os.fork()
        if process == 0:
            status = 1
            try:
                _make(out, index, delay)
                status = 0
            finally:
                os._exit(status)
        processes.append(process)
        time.sleep(draw.random() * gap)
    doomed = draw.sample(processes, draw.randint(1, len(processes) - 1)) if draw.random() < 0.6 else []
    for process in doomed:
        time.sleep(draw.random() * 0.03)
        os.kill(process, signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    return codes.count(-signal.SIGKILL), sum(code not in (0, -signal.SIGKILL) for code in codes)


def _make(out: Path, index: int, delay: float) -> None:
    def generate(rows: np.ndarray) -> np.ndarray:
        time.sleep(delay * random.random())
        return IMAGES[rows]

    producing.produce(producing.Work(PLAN, fuzzing.SIZE, BATCH, generate, fuzzing.PROVENANCE, out), Rank(index, 4))


def _content(path: Path) -> dict[str, bytes]:
    held = [path] if path.is_file() else [each for each in path.iterdir() if not each.name.startswith(".")]
    return {each.name: each.read_bytes() for each in held}


if __name__ == "__main__":
    main()
