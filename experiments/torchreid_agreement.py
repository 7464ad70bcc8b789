"""torchreid's own evaluation beside ours: on the same features, and each from the same checkpoint on.

Question: do the two agree, so that scores of the one may stand beside the other's? torchreid's engine trains a network
on its own data manager and saves it its own way; given --checkpoint, that file is taken instead. Then its engine tests
the file: its loader, its transforms, its distances, its re-ranking, its Python evaluator. Beside that stands our
evaluation of the very features that its engine extracted, and what `augment evaluate-reid` makes of the file and the
images. The file is also read with the names that DataParallel gives (`module.`).

torchreid's loader refuses its own checkpoints since torch 2.6, for the NumPy scalar in them; here it is allowed that.

    OMP_NUM_THREADS=1 python -m experiments.torchreid_agreement --work DIR [--data ROOT] [--checkpoint FILE]

ROOT is a Market-1501 root in the official layout; by default procedural pedestrians. Expected cost: five minutes on one
core; on real data sixteen passes over query and gallery, and one over the training images for each epoch. Result:
docs/results.md.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import nn

from augment import evaluate_reid
from augment.data.pedestrians import PedestriansConfig, make_data
from augment.evaluate_reid import EvaluateReidConfig
from augment.searched import PLAIN, RERANKED
from reid import torchreid_api
from reid.metrics import METRICS, distance_blocks, evaluate_blocks
from reid.rerank import rerank_blocks
from reid.torchreid_api import torchreid
from reid.training import seeded

PEDESTRIANS = PedestriansConfig(identities=32, test_identities=24, per_camera=4, seed=5)
SET = "market1501"
RANKS = (1, 5, 10)
LISTENED = ("compute_distance_matrix", "evaluate_rank")
WAYS = [(metric, reranked) for metric in METRICS for reranked in (False, True)]


@dataclass(frozen=True)
class Scores:
    """Fractions in [0, 1]; queries in the order of their files' names, NaN without a match."""

    mAP: float
    cmc: tuple[float, ...]  # at RANKS
    ap: Float64[np.ndarray, " q"]


@dataclass(frozen=True)
class Tested:
    """What torchreid's engine found, and from what; queries in the order of its loader, `order` by name."""

    scores: Scores
    query: Float32[np.ndarray, "q d"]
    gallery: Float32[np.ndarray, "g d"]
    distances: Float32[np.ndarray, "q g"]
    labels: tuple[np.ndarray, ...]  # identities of query and gallery, then cameras
    order: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and checkpoints")
    parser.add_argument("--data", type=Path, help="Market-1501 root; default: procedural pedestrians")
    parser.add_argument("--checkpoint", type=Path, help="torchreid's file; default: train one")
    parser.add_argument("--model", default="osnet_x0_25", help="torchreid's name of the network")
    parser.add_argument("--size", default="128x64", help="input size in pixels, HxW")
    parser.add_argument("--epochs", type=int, default=30, help="of the training")
    args = parser.parse_args()
    torch.set_num_threads(1)
    height, width = map(int, args.size.split("x"))
    data = args.data or make_data(PEDESTRIANS, args.work / "data")
    manager = manage(data, args.work / "torchreid", height, width)
    checkpoint = args.checkpoint or train(manager, args.model, args.work / "log", args.epochs)
    parallel = save_parallel(load(manager, args.model, checkpoint), args.work / "parallel")
    print(f"| file | ranking | evaluation | mAP | {' | '.join(f'R-{rank}' for rank in RANKS)} | AP differs by |")
    print("| --- " * (5 + len(RANKS)) + "|")
    for title, path in (("as saved", checkpoint), ("`module.`", parallel)):
        engine = test_engine(manager, load(manager, args.model, path))
        for metric, reranked in WAYS:
            config = EvaluateReidConfig(metric, rerank=reranked, model=args.model, height=height, width=width)
            print_rows(f"{title} | {metric}{', re-ranked' * reranked}", compare(engine, config, data, path))


def compare(engine: Any, config: EvaluateReidConfig, data: Path, checkpoint: Path) -> dict[str, Scores]:
    """torchreid's scores first, then ours; `config` says the metric."""
    assert config.metric is not None, "torchreid must be told the metric"
    tested = test(engine, config.metric, config.rerank)
    return {
        "torchreid": tested.scores,
        "ours, its features": evaluate_features(tested, config.metric, config.rerank),
        "ours, from the file": evaluate_file(config, data, checkpoint),
    }


def print_rows(title: str, found: dict[str, Scores]) -> None:
    theirs = found["torchreid"]
    for name, scores in found.items():
        cells = [f"{value:.4f}" for value in (scores.mAP, *scores.cmc)]
        differs = "" if scores is theirs else f"{differences(scores, theirs).max():.1e}"
        print(f"| {title} | {name} | {' | '.join(cells)} | {differs} |", flush=True)


def differences(ours: Scores, theirs: Scores) -> Float64[np.ndarray, " n"]:
    """By how much the average precisions of the queries that have a match differ.

    Raises:
        ValueError: no query has one, or one has a match for only one of the two.
    """
    missing, missing_there = np.isnan(ours.ap), np.isnan(theirs.ap)
    one_sided = np.flatnonzero(missing != missing_there)
    if len(one_sided) or missing.all():
        raise ValueError(
            f"{len(one_sided)} queries have a match in one evaluation alone (numbers {one_sided[:5].tolist()}), "
            f"{np.count_nonzero(~missing)} of {len(missing)} in ours: the two did not evaluate the same"
        )
    return np.abs(ours.ap - theirs.ap)[~missing]


