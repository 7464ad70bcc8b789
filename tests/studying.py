"""Folders of studies that look finished: real data and a synthetic set, but simulated results of the trials."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from augment import store, study
from augment.data import keypoints
from augment.data.images import read_image
from augment.data.read import read_data
from augment.plan import Plan
from augment.study import DATA, Arm, Contrast, Given, Layout, Step, Study

SYNTHESIZE = Step("synthesize", "--per-image 2", (DATA,))
ERASING = Contrast("real+erasing", "real", "random erasing alone")
STUDY = Study(
    "Does it <help> & why?",
    "A question & an answer",
    (
        Arm("real", about="the baseline", curve=("plain", 0)),
        Arm("real+erasing", "--erase 0.5", curve=("erasing", 0)),
        Arm("mixed", "--ratio 1", (SYNTHESIZE,), "as published", curve=("plain", 1)),
        Arm("mixed+erasing", "--ratio 1 --erase 0.5", (SYNTHESIZE,), curve=("erasing", 1)),
    ),
    (Contrast("mixed+erasing", "real+erasing", "beyond erasing"), Contrast("mixed", "real", "as published")),
    reid="--epochs 3",
    seeds=3,
    axis="synthetic images per real one",
    erasing=ERASING,
)
GAINS = {"real": 0.0, "real+erasing": 0.03, "mixed": 0.05, "mixed+erasing": 0.05}
SCORE = "identity_margin"


def lay_out(data: Path, asked: Study = STUDY) -> Layout:
    return study.lay_out(asked, given=Given(data, "d" * 64))


def make(folder: Path, data: Path, gains=GAINS, noise=0.0, scored=True) -> Layout:
    """A study whose arms have `gains` of AP in every query, and noise that differs between queries and seeds."""
    layout = lay_out(data)
    write_json(folder / "study.json", described(layout))
    write_json(folder / "audit.json", {"schema": 1, "passed": True, "checks": [check("seeds", "paired")]})
    for unit in layout.units.values():
        if unit.command == "synthesize":
            write_set(folder / "units" / unit.out, data, scored)
            finish(folder, unit.name)
    for (arm, seed), name in layout.trials.items():
        rng = np.random.default_rng([seed, len(arm)])
        finish_trial(folder, name, results(data, 0.4 + gains[arm], noise, rng))
    return layout


def described(layout: Layout) -> dict:
    header = {"schema": 1, "study": "help", "scale": "tiny", "data_digest": "d" * 64, "units_folder": "units"}
    return header | {"created": "2026-01-02T03:04:05+00:00", "versions": {"python": "3"}} | layout.description()


def check(name: str, detail: str, passed: bool = True) -> dict:
    return {"name": name, "passed": passed, "detail": detail}


def results(data: Path, ap: float, noise: float, rng: np.random.Generator) -> dict:
    queries = read_data(data).query
    values = (ap + noise * rng.normal(size=len(queries))).clip(0, 1)
    whose = {"pid": [record.pid for record in queries], "camid": [record.camid for record in queries]}
    mean = float(values.mean())
    held = {"name": "set.h5", "content_sha256": "c" * 64, "images": 4, "generator": {"model": "dptn"}}
    return {
        "mAP": mean,
        "cmc": {rank: min(1.0, mean + 0.1 * place) for place, rank in enumerate(("1", "5", "10", "20"))},
        "mINP": mean / 2,
        "per_query": {**whose, "ap": values.tolist(), "rank1": [int(value > 0.42) for value in values]},
        "provenance": {"data_digest": "d" * 64, "test_digest": "e" * 64, "synthetic": [held]},
        "images_seen": 12_345,
        "iterations": 678,
        "seconds": 90.0,
    }


def finish_trial(folder: Path, name: str, found: dict) -> None:
    run = folder / "units" / name / "run"
    write_json(run / "results.json", found)
    rows = [f"{epoch},{100 * epoch},{4 - epoch},{0.2 * epoch}" for epoch in (1, 2, 3)]
    (run / "epochs.csv").write_text("\n".join(["epoch,images_seen,loss,accuracy", *rows]) + "\n")
    finish(folder, name)


def finish(folder: Path, name: str) -> None:
    write_json(folder / "units" / name / "result.json", {"schema": 1, "seconds": 100.0, "attempts": 1, "host": "here"})


def fail(folder: Path, name: str, *tail: str) -> None:
    unit = folder / "units" / name
    (unit / "result.json").unlink()
    write_json(unit / "failed.json", {"schema": 1, "code": 1, "tail": list(tail), "seconds": 5.0, "attempts": 2})


def write_set(path: Path, data: Path, scored: bool) -> None:
    """The training images themselves, each in the pose of the next one, scored by their row."""
    dataset = read_data(data)
    points = keypoints.dataset_points(dataset)
    records = keypoints.usable(dataset.train, points)
    rows = np.arange(len(records))
    plan = Plan(
        tuple(record.name for record in records),
        keypoints.stack(records, points),
        np.asarray([record.pid for record in records]),
        np.asarray([record.camid for record in records]),
        rows,
        np.roll(rows, 1),
        rows.astype(np.uint64),
    )
    pixels = np.stack([read_image(record.path) for record in records])
    path.parent.mkdir(parents=True)
    store.write_set(path, plan, {"tool": "test", "config": {}, "generator": {}, "versions": {}}, [pixels])
    if scored:
        store.write_scores(store.Reader(path), {SCORE: store.Score(rows.astype(np.float32), {})})


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def unit_of(layout: Layout, command: str) -> dict:
    return asdict(next(unit for unit in layout.units.values() if unit.command == command))
