"""Stage: rank the gallery of a data set with a trained re-ID network, in every way that is asked for.

OUT (.json)      mAP, CMC, mINP and the scores of every query, a column a way of ranking; breakdown by camera
FEATURES (.npz)  features, names, identities and cameras of query and gallery
SHEET (.png)     queries with what they find, right in green, wrong in red
"""

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from torch import nn

from augment import files, runs, sheets
from augment.data import search
from augment.data.images import read_image, require_readable
from augment.data.read import read_data
from augment.data.records import DataSet, Record
from augment.devices import pick_device
from augment.reid_training import file_source
from reid import breakdown, torchreid_api
from reid.centralisation import centralised
from reid.dataset import resized
from reid.features import extract_features
from reid.metrics import Evaluation, Gallery, distance_blocks, evaluate_blocks, require_metric
from reid.rerank import rerank_blocks
from reid.results import RANKS, nullable
from reid.sources import identities
from reid.training import load_model

PLAIN, NFC, RERANKED, BOTH = "as they are", "centralised", "re-ranked", "centralised, re-ranked"
SHEET_QUERIES, SHEET_RANKS = 24, 10
FRAME, RIGHT, WRONG = 3, (46, 160, 67), (207, 34, 46)  # pixels, and RGB


@dataclass(frozen=True)
class EvaluateReidConfig:
    """How to rank. `rerank` and `nfc` add columns, they replace none: each is another protocol.

    model, height and width are those of a file of weights of torchreid's; our own checkpoints know theirs.
    """

    metric: str = "euclidean"
    rerank: bool = False
    nfc: bool = False
    model: str | None = None
    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        require_metric(self.metric)

    @property
    def columns(self) -> list[str]:
        """The ways of ranking."""
        return [
            PLAIN, *([NFC] if self.nfc else []), *([RERANKED] if self.rerank else []),
            *([BOTH] if self.nfc and self.rerank else []),
        ]  # fmt: skip


@dataclass(frozen=True)
class Searched:
    """Features and labels of query and gallery."""

    query: Float32[np.ndarray, "q d"]
    gallery: Float32[np.ndarray, "g d"]
    query_pids: Int64[np.ndarray, " q"]
    gallery_pids: Int64[np.ndarray, " g"]
    query_camids: Int64[np.ndarray, " q"]
    gallery_camids: Int64[np.ndarray, " g"]

    def distances(self, column: str, metric: str) -> Iterable[np.ndarray]:
        """Rows of distances, in blocks of queries, as one way of ranking has them."""
        query, gallery = self.query, self.gallery
        if column in (NFC, BOTH):
            query, gallery = centralised(query), centralised(gallery)
        ranked = rerank_blocks if column in (RERANKED, BOTH) else distance_blocks
        return ranked(query, gallery, metric)

    def evaluate(self, column: str, metric: str) -> Evaluation:
        labels = (self.query_pids, self.gallery_pids, self.query_camids, self.gallery_camids)
        return evaluate_blocks(self.distances(column, metric), *labels)


