"""Training steps and inference of the published networks: ours beside the authors' code, on one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.generators [--dptn CHECKOUT] [--patn CHECKOUT] [--only TEXT] [--way TEXT]
                                                    [--json OUT]

CPU seconds at 128x64, batch 8; every ratio is taken in one run, ours and the authors' steps in turn. Without checkouts
of the authors' repositories their rows are missing. The share is that of the matrix rate in the same precision.
"""

import argparse
import gc
import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import published
from generators.dptn import DPTN
from generators.objective import Batch
from generators.registry import create_generator, create_recipe
from generators.training import TrainingState, train
from generators.vgg import VGG19Features

BATCH, SIZE = 8, (128, 64)
POSES = 8  # of each source, at inference


@dataclass(frozen=True)
class Row:
    """One way of doing the same: CPU seconds a call, its ratio to the authors', share of the matrix rate."""

    what: str
    seconds: float
    ratio: float | None
    share: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dptn", type=Path, help="checkout of the authors' DPTN")
    parser.add_argument("--patn", type=Path, help="checkout of the authors' PATN")
    parser.add_argument("--only", default="", help="run the groups whose name holds this text")
    parser.add_argument("--way", default="", help="only ways with this text: for the peak memory of one alone")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rates = {dtype: matrix_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    print(", ".join(f"{str(dtype).removeprefix('torch.')} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in rates.items()))
    rows: list[Row] = []
    groups: dict[str, Callable[[], dict[str, Callable[[], object]]]] = {
        "dptn inference": lambda: inference("dptn", args.dptn),
        "patn inference": lambda: inference("patn", args.patn),
        "dptn step": lambda: steps("dptn", args.dptn),
        "patn step": lambda: steps("patn", args.patn),
    }
    for name, build in groups.items():
        if args.only in name:
            ways = {way: call for way, call in build().items() if args.way in way}
            rows += measure(name, ways, rates, args.repeat)
            gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process {peak:.2f} GiB")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def measure(
    group: str, ways: dict[str, Callable[[], object]], rates: dict[torch.dtype, float], repeat: int
) -> list[Row]:
    """Median CPU seconds of each way, in turn; the first way is what the others are compared with."""
    flops = {}
    for name, way in ways.items():
        with FlopCounterMode(display=False) as counter:
            way()  # warms up as well
        flops[name] = counter.get_total_flops()
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            started = time.process_time()
            way()
            spent[name].append(time.process_time() - started)
    seconds = {name: statistics.median(values) for name, values in spent.items()}
    first = next(iter(ways))
    rows = []
    for name, value in seconds.items():
        rate = rates[torch.bfloat16 if "bf16" in name else torch.float32]
        ratio = value / seconds[first] if first == "authors" else None
        rows.append(Row(f"{group}, {name}", value, ratio, flops[name] / value / rate))
        shown = "" if ratio is None else f"{ratio:.2f} of the authors'"
        print(f"{rows[-1].what:<50}{value:>8.2f} s  {flops[name] / 1e9:>8.0f} GFLOP  {rows[-1].share:>5.0%}  {shown}")
    return rows


def matrix_rate(dtype: torch.dtype, side: int = 1_024) -> float:
    """FLOP/s of one thread multiplying square matrices: the best of several."""
    first, second = torch.randn(2, side, side).to(dtype)
    best = 0.0
    for _ in range(20):
        started = time.process_time()
        torch.mm(first, second)
        best = max(best, 2 * side**3 / (time.process_time() - started))
    return best


def inference(model: str, checkout: Path | None) -> dict[str, Callable[[], object]]:
    """BATCH sources in one pose each; ours also with POSES poses of one source at a time."""
    batch = inputs()
    source, source_map, _, target_map = batch
    ours = create_generator(model).eval().for_inference()
    both = torch.cat([source_map, target_map], 1)
    everyone = torch.arange(BATCH)
    one = torch.zeros(BATCH, dtype=torch.long)

    def call(precision: torch.dtype | None, index: torch.Tensor) -> Callable[[], object]:
        sources = int(index.max()) + 1

        def way() -> object:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision is not None):
                return ours.repose(source[:sources], source_map[:sources], target_map, index)

        return way

    ways: dict[str, Callable[[], object]] = {}
    if checkout is not None:
        theirs = (published.dptn_generator if model == "dptn" else published.patn_generator)(checkout).eval()

        def authors() -> object:
            with torch.no_grad():
                return theirs(source, source_map, target_map, False) if model == "dptn" else theirs([source, both])

        ways["authors"] = authors
    ways |= {"fp32": call(None, everyone), "bf16": call(torch.bfloat16, everyone)}
    if isinstance(ours, DPTN):
        ways |= {
            f"fp32, {POSES} poses a source": call(None, one),
            f"bf16, {POSES} poses a source": call(torch.bfloat16, one),
        }
    return ways


def steps(model: str, checkout: Path | None) -> dict[str, Callable[[], object]]:
    """One training step of the generator and its discriminators, VGG19 (random weights) included."""
    batch = inputs()
    ways: dict[str, Callable[[], object]] = {}
    if checkout is not None:
        ways["authors"] = (published.dptn_step if model == "dptn" else published.patn_step)(checkout, batch)
    for precision in ("fp32", "bf16"):
        recipe = create_recipe(model, training={"batch": BATCH, "precision": precision})
        state = TrainingState(recipe, torch.device("cpu"), VGG19Features(recipe.vgg_layers))
        loop = train(state, lambda step: Batch(*batch))
        ways[precision] = lambda loop=loop: next(loop)
    return ways


def inputs() -> tuple[torch.Tensor, ...]:
    """Source, its map, target, its map."""
    rng = torch.Generator().manual_seed(0)
    source, target = torch.rand(2, BATCH, 3, *SIZE, generator=rng) * 2 - 1
    source_map, target_map = torch.rand(2, BATCH, 18, *SIZE, generator=rng)
    return source, source_map, target, target_map


if __name__ == "__main__":
    main()
