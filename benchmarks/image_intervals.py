"""Are the intervals of FID, KID and the Inception Score as wide as new people make the values vary?

    OMP_NUM_THREADS=1 python -m benchmarks.image_intervals [--repeats N] [--json OUT]

Simulated features of WIDTH dimensions, EACH images a person that are much alike. Rows: the mean half-width of the 95 %
interval over 1.96 standard deviations of the values over N draws of new people; 1 is right, below 1 too narrow.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from augment.intervals import linear_interval, split_interval
from generators.metrics.frechet import frechet_distance, frechet_influences, moments
from generators.metrics.inception_score import divergences, inception_score
from generators.metrics.kernel_distance import kernel_distance, kernel_influences

WIDTH, EACH = 32, 8
PEOPLE = (8, 32, 128)
SHIFTS = (0.0, 0.4, 1.5)  # of the generated side, in standard deviations
SPLITS = 10  # of the Inception Score
Features = Float[np.ndarray, "n d"]
Found = tuple[float, tuple[float, float] | None]  # a value and its interval


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200, metavar="N", help="draws of new people (200)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = measure(args.repeats)
    for name, ratio in rows.items():
        print(f"{name:<50}{ratio:>8.2f}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(repeats: int) -> dict[str, float]:
    """Width that the intervals have over the width that they should have."""
    rows = {}
    for name, of in (("FID", fid), ("KID", kid)):
        for shift in SHIFTS:
            for people in PEOPLE:
                rows[f"{name}, {people} people, shift {shift}"] = _ratio(of, people, shift, repeats)
    for people in (5 * SPLITS, 10 * SPLITS, 40 * SPLITS):
        rows[f"Inception Score, {people // SPLITS} people a split"] = _ratio(score, people, 0.0, repeats)
    return rows


def fid(real: Features, generated: Features, people: np.ndarray) -> Found:
    value = frechet_distance(moments(real), moments(generated))
    return value, linear_interval(value, frechet_influences(moments(real), generated), people, seed=0)


def kid(real: Features, generated: Features, people: np.ndarray) -> Found:
    value = kernel_distance(generated, real, subsets=1, size=min(len(generated), len(real)), seed=0)[0]
    return value, linear_interval(value, kernel_influences(real, generated, seed=0), people, seed=0)


def score(real: Features, generated: Features, people: np.ndarray) -> Found:
    return inception_score(generated)[0], split_interval(*divergences(generated), people, seed=0)


def _ratio(of: Callable[[Features, Features, np.ndarray], Found], people: int, shift: float, repeats: int) -> float:
    """The real side stays; the people of the other are drawn anew each time."""
    rng = np.random.default_rng([people, round(10 * shift)])
    real = _crowd(rng, 128, 0.0)
    found = [of(real, _crowd(rng, people, shift), np.repeat(np.arange(people), EACH)) for _ in range(repeats)]
    widths = [interval[1] - interval[0] for _, interval in found if interval is not None]
    return float(np.mean(widths) / 2 / (1.96 * np.std([value for value, _ in found])))


def _crowd(rng: np.random.Generator, people: int, shift: float) -> Features:
    who = np.repeat(rng.standard_normal((people, WIDTH)), EACH, axis=0)
    return shift + 0.8 * who + 0.6 * rng.standard_normal(who.shape)


if __name__ == "__main__":
    main()
