"""Stage: rank the gallery of a data set with a trained re-ID network, in every way that is asked for.

OUT (.json)            mAP, CMC, mINP and the scores of every query, a column a way of ranking; breakdowns by camera,
                       pair of cameras and view of the body
FEATURES (.h5, .npz)   features, names, identities and cameras of query, gallery and synthetic images
SHEET (.png, .jpg)     queries with what they find: right in green, wrong in red, synthetic in blue
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from augment import files, ranked_sheet, runs, searched
from augment.data import keypoints, search
from augment.data.images import require_readable
from augment.data.read import read_data
from augment.data.records import UNKNOWN_CAMERA, DataSet
from augment.devices import pick_device
from augment.evaluation_table import BREAKDOWNS, VIEW
from augment.searched import BOTH, NFC, PLAIN, RERANKED, Searched
from augment.store import Reader
from reid import breakdown, torchreid_api
from reid.metrics import Evaluation, require_metric
from reid.results import RANKS, nullable
from reid.training import load_model

NEIGHBOURS = 10  # of each query, among which synthetic images are counted
NOT_SCORED = "synthetic images are ranked among the gallery for this count and the sheet only; no score includes them"


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


def run(
    config: EvaluateReidConfig,
    data: Path,
    checkpoint: Path,
    *,
    out: Path | None = None,
    features: Path | None = None,
    sheet: Path | None = None,
    sheet_queries: int = ranked_sheet.QUERIES,
    synthetic: Sequence[Path] = (),
    annotation: Path | None = None,
    by: Sequence[str] = (),
    device: str = "auto",
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Evaluate a checkpoint on query and gallery of `data`; the results, which `out` gets as JSON.

    Images of the sets `synthetic` are counted and shown among what queries find, and never scored. `annotation` holds
    key points where `data` has none. The results hold every breakdown that the data allow; those in `by` must be there.

    Raises:
        ValueError: bad data, weights that do not fit, no query with a match, or a breakdown that cannot be made.
    """
    if features is not None:
        searched.require_writable(features)
    if sheet is not None:
        ranked_sheet.require_writable(sheet)
    compute = pick_device(device)
    dataset = read_data(data)
    for note in dataset.notes:
        log(note)
    _require_queries(data, dataset)
    views = _views(dataset, annotation)
    _require_breakdowns(by, data, dataset, views)
    sets = [Reader(path) for path in synthetic]
    model, height, width = load(config, checkpoint)
    require_readable((*dataset.query, *dataset.gallery))
    seen = searched.search_by(model, dataset, sets, (height, width), str(compute))
    evaluations = {column: seen.evaluate(column, config.metric) for column in config.columns}
    provenance = {
        "test_digest": dataset.test_digest,
        "checkpoint_sha256": files.sha256(_weights(checkpoint)),
        "versions": runs.versions(),
    }
    found = {
        "schema": 1,
        **_scores(evaluations),
        **_breakdowns(config, dataset, seen, evaluations[PLAIN], views),
        "queries": _queries(dataset, views),
        "synthetic_neighbours": _neighbours(config, seen, sets) if sets else None,
        "num_query": len(dataset.query),
        "num_gallery": len(dataset.gallery),
        "notes": list(dataset.test_notes),
        "config": asdict(config),
        "provenance": provenance,
    }
    if features is not None:
        searched.write(features, seen, {"metric": config.metric, **provenance})
    if sheet is not None:
        shown = (dataset, sets, seen, evaluations[PLAIN], config.metric, (height, width))
        ranked_sheet.write_sheet(sheet, *shown, count=sheet_queries)
    if out is not None:
        files.write_json(out, found)
    return found


def load(config: EvaluateReidConfig, checkpoint: Path) -> tuple[nn.Module, int, int]:
    """The network of a training of ours (its run folder, or checkpoint.safetensors) or of torchreid's, and its size.

    Raises:
        ValueError: no such file, or not to be read without more being said.
    """
    path = _weights(checkpoint)
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


def _weights(checkpoint: Path) -> Path:
    return checkpoint / "checkpoint.safetensors" if checkpoint.is_dir() else checkpoint


def _require_queries(data: Path, dataset: DataSet) -> None:
    """Say before the features are extracted that nothing can be evaluated."""
    if not dataset.query or not dataset.gallery:
        raise ValueError(
            f"{data}: has {len(dataset.query)} queries and {len(dataset.gallery)} gallery images, so there is nothing "
            "to evaluate; give a data set with both"
        )
    if len(search.unmatched(dataset)) == len(dataset.query):
        raise ValueError(
            f"{data}: none of its {len(dataset.query)} queries has an image of the same identity from another camera "
            f"among its {len(dataset.gallery)} gallery images, so there is nothing to evaluate; check it with "
            f"`augment check {data}`"
        )