def run(
    config: EvaluateReidConfig,
    data: Path,
    checkpoint: Path,
    *,
    out: Path | None = None,
    features: Path | None = None,
    sheet: Path | None = None,
    device: str = "auto",
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Evaluate a checkpoint on query and gallery of `data`; the results, which `out` gets as JSON.

    Raises:
        ValueError: bad data, weights that do not fit, or no query with a match.
    """
    compute = pick_device(device)
    dataset = read_data(data)
    model, height, width = load(config, checkpoint)
    require_readable((*dataset.query, *dataset.gallery))
    for note in dataset.notes:
        log(note)
    searched = _search(dataset, model, height, width, str(compute))
    evaluations = {column: searched.evaluate(column, config.metric) for column in config.columns}
    found = _results(config, dataset, checkpoint, searched, evaluations)
    if features is not None:
        _write_features(features, dataset, searched)
    if sheet is not None:
        write_sheet(sheet, dataset, searched, evaluations[PLAIN], config.metric)
    if out is not None:
        files.write_json(out, found)
    return found


def load(config: EvaluateReidConfig, checkpoint: Path) -> tuple[nn.Module, int, int]:
    """The network of a training of ours (its run folder, or checkpoint.safetensors) or of torchreid's, and its size.

    Raises:
        ValueError: no such file, or not to be read without more being said.
    """
    path = checkpoint / "checkpoint.safetensors" if checkpoint.is_dir() else checkpoint
    if not path.is_file():
        raise ValueError(f"--checkpoint {path}: no such file; give a train-reid run or a file of weights")
    if path.suffix == ".safetensors":
        if config.model or config.height or config.width:
            raise ValueError(f"--checkpoint {path}: knows its model and size; leave --model and --size out")
        try:
            model, trained = load_model(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"--checkpoint {path}: {error}") from None
        return model, trained.height, trained.width
    if config.model is None:
        raise ValueError(f"--checkpoint {path}: which network is it of? Add --model, such as osnet_x1_0")
    model = torchreid_api.build_model(config.model, num_classes=1)
    torchreid_api.load_weights(model, path)
    return model.eval(), config.height or 256, config.width or 128


def table(found: Mapping[str, Any]) -> str:
    """A line a way of ranking, in percent."""
    lines = [f"{'gallery ranked by features':<28}{'mAP':>8}{'mINP':>8}" + "".join(f"{f'R-{k}':>8}" for k in RANKS)]
    for column, scores in found["columns"].items():
        cmc = "".join(f"{100 * scores['cmc'][str(rank)]:>8.2f}" for rank in RANKS)
        lines.append(f"{column:<28}{100 * scores['mAP']:>8.2f}{100 * scores['mINP']:>8.2f}{cmc}")
    valid = sum(ap is not None for ap in found["per_query"][PLAIN]["ap"])
    lines.append(f"{valid} of {found['num_query']} queries have a match among {found['num_gallery']} gallery images")
    return "\n".join(lines)


def write_sheet(path: Path, dataset: DataSet, searched: Searched, evaluation: Evaluation, metric: str) -> Path:
    """Queries spread from the worst to the best, each with the first images of its ranking."""
    valid = np.flatnonzero(~np.isnan(evaluation.ap))
    order = valid[np.argsort(evaluation.ap[valid], kind="stable")]
    chosen = order[np.linspace(0, len(order) - 1, min(SHEET_QUERIES, len(order))).astype(int)]
    gallery = Gallery.of(searched.gallery_pids, searched.gallery_camids)
    size = read_image(dataset.query[int(chosen[0])].path).shape[:2]
    rows = []
    for query in chosen.tolist():
        (distances,) = distance_blocks(searched.query[[query]], searched.gallery, metric)
        pid, camid = int(searched.query_pids[query]), int(searched.query_camids[query])
        ranked = gallery.ranking(distances[0], pid, camid, SHEET_RANKS).tolist()
        hits = [_framed(_shown(dataset.gallery[i], size), int(searched.gallery_pids[i]) == pid) for i in ranked]
        rows.append([_shown(dataset.query[query], size), *hits, *[None] * (SHEET_RANKS - len(hits))])
    titles = ("query", *(f"{rank}" for rank in range(1, SHEET_RANKS + 1)))
    labels = [f"{dataset.query[query].name}, AP {evaluation.ap[query]:.1%}" for query in chosen.tolist()]
    return sheets.write_sheet(path, rows, titles, groups=2, labels=labels)


def _search(dataset: DataSet, model: nn.Module, height: int, width: int, device: str) -> Searched:
    splits = [file_source(records) for records in (dataset.query, dataset.gallery)]
    query, gallery = (extract_features(model, split, height=height, width=width, device=device) for split in splits)
    query_pids, gallery_pids = (identities(split) for split in splits)
    return Searched(query, gallery, query_pids, gallery_pids, *search.cameras(dataset.query, dataset.gallery))


def _results(
    config: EvaluateReidConfig,
    dataset: DataSet,
    checkpoint: Path,
    searched: Searched,
    evaluations: Mapping[str, Evaluation],
) -> dict[str, Any]:
    weights = checkpoint / "checkpoint.safetensors" if checkpoint.is_dir() else checkpoint
    by_camera = breakdown.by_label(evaluations[PLAIN], searched.query_camids.tolist())
    return {
        "schema": 1,
        "columns": {
            column: {
                "mAP": evaluation.mAP,
                "cmc": {str(rank): float(evaluation.cmc[rank - 1]) for rank in RANKS},
                "mINP": evaluation.mINP,
            }
            for column, evaluation in evaluations.items()
        },
        "by_query_camera": {str(camera): entry for camera, entry in by_camera.items()} if dataset.has_cameras else None,
        "per_query": {
            column: {"ap": nullable(evaluation.ap), "rank1": nullable(evaluation.rank1)}
            for column, evaluation in evaluations.items()
        },
        "num_query": len(searched.query),
        "num_gallery": len(searched.gallery),
        "config": asdict(config),
        "provenance": {
            "test_digest": dataset.test_digest,
            "checkpoint_sha256": files.sha256(weights),
            "versions": runs.versions(),
        },
    }


def _write_features(path: Path, dataset: DataSet, searched: Searched) -> Path:
    names = {
        f"{split}_names": np.asarray([record.name for record in records])
        for split, records in (("query", dataset.query), ("gallery", dataset.gallery))
    }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **vars(searched), **names)
    return files.write_atomic(path, buffer.getvalue())


def _shown(record: Record, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    return resized(read_image(record.path), *size)


def _framed(image: UInt8[np.ndarray, "h w 3"], right: bool) -> UInt8[np.ndarray, "h w 3"]:
    framed = np.empty_like(image)
    framed[:] = RIGHT if right else WRONG
    framed[FRAME:-FRAME, FRAME:-FRAME] = image[FRAME:-FRAME, FRAME:-FRAME]
    return framed
