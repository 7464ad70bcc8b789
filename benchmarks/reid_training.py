"""Re-ID training against torchreid's own engine: same model, images, batch and thread, loader included.

    OMP_NUM_THREADS=1 python -m benchmarks.reid_training [--model osnet_x0_25] [--size 128x64] [--json OUT]

Images per second of CPU time; the ways take turns, and the fastest turn of each counts (in brackets: the median over
turns of the ratio within a turn). Not counted are the start of each turn, when the system hands out memory page by
page, and the checkpoint after it. The limit is the network alone on a batch that is ready: forward, loss and backward.
The last row trains torchreid's engine on our batches from the same weights, both without channels_last, whose sums
round otherwise: the ratio is of the two mean losses of an epoch.
"""

import argparse
import contextlib
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from augment import synthesize
from augment.data.pedestrians import PedestriansConfig, make_data
from augment.data.read import read_data
from augment.reid_training import file_source
from augment.store import Reader
from benchmarks.rates import Row, publish
from reid import torchreid_api
from reid.dataset import MixedDataset
from reid.mixing import MixPolicy, mix
from reid.sampling import EpochBatches
from reid.sources import FileSource
from reid.torchreid_api import torchreid
from reid.training import ReidConfig, seeded, train

TURNS = 3
STARTING, MEASURED = 3, 8  # steps of a turn

# Works off a turn's steps and calls what it is given after each.
Way = Callable[[Callable[[], None]], None]


