"""Stage: rank the gallery of a data set with a trained re-ID network, in every way that is asked for.

OUT (.json)            mAP, CMC, mINP and the scores of every query, a column a way of ranking; breakdowns by camera,
                       pair of cameras and view of the body
FEATURES (.h5, .npz)   features, names, identities and cameras of query, gallery and synthetic images
SHEET (.png, .jpg)     queries with what they find: right in green, wrong in red, synthetic in blue
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from augment import evaluated_network, files, ranked_sheet, runs, searched
from augment.data import keypoints, search
from augment.data.images import require_readable
from augment.data.read import read_data
from augment.data.records import UNKNOWN_CAMERA, DataSet
from augment.devices import pick_device
from augment.evaluated_network import EvaluatedNetwork
from augment.evaluation_table import BREAKDOWNS, CAMERA_PAIR, VIEW
from augment.searched import BOTH, NFC, PLAIN, RERANKED, Searched
from augment.store import Reader
from reid import breakdown
from reid.metrics import Evaluation, require_metric
from reid.results import RANKS, nullable

NEIGHBOURS = 10  # of each query, among which synthetic images are counted
NOT_SCORED = "synthetic images are ranked among the gallery for this count and the sheet only; no score includes them"


@dataclass(frozen=True)
class EvaluateReidConfig:
    """How to rank. `rerank` and `nfc` add columns, they replace none: each is another protocol.

    Without `metric` it is the one that the run ranked by at its end, or Euclidean. model, height and width are those of
    a file of weights of torchreid's; our own checkpoints know theirs. Results hold all of them as they were used.
    """

    metric: str | None = None
    rerank: bool = False
    nfc: bool = False
    model: str | None = None
    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        if self.metric is not None:
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
    complete: bool = False,
    device: str = "auto",
    workers: int = 0,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Evaluate a checkpoint on query and gallery of `data`; the results, which `out` gets as JSON.

    Images of the sets `synthetic` are counted and shown among what queries find, and never scored. `annotation` holds
    key points in place of those of `data`. The results hold every breakdown that the data allow, and those in `by` must
    be there; pairs of cameras, which need another pass, only in `by`, with `out` or if the results shall be `complete`.

    Raises:
        ValueError: bad data, weights that do not fit, no query with a match, a breakdown that cannot be made, a set
            given twice, or a file to write that is another one of this evaluation.
    """
    outputs = {"--out": out, "--features": features, "--sheet": sheet}
    _require_writable(outputs, (data, checkpoint, *synthetic, *([annotation] if annotation else [])))
    compute = pick_device(device)
    dataset = read_data(data)
    for note in dataset.notes:
        log(note)
    _require_queries(data, dataset)
    views = _views(dataset, annotation)
    _require_breakdowns(by, data, dataset, views)
    sets = _sets(synthetic)
    trained = evaluated_network.load(checkpoint, model=config.model, height=config.height, width=config.width)
    metric = _metric(config, trained, checkpoint, log)
    config = replace(config, metric=metric, model=trained.model, height=trained.height, width=trained.width)
    state = [f"after epoch {trained.epoch} of {trained.epochs}: not the end of the training"] * trained.unfinished
    for note in state:
        log(f"{checkpoint}: {note}")
    require_readable((*dataset.query, *dataset.gallery))
    size = trained.height, trained.width
    seen = searched.search_by(trained.network, dataset, sets, size, str(compute), workers)
    evaluations = {column: seen.evaluate(column, metric) for column in config.columns}
    pairs = complete or out is not None or CAMERA_PAIR in by
    provenance = {
        "test_digest": dataset.test_digest,
        **trained.facts,
        "annotation_sha256": files.sha256(annotation) if annotation else None,
        "versions": runs.versions(),
    }
    found = {
        "schema": 1,
        **_scores(evaluations),
        **_breakdowns(dataset, seen, evaluations[PLAIN], views, metric, pairs=pairs),
        "queries": _queries(dataset, views),
        "synthetic_neighbours": _neighbours(metric, seen, sets) if sets else None,
        "num_query": len(dataset.query),
        "num_gallery": len(dataset.gallery),
        "notes": [*state, *dataset.test_notes],
        "config": asdict(config),
        "provenance": provenance,
    }
    if features is not None:
        searched.write(features, seen, {"metric": metric, **provenance})
    if sheet is not None:
        shown = (dataset, sets, seen, evaluations[PLAIN], metric, size)
        ranked_sheet.write_sheet(sheet, *shown, count=sheet_queries)
    if out is not None:
        files.write_json(out, found)
    return found