def _views(dataset: DataSet, annotation: Path | None) -> list[str] | None:
    """Which side each query shows, by its key points; None where no query has any.

    Raises:
        ValueError: a broken file of key points; or `annotation` has none of any query.
    """
    if annotation is None and not dataset.annotations:
        return None
    points = keypoints.dataset_points(dataset, annotation)
    known = sum(record.name in points for record in dataset.query)
    if annotation is not None and not known:
        raise ValueError(
            f"--annotation {annotation}: has key points of none of the {len(dataset.query)} queries (the first is "
            f"{dataset.query[0].name}); give the annotation of the test images"
        )
    missing = np.full((len(keypoints.JOINTS), 2), np.nan, np.float32)
    stacked = np.stack([points.get(record.name, missing) for record in dataset.query])
    return breakdown.views(stacked) if known else None


def _require_breakdowns(by: Sequence[str], data: Path, dataset: DataSet, views: list[str] | None) -> None:
    for kind in by:
        if kind not in BREAKDOWNS:
            raise ValueError(f"--by {kind}: expected one of {', '.join(BREAKDOWNS)}")
        if kind == VIEW and views is None:
            raise ValueError(
                f"--by view: {data} holds key points of none of its queries; put market-annotation-test.csv there or "
                "give --annotation FILE"
            )
        if kind != VIEW and not dataset.has_cameras:
            raise ValueError(f"--by {kind}: no camera of {data} is known; leave it out, or add a column camid")


def _scores(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    return {
        "columns": {
            column: {
                "mAP": evaluation.mAP,
                "cmc": {str(rank): float(evaluation.cmc[rank - 1]) for rank in RANKS},
                "mINP": evaluation.mINP,
            }
            for column, evaluation in evaluations.items()
        },
        "per_query": {
            column: {"ap": nullable(evaluation.ap), "rank1": nullable(evaluation.rank1)}
            for column, evaluation in evaluations.items()
        },
    }


def _breakdowns(
    config: EvaluateReidConfig, dataset: DataSet, seen: Searched, evaluation: Evaluation, views: list[str] | None
) -> dict[str, Any]:
    """Tables of the plain ranking by the names of cameras and views; None where these are not known."""
    found: dict[str, Any] = dict.fromkeys(("by_query_camera", "by_camera_pair", "by_view"))
    if dataset.has_cameras:
        cameras = breakdown.by_label(evaluation, seen.query.camids.tolist())
        pairs = breakdown.by_camera_pair(seen.distances(PLAIN, config.metric), *seen.labels)
        found["by_query_camera"] = _named(cameras)
        found["by_camera_pair"] = _named({here: _named(row) for here, row in pairs.items()})
    if views is not None:
        entries = breakdown.by_label(evaluation, views)
        order = (*breakdown.VIEWS, breakdown.UNKNOWN)
        found["by_view"] = {view: entries[view] for view in order if view in entries}
    return found


def _named(by_camera: Mapping[Any, Any]) -> dict[str, Any]:
    """Entries by the names of cameras; what is of unknown ones comes last."""
    numbers = sorted(by_camera, key=lambda number: (number <= UNKNOWN_CAMERA, number))
    return {str(number) if number > UNKNOWN_CAMERA else breakdown.UNKNOWN: by_camera[number] for number in numbers}


def _queries(dataset: DataSet, views: list[str] | None) -> dict[str, Any]:
    """What the entries of `per_query` are of, in their order."""
    return {
        "name": [record.name for record in dataset.query],
        "pid": [record.pid for record in dataset.query],
        "camid": [record.camid for record in dataset.query],
        "view": views,
    }


def _neighbours(config: EvaluateReidConfig, seen: Searched, sets: Sequence[Reader]) -> dict[str, Any]:
    """How many of the first images of each query are synthetic, were they in the gallery."""
    ranked = seen.first(np.arange(len(seen.query.pids)), config.metric, NEIGHBOURS)
    counts = [int(np.count_nonzero(images >= len(seen.gallery.pids))) for images in ranked]
    return {
        "first": NEIGHBOURS,
        "mean": float(np.mean(counts)),
        "per_query": counts,
        "sets": [{"name": held.path.name, "content_sha256": held.content_sha256, "images": len(held)} for held in sets],
        "note": NOT_SCORED,
    }
