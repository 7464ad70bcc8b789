"""What a synthetic set costs to make and to read, beside the generator alone and beside JPEG files, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.synthesis [--device cuda] [--model M] [--preset P] [--batch N] [--images N]
        [--precision bf16] [--per-image K ...] [--shards] [--threads N] [--repeat N] [--only PART] [--json OUT]

Made: images a second from JPEG files to the merged set, everything included but the start of Python, against the bare
network on a batch that is ready, of the same size and the same number of poses a source, again and again (limit: 0.85).
Written: the writer alone, against the network (limit: 5) and against plain writes of the same bytes, synced.
Read: at random, against decoding JPEG files of the same pixels (limit: 1). A GPU wants more images: --images 50000.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from augment import launch, store, synthesize
from augment.data import images, keypoints, market1501
from augment.data.pedestrians import PedestriansConfig, make_data
from benchmarks.memory import PROVENANCE, plan_of
from benchmarks.rates import Row, publish
from generators import checkpoint
from generators.generator import Generator
from generators.initialisation import initialise
from generators.registry import create_generator
from reid.sources import FileSource, ImageSource

TRAIN, ANNOTATION = "bounding_box_train", "market-annotation-train.csv"
WRITTEN, READ = 8 * store.SHARD_ROWS, 4096  # images
WORKERS, READ_BATCH = 2, 64


@dataclass(frozen=True)
class Setting:
    """What is run, and how often."""

    device: torch.device
    model: str
    preset: str
    batch: int
    precision: str
    images: int
    repeat: int
    out: str


@dataclass(frozen=True)
class Spent:
    """Seconds of the clock, and of all cores."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="dptn")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--images", type=int, default=512, help="images to make")
    parser.add_argument("--per-image", type=int, nargs="+", default=[1, 2, 4], help="poses a source")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--shards", action="store_true", help="leave the set in shards: nothing is merged")
    parser.add_argument("--only", choices=["make", "write", "read"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device, out = launch.own_device(args.device), "set" if args.shards else "set.h5"
    setting = Setting(device, args.model, args.preset, args.batch, args.precision, args.images, args.repeat, out)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seed = make_data(PedestriansConfig(identities=24, test_identities=2), folder / "seed")
        if args.only in (None, "make"):
            for poses in args.per_image:
                rows += making(folder, seed, setting, poses)
        if args.only in (None, "write"):
            rows += writing(folder, rows[0] if rows else None)
        if args.only in (None, "read"):
            rows += reading(folder, seed)
    publish(rows, args.json)


def making(folder: Path, seed: Path, setting: Setting, poses: int) -> list[Row]:
    """From JPEG files to the merged set, against the bare network, in turn."""
    data = multiplied(seed, folder / f"data-{poses}", setting.images // poses)
    weights = folder / "generator.safetensors"
    weights.write_bytes(_weights(setting))
    config = synthesize.SynthesizeConfig(
        per_image=poses, batch=setting.batch, precision=setting.precision, foreign_generator=True
    )
    job = synthesize.prepare(config, data, weights, device=str(setting.device))
    forward = bare_forward(job, setting)
    forward(1)
    alone: list[Spent] = []
    whole: list[Spent] = []
    out = folder / setting.out
    for _ in range(setting.repeat):
        alone.append(spent(lambda: forward(-(-len(job.plan) // setting.batch))))
        whole.append(spent(lambda: synthesize.run(config, data, weights, out, device=str(setting.device))))
        store.remove_set(out)
    name = f"{setting.model} {setting.preset}, {setting.precision}, batch {setting.batch}, {poses} poses a source"
    return [row for kind in ("cpu", "wall") for row in _against(name, kind, len(job.plan), alone, whole)]


def _against(name: str, kind: str, count: int, alone: Sequence[Spent], whole: Sequence[Spent]) -> list[Row]:
    """The network alone and the whole chain, in one kind of seconds; the ratio is the median of those taken in turn."""
    seconds = [(getattr(first, kind), getattr(second, kind)) for first, second in zip(alone, whole, strict=True)]
    ratio = statistics.median(first / second for first, second in seconds)
    bare, chain = (count / statistics.median(values) for values in zip(*seconds, strict=True))
    clock = {"cpu": "CPU", "wall": "wall"}[kind]
    return [
        Row(f"{name}, forward, {clock}", bare),
        Row(f"{name}, end to end, {clock}", chain, ratio, "the forward passes alone; limit 0.85"),
    ]


def bare_forward(job: synthesize.Job, setting: Setting) -> Callable[[int], None]:
    """Run the network on its first batch so many times."""
    rows = np.arange(min(setting.batch, len(job.plan)))
    sources, of_row = np.unique(job.plan.source_index[rows], return_inverse=True)
    device, kind = setting.device, job.generator.pose_map
    image, source_map = job.split.images(sources, device), job.split.maps(sources, device, kind)
    target_map = job.split.maps(job.plan.target_index[rows], device, kind)
    index = torch.from_numpy(of_row).to(device)

    def forward(times: int) -> None:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=setting.precision == "bf16"):
            for _ in range(times):
                job.generator.repose(image, source_map, target_map, index)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return forward


def _weights(setting: Setting) -> bytes:
    generator: Generator = create_generator(setting.model, setting.preset)
    initialise(generator, torch.Generator().manual_seed(0), "orthogonal")
    return checkpoint.generator_to_bytes(setting.model, setting.preset, generator, {"trained_on": "none"})


def multiplied(seed: Path, out: Path, count: int) -> Path:
    """A data root of so many training images: those of `seed`, again and again under new identities."""
    points = keypoints.read_annotation(seed / ANNOTATION)
    records = keypoints.usable(market1501.read_folder(seed / TRAIN), points)
    shutil.copytree(seed, out, ignore=shutil.ignore_patterns(TRAIN, "pedestrians.json"))
    (out / TRAIN).mkdir()
    renamed = {}
    for number in range(count):
        record = records[number % len(records)]
        pid = record.pid + 1000 * (number // len(records))
        name = f"{pid:04d}_{record.name.partition('_')[2]}"
        os.link(record.path, out / TRAIN / name)
        renamed[name] = points[record.name]
    keypoints.write_annotation(out / ANNOTATION, renamed)
    return out


def writing(folder: Path, generator: Row | None) -> list[Row]:
    """The writer alone, shards and merged set, images that are there already."""
    block = np.random.default_rng(0).integers(0, 256, (store.SHARD_ROWS, 128, 64, 3), dtype=np.uint8)
    plan = plan_of(WRITTEN)
    out = folder / "written.h5"
    shards = store.shard_folder(out)
    sizes: list[int] = []

    def make() -> None:
        attributes = store.begin(shards, plan, PROVENANCE)
        for shard in store.missing_shards(shards, plan):
            path = store.write_shard(shards, shard, plan, block, attributes)
            sizes.append(path.stat().st_size)
        store.merge(shards, plan, out, attributes)

    ours = spent(make)
    data = np.random.default_rng(0).bytes(max(sizes))
    merged = out.stat().st_size
    out.unlink()
    pieces = [merged // len(sizes)] * len(sizes)

    def plain() -> None:
        for number, size in enumerate(sizes):
            write_synced(folder / f"plain-{number}", [data[:size]])
        write_synced(folder / "plain", (data[:size] for size in pieces))

    theirs = spent(plain)
    rows = [
        Row("plain writes of as many bytes, synced, wall", WRITTEN / theirs.wall),
        Row("shards and merged set, wall", WRITTEN / ours.wall, theirs.wall / ours.wall, "the plain writes"),
        Row("shards and merged set, CPU", WRITTEN / ours.cpu),
    ]
    if generator is not None:
        rows[-1] = Row(
            rows[-1].name, rows[-1].rate, rows[-1].rate / generator.rate, "the network's CPU rate above; limit 5"
        )
    return rows


def write_synced(path: Path, blocks: Iterable[bytes]) -> None:
    """Write and fsync."""
    with path.open("wb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def reading(folder: Path, seed: Path) -> list[Row]:
    """The pixels of JPEG files at random: decoded, and from a set in a file, in shards, and through a selection."""
    records = market1501.read_folder(seed / TRAIN)
    pixels = images.read_images(records)
    rows = np.arange(READ)
    plan = plan_of(READ)
    file = store.write_set(
        folder / "read.h5", plan, PROVENANCE, (pixels[part % len(pixels)] for part in np.array_split(rows, 8))
    )
    shards = folder / "read"
    attributes = store.begin(shards, plan, PROVENANCE)
    for shard in store.missing_shards(shards, plan):
        part = np.asarray(store.shard_rows(plan, shard))
        store.write_shard(shards, shard, plan, pixels[part % len(pixels)], attributes)
    chosen = store.write_selection(folder / "chosen.h5", store.Reader(file), rows[::2], {})
    decoded = [records[row % len(records)] for row in rows]
    jpeg = FileSource(*zip(*((record.path, record.pid, record.camid) for record in decoded), strict=True))
    sources: dict[str, ImageSource] = {
        "one file": store.Reader(file), "shards": store.Reader(shards), "a selection": store.Reader(chosen),
    }  # fmt: skip
    return [
        *_alone(jpeg, sources, pixels[0]),
        *_by_workers(jpeg, sources, "fork"),
        *_by_workers(jpeg, sources, "spawn"),
    ]


def _alone(jpeg: ImageSource, sources: dict[str, ImageSource], image: np.ndarray) -> list[Row]:
    """One process, CPU time."""
    limit = len(jpeg) / spent(lambda: read_shuffled(jpeg)).cpu
    rows = [Row("decode JPEG files, CPU", limit)]
    for name, source in sources.items():
        read_shuffled(source)
        rate = len(source) / spent(lambda source=source: read_shuffled(source)).cpu
        rows.append(Row(f"read {name}, CPU", rate, rate / limit, "decoding JPEG files; limit 1"))
    checked = READ / spent(lambda: [zlib.crc32(image.data) for _ in range(READ)]).cpu
    rows.append(
        Row("of it the checksum, CPU", checked, rows[1].rate / checked, "reading one file: the checksum's share")
    )
    return rows


def _by_workers(jpeg: ImageSource, sources: dict[str, ImageSource], method: str) -> list[Row]:
    """Worker processes of a DataLoader, wall time of an epoch after their first."""
    rates = {name: _epoch_rate(source, method) for name, source in {"": jpeg, **sources}.items()}
    limit = rates.pop("")
    what = f"{WORKERS} workers, {method}, wall"
    against = "the same of JPEG files; limit 1"
    return [
        Row(f"decode JPEG files, {what}", limit),
        *(Row(f"read {name}, {what}", rate, rate / limit, against) for name, rate in rates.items()),
    ]


def _epoch_rate(source: ImageSource, method: str, epochs: int = 5) -> float:
    loader = DataLoader(
        Pixels(source), READ_BATCH, shuffle=True, num_workers=WORKERS, multiprocessing_context=method,
        persistent_workers=True,
    )  # fmt: skip
    seconds = [spent(lambda: [None for _ in loader]).wall for _ in range(epochs)]
    return len(source) / statistics.median(seconds[1:])


class Pixels(Dataset[torch.Tensor]):
    """The images of a source as tensors."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self._source.image(index))


def read_shuffled(source: ImageSource) -> None:
    for row in np.random.default_rng(0).permutation(len(source)).tolist():
        source.image(row)


def spent(work: Callable[[], object]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


if __name__ == "__main__":
    main()
