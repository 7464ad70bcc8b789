"""Randomly damaged files of a small synthetic set: what reading everything comes to, and what `augment verify` finds.

    OMP_NUM_THREADS=1 python -m benchmarks.fuzz [--files 1000] [--seed 0]

The files of a set in all its forms (a file, its scores, a selection, shards, plan and manifest) take turns; 1 to 8
bytes are changed, or a fifth of the files is cut somewhere. Each is read in a process of its own. Images are tiny, so
that most of the bytes are HDF5's own. Exit code 1 if anything was let through.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from augment.store import shards
from tests import fuzzing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    shards.SHARD_ROWS = fuzzing.SHARD_ROWS
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as place:
        folder = fuzzing.make_forms(Path(place))
        whole = {opened: fuzzing.read_all(folder / opened) for opened in set(fuzzing.TARGETS.values())}
        names = list(fuzzing.TARGETS)
        for number in range(args.files):
            name = names[number % len(names)]
            rng = np.random.default_rng([args.seed, number])
            outcome = fuzzing.try_damaged(folder, name, rng, whole[fuzzing.TARGETS[name]])
            counts[outcome] += 1
            if not fuzzing.is_safe(*outcome):
                print(f"file {number} ({name}): reading {outcome[0]}, verify {outcome[1]}")
    print(f"{'reading':<20}{'verify':<10}{'files':>6}")
    for (read, verified), count in counts.most_common():
        print(f"{read:<20}{verified:<10}{count:>6}")
    sys.exit(not all(fuzzing.is_safe(*outcome) for outcome in counts))


if __name__ == "__main__":
    main()