def manage(data: Path, folder: Path, height: int, width: int, batch: int = 32) -> Any:
    """torchreid's data manager; it finds the images through a link in the place where it looks for them."""
    link = folder / SET / "Market-1501-v15.09.15"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(data.resolve(), target_is_directory=True)
    with quiet():
        return torchreid().data.ImageDataManager(
            root=str(folder), sources=SET, height=height, width=width, batch_size_train=batch, batch_size_test=100,
            workers=0, use_gpu=False,
        )  # fmt: skip


def train(manager: Any, model: str, folder: Path, epochs: int) -> Path:
    """The file that torchreid's engine saves after its last epoch."""
    with seeded(torch.device("cpu"), 0), quiet():
        network = torchreid_api.build_model(model, manager.num_train_pids)
        optimiser = torchreid_api.build_optimiser(network, "amsgrad", 1e-3, 5e-4)
        scheduler = torchreid().optim.build_lr_scheduler(optimiser, "single_step", stepsize=max(1, epochs - 1))
        engine = torchreid().engine.ImageSoftmaxEngine(manager, network, optimiser, scheduler, use_gpu=False)
        engine.run(save_dir=str(folder), max_epoch=epochs, print_freq=50)
    return folder / "model" / f"model.pth.tar-{epochs}"


def load(manager: Any, model: str, checkpoint: Path) -> nn.Module:
    """The network as torchreid itself reads it from the file."""
    network = torchreid_api.build_model(model, manager.num_train_pids)
    with torch.serialization.safe_globals(torchreid_api.numpy_globals()), quiet():
        torchreid().utils.load_pretrained_weights(network, str(checkpoint))
    return network


def save_parallel(network: nn.Module, folder: Path) -> Path:
    """The file that torchreid saves of a network on several GPUs."""
    state = {"state_dict": nn.DataParallel(network).state_dict(), "epoch": 1, "rank1": np.float32(0)}
    with quiet():
        torchreid().utils.save_checkpoint(state, str(folder))
    return folder / "model.pth.tar-1"


def test_engine(manager: Any, network: nn.Module) -> Any:
    return torchreid().engine.ImageSoftmaxEngine(manager, network, optimizer=None, use_gpu=False)


def test(engine: Any, metric: str, reranked: bool) -> Tested:
    """torchreid's test, listened to where it compares features and where it ranks."""
    metrics = torchreid().metrics
    listen = {name: patch.object(metrics, name, wraps=getattr(metrics, name)) for name in LISTENED}
    with contextlib.ExitStack() as stack, quiet():
        compared, ranked = (stack.enter_context(listen[name]) for name in LISTENED)
        rank1 = engine.test(dist_metric=metric, rerank=reranked)
    query, gallery = (features.numpy() for features in compared.call_args_list[0].args[:2])
    distances, *labels = ranked.call_args.args
    cmc, mean_ap = metrics.evaluate_rank(distances, *labels)
    assert cmc[0] == rank1, "the evaluator was listened to at the wrong place"
    listed, _ = engine.datamanager.fetch_test_loaders(SET)
    order = np.argsort([Path(path).name for path, *_ in listed])
    ap = np.fromiter(each_ap(distances, *labels), np.float64)[order]
    scores = Scores(float(mean_ap), tuple(float(cmc[rank - 1]) for rank in RANKS), ap)
    return Tested(scores, query, gallery, distances, tuple(labels), order)


def each_ap(
    distances: Float32[np.ndarray, "q g"],
    query_pids: np.ndarray,
    gallery_pids: np.ndarray,
    query_camids: np.ndarray,
    gallery_camids: np.ndarray,
) -> Iterator[float]:
    """torchreid's average precision of each query, which it only gives the mean of."""
    for q, (pid, camid) in enumerate(zip(query_pids, query_camids, strict=True)):
        one = slice(q, q + 1)
        if ((gallery_pids == pid) & (gallery_camids != camid)).any():
            labels = query_pids[one], gallery_pids, query_camids[one], gallery_camids
            yield float(torchreid().metrics.evaluate_rank(distances[one], *labels)[1])
        else:
            yield np.nan


def evaluate_features(tested: Tested, metric: str, reranked: bool) -> Scores:
    """Our evaluation of the features that torchreid's engine extracted."""
    blocks = (rerank_blocks if reranked else distance_blocks)(tested.query, tested.gallery, metric)
    query_pids, gallery_pids, query_camids, gallery_camids = tested.labels
    found = evaluate_blocks(blocks, query_pids, gallery_pids, query_camids, gallery_camids)
    return Scores(found.mAP, tuple(float(found.cmc[rank - 1]) for rank in RANKS), found.ap[tested.order])


def evaluate_file(config: EvaluateReidConfig, data: Path, checkpoint: Path) -> Scores:
    """What `augment evaluate-reid` finds."""
    found = evaluate_reid.run(config, data, checkpoint, device="cpu")
    column = RERANKED if config.rerank else PLAIN
    scores = found["columns"][column]
    ap = np.array(found["per_query"][column]["ap"], np.float64)
    return Scores(scores["mAP"], tuple(scores["cmc"][str(rank)] for rank in RANKS), ap)


def quiet() -> contextlib.AbstractContextManager[Any]:
    """torchreid prints what it does; standard output is for the table."""
    return contextlib.redirect_stdout(sys.stderr)


if __name__ == "__main__":
    main()