def _require_writable(outputs: Mapping[str, Path | None], inputs: Sequence[Path]) -> None:
    """Refuse names that do not say a form that can be written, and files that would be lost to each other."""
    given = {option: path for option, path in outputs.items() if path is not None}
    for option, path in given.items():
        if option == "--out" and path.suffix.lower() != ".json":
            raise ValueError(f"--out {path}: ends with {path.suffix!r}; name it .json")
        if option == "--features":
            searched.require_writable(path)
        if option == "--sheet":
            ranked_sheet.require_writable(path)
    taken = {file.resolve(): "is read" for path in inputs for file in _files(path)}
    for option, path in given.items():
        if path.resolve() in taken:
            raise ValueError(f"{option} {path}: {taken[path.resolve()]} too; give it another name")
        taken[path.resolve()] = f"is written by {option}"


def _files(path: Path) -> list[Path]:
    """An input and, of a run, what its folder holds beside the weights."""
    weights = evaluated_network.weights_file(path)
    return [path, weights, *(weights.with_name(name) for name in ("config.json", "results.json"))]


def _sets(paths: Sequence[Path]) -> list[Reader]:
    """Synthetic sets, each given once.

    Raises:
        ValueError: two that hold the same images.
    """
    sets: dict[str, Reader] = {}
    for path in paths:
        held = Reader(path)
        if held.content_sha256 in sets:
            raise ValueError(
                f"--synthetic {path}: holds the same images as {sets[held.content_sha256].path}, which would count "
                "twice; give it once"
            )
        sets[held.content_sha256] = held
    return list(sets.values())


def _metric(config: EvaluateReidConfig, trained: EvaluatedNetwork, checkpoint: Path, log: Callable[[str], None]) -> str:
    if config.metric is not None:
        return config.metric
    if trained.metric is None:
        log(f"{checkpoint}: does not say how it ranked; ranked by {evaluated_network.METRIC} distance")
    return trained.metric or evaluated_network.METRIC


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
    dataset: DataSet, seen: Searched, evaluation: Evaluation, views: list[str] | None, metric: str, *, pairs: bool
) -> dict[str, Any]:
    """Tables of the plain ranking by the names of cameras and views; None where these are not known."""
    kinds = ("by_query_camera", *(["by_camera_pair"] if pairs else []), "by_view")
    found: dict[str, Any] = dict.fromkeys(kinds)
    if dataset.has_cameras:
        found["by_query_camera"] = _named(breakdown.by_label(evaluation, seen.query.camids.tolist()))
    if dataset.has_cameras and pairs:
        rows = breakdown.by_camera_pair(seen.distances(PLAIN, metric), *seen.labels)
        found["by_camera_pair"] = _named({here: _named(row) for here, row in rows.items()})
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


def _neighbours(metric: str, seen: Searched, sets: Sequence[Reader]) -> dict[str, Any]:
    """How many of the first images of each query are synthetic, were they in the gallery."""
    ranked = seen.first(np.arange(len(seen.query.pids)), metric, NEIGHBOURS)
    counts = [int(np.count_nonzero(images >= len(seen.gallery.pids))) for images in ranked]
    return {
        "first": NEIGHBOURS,
        "mean": float(np.mean(counts)),
        "per_query": counts,
        "sets": [
            {"name": name, "content_sha256": held.content_sha256, "images": len(held)}
            for name, held in zip(searched.set_names(sets), sets, strict=True)
        ],
        "note": NOT_SCORED,
    }
