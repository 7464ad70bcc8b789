"""What feeding a training costs on one core, beside what a model takes, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.feed [--json OUT]

Rows: name, images (or pairs, lists) per second of CPU time, and a ratio: to the limit named in the row, or to the other
way. An image of a batch is a pair: two images and two pose maps. DPTN at 128x64 takes 11 images a second and core to
generate and 1.4 to train on; the limit is 20 times the first, and less by the area for larger images.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from augment.data import cache, feed, images
from augment.data.pairs import ListedPairs, Pairs
from augment.data.records import Record
from benchmarks.rates import Row, publish

MARKET, FASHION = (128, 64), (256, 176)
LIMIT = 20 * 11.0 * 128 * 64  # pixels a second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [*_batches(), *_pairs(Path(folder)), *_cache(Path(folder), MARKET), *_cache(Path(folder), FASHION)]
    publish(rows, args.json)


def _batches() -> list[Row]:
    split, large = _split(MARKET, 512), _split(FASHION, 128)
    cases = [
        ("128x64, batch 8, Gaussians", split, 8, {}),
        ("128x64, batch 32, Gaussians", split, 32, {}),
        ("128x64, batch 32, Gaussians, flips", split, 32, {"flip": True}),
        ("128x64, batch 32, discs, masks", split, 32, {"pose_map": "disc", "masks": True}),
        ("256x176, batch 8, Gaussians, flips", large, 8, {"flip": True}),
    ]
    rows = []
    for name, posed, batch, options in cases:
        arguments = {"flip": False, "pose_map": "gaussian", "masks": False} | options
        batches = feed.Feed(
            posed, Pairs([record.pid for record in posed.records]), batch, 0, device=torch.device("cpu"), **arguments
        )
        steps = 256 // batch
        rate = steps * batch / _cpu(lambda batches=batches, steps=steps: [batches.batch_at(s) for s in range(steps)])
        limit = LIMIT / (posed.size[0] * posed.size[1])
        rows.append(Row(f"batches {name}", rate, rate / limit, f"{limit:.0f}, 20 times what DPTN generates on a core"))
    return rows


def _pairs(folder: Path) -> list[Row]:
    """As many identities and images as Market-1501 trains on."""
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(1, 752), 2 + rng.multinomial(12_936 - 2 * 751, np.full(751, 1 / 751))).tolist()
    records = [Record(Path(f"{pid:04d}_c1s1_{number:06d}_01.jpg"), pid, 1) for number, pid in enumerate(pids)]
    pairs = Pairs(pids)
    path = folder / "pairs.csv"
    names = (f"{records[a].name},{records[b].name}\n" for a, b in (pairs[index] for index in range(len(pairs))))
    path.write_text("from,to\n" + "".join(names))
    listed = ListedPairs(path, records)
    count = f"{len(pairs):,}"
    construct, read = 1 / _cpu(lambda: Pairs(pids), 5), 1 / _cpu(lambda: ListedPairs(path, records))
    numbered, drawn = (1 / _cpu(lambda source=source: source.draw(0, 1, 32), 200) for source in (pairs, listed))
    return [
        Row(f"pairs: number all {count}, constructions", construct, construct / 100, "10 ms"),
        Row("pairs: draw 32 of the numbered, draws", numbered, numbered / 1000, "1 ms"),
        Row("pairs: draw 32 of the listed, draws", drawn, drawn / 1000, "1 ms"),
        Row(f"pairs: read a list of {count}, lists", read, read, "1 s"),
    ]


def _cache(folder: Path, size: tuple[int, int]) -> list[Row]:
    name = f"{size[0]}x{size[1]}"
    rng = np.random.default_rng(0)
    records = []
    (folder / name).mkdir()
    for number in range(512):
        path = folder / name / f"{number}.jpg"
        coarse = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path, quality=90)
        records.append(Record(path, 1, 1))
    one = len(records) / _wall(lambda: [images.read_image(record.path) for record in records])
    threads = len(records) / _wall(lambda: images.read_images(records))
    write = len(records) / _once(lambda: cache.decoded(records, cache=folder / f"{name}-cache"), 1, time.perf_counter)
    found = len(records) / _wall(lambda: cache.decoded(records, cache=folder / f"{name}-cache").sum())
    cores = f"one thread ({images.THREADS} threads on {os.cpu_count()} cores)"
    return [
        Row(f"decode {name} JPEG, images, wall", threads, threads / one, cores),
        Row(f"decode {name} into the cache, images, wall", write, write / threads, "decoding into memory"),
        Row(f"open and read {name} in the cache, images, wall", found, found / threads, "decoding into memory"),
    ]


def _split(size: tuple[int, int], count: int) -> feed.Posed:
    rng = np.random.default_rng(0)
    records = tuple(Record(Path(f"{number}.jpg"), 1 + number // 16, 1) for number in range(count))
    pixels = rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)
    return feed.Posed(records, pixels, np.rint(rng.random((count, 18, 2)) * size).astype(np.float32))


def _cpu(work: Callable[[], object], repeat: int = 1) -> float:
    """Seconds of CPU time of this process, per call: the least of three."""
    return min(_once(work, repeat, time.process_time) for _ in range(3))


def _wall(work: Callable[[], object]) -> float:
    return min(_once(work, 1, time.perf_counter) for _ in range(3))


def _once(work: Callable[[], object], repeat: int, clock: Callable[[], float]) -> float:
    started = clock()
    for _ in range(repeat):
        work()
    return (clock() - started) / repeat


if __name__ == "__main__":
    main()