@dataclass(frozen=True)
class Loaders:
    """What torchreid's engines ask of a data manager."""

    train_loader: Any
    num_train_pids: int
    test_loader: None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="osnet_x0_25")
    parser.add_argument("--size", default="128x64")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    height, width = map(int, args.size.split("x"))
    steps = STARTING + MEASURED
    config = ReidConfig(model=args.model, height=height, width=width, epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        rows = _rows(replace(config, epoch_images=steps * config.batch), Path(folder))
    publish(rows, args.json)


def _rows(config: ReidConfig, folder: Path) -> list[Row]:
    data = make_data(PedestriansConfig(identities=36, test_identities=4), folder / "data")
    synthesize.run(synthesize.SynthesizeConfig(per_image=1), data, Path("copy"), folder / "set.h5", device="cpu")
    records = read_data(data).train
    real, reader = file_source(records), Reader(folder / "set.h5")
    plain, mixed = _dataset(config, real, []), _dataset(config, real, [reader])
    bf16 = replace(config, precision="bf16")
    turns = _turns({
        "torchreid": _torchreid(config, [(str(r.path), r.pid, r.camid) for r in records]),
        "ours": _ours(config, plain),
        "mixed": _ours(config, mixed),
        "limit": _alone(config, plain.num_classes),
        "bf16": _ours(bf16, plain),
        "bf16 limit": _alone(bf16, plain.num_classes),
    }, config.batch)  # fmt: skip
    name, engine = f"{config.model} {config.height}x{config.width}, images", "torchreid's engine"
    own, theirs = _losses(replace(config, channels_last=False), plain)
    return [
        Row(f"{engine}, {name}", max(turns["torchreid"])),
        _row(f"train, {name}", turns, "ours", "torchreid", engine),
        _row(f"train in bf16, {name}", turns, "bf16", "torchreid", engine),
        _row(f"train, mixed 1 to 3, {name}", turns, "mixed", "ours", "real only"),
        _row(f"limit, {name}", turns, "ours", "limit", "train to its limit", shown="limit"),
        _row(
            f"limit in bf16, {name}",
            turns,
            "bf16",
            "bf16 limit",
            "train to its limit",
            shown="bf16 limit",
        ),
        Row("mean loss of an epoch (no rate)", own, own / theirs, f"{engine} on our batches ({own - theirs:+.1g})"),
    ]


def _dataset(config: ReidConfig, real: FileSource, sets: list[Reader]) -> MixedDataset:
    return MixedDataset([real, *sets], mix(real, sets, MixPolicy()), config.view)


def _ours(config: ReidConfig, dataset: MixedDataset) -> Way:
    def work(on_step: Callable[[], None]) -> None:
        train(config, dataset, num_classes=dataset.num_classes, progress=lambda seen, total: on_step())

    return work


def _torchreid(config: ReidConfig, files: list[tuple[str, int, int]]) -> Way:
    """Its softmax engine over its own data set, transforms and random batches."""
    ranks = {pid: rank for rank, pid in enumerate(sorted({pid for _, pid, _ in files}))}
    images = [(path, ranks[pid], camid) for path, pid, camid in files]
    with contextlib.redirect_stdout(io.StringIO()):
        transform, _ = torchreid().data.transforms.build_transforms(config.height, config.width)
    dataset = torchreid().data.ImageDataset(images, images[:1], images[:1], transform=transform, verbose=False)
    loader = DataLoader(dataset, config.batch, shuffle=True, drop_last=True)
    assert len(loader) >= STARTING + MEASURED, "too few images for a turn"

    def work(on_step: Callable[[], None]) -> None:
        engine = _engine(config, loader, len(ranks))
        for batch in itertools.islice(loader, STARTING + MEASURED):
            engine.forward_backward(batch)
            on_step()

    return work


def _alone(config: ReidConfig, num_classes: int) -> Way:
    """Forward, loss and backward of the network on one batch: no loader, no optimiser."""

    def work(on_step: Callable[[], None]) -> None:
        random = torch.Generator().manual_seed(config.seed)
        images = torch.randn(config.batch, 3, config.height, config.width, generator=random)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.randint(num_classes, (config.batch,), generator=random)
        model = torchreid_api.build_model(config.model, num_classes).train()
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        for _ in range(STARTING + MEASURED):
            with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
                logits = model(images)
            model.zero_grad()
            F.cross_entropy(logits.float(), labels, label_smoothing=config.label_smoothing).backward()
            on_step()

    return work


def _engine(config: ReidConfig, loader: DataLoader[Any], num_classes: int) -> Any:
    with seeded(torch.device("cpu"), config.seed):
        model = torchreid_api.build_model(config.model, num_classes).train()
    optimiser = torchreid_api.build_optimiser(model, config.optimiser, config.learning_rate, config.weight_decay)
    return torchreid().engine.ImageSoftmaxEngine(Loaders(loader, num_classes), model, optimiser, use_gpu=False)


def _losses(config: ReidConfig, dataset: MixedDataset) -> tuple[float, float]:
    """Mean loss of an epoch: of our loop, and of torchreid's engine on the same batches."""
    rows: list[dict[str, Any]] = []
    train(config, dataset, num_classes=dataset.num_classes, on_epoch=rows.append)
    batches = EpochBatches(
        dataset.synthetic, batch=config.batch, seed=config.seed, epochs=1, epoch_images=config.epoch_images
    )
    loader: DataLoader[Any] = DataLoader(dataset, batch_sampler=batches)  # pyright: ignore[reportArgumentType]
    engine = _engine(config, loader, dataset.num_classes)
    losses = [engine.forward_backward({"img": images, "pid": labels})["loss"] for images, labels, *_ in loader]
    return rows[0]["loss"], sum(losses) / len(losses)


def _turns(ways: dict[str, Way], batch: int) -> dict[str, list[float]]:
    """Images per second of CPU time in each turn, alternating, so that other work on the machine falls on all alike."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, work in ways.items():
            times: list[float] = []
            work(lambda times=times: times.append(time.process_time()))
            rates[name].append(MEASURED * batch / (times[-1] - times[-1 - MEASURED]))
    return rates


def _row(name: str, turns: dict[str, list[float]], way: str, base: str, against: str, *, shown: str = "") -> Row:
    """The rate of a way (or of the one to be `shown`), and how it compares to its base."""
    ratio = max(turns[way]) / max(turns[base])
    usual = statistics.median(own / other for own, other in zip(turns[way], turns[base], strict=True))
    return Row(name, max(turns[shown or way]), ratio, f"{against} ({usual:.2f})")


if __name__ == "__main__":
    main()
