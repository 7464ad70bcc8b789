"""Re-ID training against torchreid's own engine: same model, images, batch and thread, loader included.

    OMP_NUM_THREADS=1 python -m benchmarks.reid_training [--model osnet_x0_25] [--size 128x64] [--json OUT]

Images per second of CPU time; the rows of one kind are measured in turns, and the fastest turn of each counts. The last
row trains torchreid's engine on our batches from the same weights, both without channels_last, whose sums round
otherwise: the ratio is of the two mean losses of an epoch.
"""

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
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
    config = ReidConfig(model=args.model, height=height, width=width, epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        rows = _rows(config, Path(folder))
    publish(rows, args.json)


def _rows(config: ReidConfig, folder: Path) -> list[Row]:
    data = make_data(PedestriansConfig(identities=24, test_identities=4), folder / "data")
    synthesize.run(synthesize.SynthesizeConfig(per_image=1), data, Path("copy"), folder / "set.h5", device="cpu")
    records = read_data(data).train
    real, reader = file_source(records), Reader(folder / "set.h5")
    plain, mixed = _dataset(config, real, []), _dataset(config, real, [reader])
    bf16 = replace(config, precision="bf16")
    rates = _fastest({
        "torchreid": _torchreid(config, [(str(r.path), r.pid, r.camid) for r in records]),
        "ours": lambda: _ours(config, plain),
        "mixed": lambda: _ours(config, mixed),
        "bf16": lambda: _ours(bf16, plain),
    })  # fmt: skip
    base, name = rates["torchreid"], f"{config.model} {config.height}x{config.width}, images"
    own, theirs = _losses(replace(config, channels_last=False), plain)
    return [
        Row(f"torchreid's engine, {name}", base),
        Row(f"train, {name}", rates["ours"], rates["ours"] / base, "torchreid's engine"),
        Row(f"train in bf16, {name}", rates["bf16"], rates["bf16"] / base, "torchreid's engine"),
        Row(f"train, mixed 1 to 3, {name}", rates["mixed"], rates["mixed"] / rates["ours"], "real only"),
        Row("mean loss of an epoch (no rate)", own, own / theirs, "torchreid's engine on our batches"),
    ]


def _dataset(config: ReidConfig, real: FileSource, sets: list[Reader]) -> MixedDataset:
    return MixedDataset([real, *sets], mix(real, sets, MixPolicy()), config.view)


def _ours(config: ReidConfig, dataset: MixedDataset) -> int:
    seen: list[int] = []
    train(config, dataset, num_classes=dataset.num_classes, on_epoch=lambda row: seen.append(row["images_seen"]))
    return seen[0]


def _torchreid(config: ReidConfig, files: list[tuple[str, int, int]]) -> Callable[[], int]:
    """An epoch of its softmax engine over its own data set, transforms and random batches."""
    ranks = {pid: rank for rank, pid in enumerate(sorted({pid for _, pid, _ in files}))}
    images = [(path, ranks[pid], camid) for path, pid, camid in files]
    with contextlib.redirect_stdout(io.StringIO()):
        transform, _ = torchreid().data.transforms.build_transforms(config.height, config.width)
    dataset = torchreid().data.ImageDataset(images, images[:1], images[:1], transform=transform, verbose=False)
    loader = DataLoader(dataset, config.batch, shuffle=True, drop_last=True)

    def epoch() -> int:
        engine = _engine(config, loader, len(ranks))
        for batch in loader:
            engine.forward_backward(batch)
        return len(loader) * config.batch

    return epoch


def _engine(config: ReidConfig, loader: DataLoader[Any], num_classes: int) -> Any:
    with seeded(torch.device("cpu"), config.seed):
        model = torchreid_api.build_model(config.model, num_classes).train()
    optimiser = torchreid_api.build_optimiser(model, config.optimiser, config.learning_rate, config.weight_decay)
    return torchreid().engine.ImageSoftmaxEngine(Loaders(loader, num_classes), model, optimiser, use_gpu=False)


def _losses(config: ReidConfig, dataset: MixedDataset) -> tuple[float, float]:
    """Mean loss of an epoch: of our loop, and of torchreid's engine on the same batches."""
    rows: list[dict[str, Any]] = []
    train(config, dataset, num_classes=dataset.num_classes, on_epoch=rows.append)
    batches = EpochBatches(dataset.synthetic, batch=config.batch, seed=config.seed, epochs=1)
    loader: DataLoader[Any] = DataLoader(dataset, batch_sampler=batches)  # pyright: ignore[reportArgumentType]
    engine = _engine(config, loader, dataset.num_classes)
    losses = [engine.forward_backward({"img": images, "pid": labels})["loss"] for images, labels, *_ in loader]
    return rows[0]["loss"], sum(losses) / len(losses)


def _fastest(ways: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Images per second of CPU time, in turns, so that other work on the machine falls on all alike."""
    return {name: max(rates) for name, rates in zip(ways, zip(*_turns(ways), strict=True), strict=True)}


def _turns(ways: dict[str, Callable[[], int]]) -> Iterator[list[float]]:
    for _ in range(TURNS):
        rates = []
        for work in ways.values():
            started = time.process_time()
            done = work()
            rates.append(done / (time.process_time() - started))
        yield rates


if __name__ == "__main__":
    main()
