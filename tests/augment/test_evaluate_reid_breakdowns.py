"""Scores by camera, pair of cameras and view: what evaluating each part alone gives, with labels that are right."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from augment import evaluate_reid, files, train_reid
from augment.data.keypoints import dataset_points, write_annotation
from augment.data.read import read_data
from augment.evaluate_reid import PLAIN, EvaluateReidConfig, run
from augment.evaluation_table import table
from augment.store import read_features
from augment.train_reid import TrainReidConfig
from reid import breakdown
from reid.breakdown import views
from reid.metrics import evaluate_features
from reid.training import ReidConfig
from tests.command_line import caller

TRAINING = ReidConfig(model="osnet_x0_25", height=32, width=16, epochs=1, batch=8)
CONFIG = EvaluateReidConfig()


@pytest.fixture(scope="module")
def trained(pedestrians, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "real"
    train_reid.run(TrainReidConfig(TRAINING), pedestrians, out, device="cpu")
    return out


@pytest.fixture(scope="module")
def bare(pedestrians, tmp_path_factory):
    """The same images where no key points lie."""
    root = tmp_path_factory.mktemp("bare")
    for folder in ("bounding_box_train", "bounding_box_test", "query"):
        (root / folder).symlink_to(pedestrians / folder)
    return root


def test_cameras_and_pairs_are_what_evaluating_them_alone_gives(trained, pedestrians, tmp_path):
    out = tmp_path / "found.json"
    found = run(CONFIG, pedestrians, trained, device="cpu", features=tmp_path / "f.h5", out=out)
    parts, provenance = read_features(tmp_path / "f.h5")
    query, gallery = parts["query"], parts["gallery"]
    known = {name: value for name, value in found["provenance"].items() if value is not None}
    assert provenance == {"metric": "euclidean", **known}
    assert query.names == found["queries"]["name"]

    def alone(own, searched):
        """Entries of the evaluation of some queries among some of the gallery."""
        labels = query.pids[own], gallery.pids[searched], query.camids[own], gallery.camids[searched]
        scores = evaluate_features(query.features[own], gallery.features[searched], *labels)
        return {"queries": scores.num_valid, "mAP": pytest.approx(scores.mAP), "rank1": pytest.approx(scores.cmc[0])}

    everything = np.ones(len(gallery.pids), bool)
    assert list(found["by_query_camera"]) == sorted(map(str, set(query.camids.tolist())))
    for camera, entry in found["by_query_camera"].items():
        own = query.camids == int(camera)
        assert entry == alone(own, everything) | {"without_match": own.sum() - entry["queries"]}
        assert sorted(found["by_camera_pair"][camera]) == sorted({"1", "2", "3"} - {camera})
        for there, pair in found["by_camera_pair"][camera].items():
            searched = gallery.camids == int(there)
            assert pair == alone(own, searched) | {"without_match": own.sum() - pair["queries"]}


def test_pairs_of_cameras_are_compared_only_where_somebody_looks(trained, pedestrians, monkeypatch):
    monkeypatch.setattr(breakdown, "by_camera_pair", lambda *arguments: pytest.fail("it takes another pass"))
    found = run(CONFIG, pedestrians, trained, device="cpu", by=["camera", "view"])
    assert "by_camera_pair" not in found
    assert found["by_query_camera"]


def test_views_are_those_of_the_key_points(trained, pedestrians):
    found = run(CONFIG, pedestrians, trained, device="cpu", by=["view"])
    dataset = read_data(pedestrians)
    points = dataset_points(dataset)
    assert found["queries"]["view"] == [views(points[record.name][None])[0] for record in dataset.query]
    shown = Counter(found["queries"]["view"])
    assert {view: entry["queries"] + entry["without_match"] for view, entry in found["by_view"].items()} == shown
    assert list(found["by_view"]) == [view for view in ("front", "side", "back", "unknown") if view in shown]
    ap = np.asarray(found["per_query"][PLAIN]["ap"])
    for view, entry in found["by_view"].items():
        assert entry["mAP"] == pytest.approx(ap[[view == other for other in found["queries"]["view"]]].mean())


def person(right, left, nose):
    """Shoulders in these columns above hips 40 rows below."""
    points = np.full((18, 2), np.nan, np.float32)
    points[[1, 2, 5, 8, 11]] = [[30, 32], [30, right], [30, left], [70, 30], [70, 34]]
    if nose:
        points[0] = 15, 32
    return points


def test_key_points_from_elsewhere(trained, bare, tmp_path):
    queries = read_data(bare).query
    names = [record.name for record in queries]
    front, back, side, contradictory = person(20, 44, True), person(44, 20, False), person(31, 34, True), person(
        20, 44, False
    )  # fmt: skip
    drawn = {names[0]: back, names[1]: front, names[2]: side, names[3]: contradictory}
    annotation = write_annotation(tmp_path / "points.csv", drawn)
    found = run(CONFIG, bare, trained, device="cpu", annotation=annotation)
    assert found["queries"]["view"] == ["back", "front", "side", *["unknown"] * (len(names) - 3)]
    assert found["provenance"]["annotation_sha256"] == files.sha256(annotation)
    without = run(CONFIG, bare, trained, device="cpu")
    assert without["by_view"] is without["provenance"]["annotation_sha256"] is None
    with pytest.raises(ValueError, match=r"--by view: .* holds key points of none of its queries; put market"):
        run(CONFIG, bare, trained, device="cpu", by=["view"])
    strangers = write_annotation(tmp_path / "others.csv", {"somebody.jpg": front})
    with pytest.raises(ValueError, match=rf"--annotation .*others\.csv: has key points of none .*{names[0]}"):
        run(CONFIG, bare, trained, device="cpu", annotation=strangers)


def test_cameras_that_are_not_known(trained, pedestrians, monkeypatch):
    dataset = read_data(pedestrians)
    some = [replace(record, camid=-1 if i < 3 else record.camid) for i, record in enumerate(dataset.query)]
    monkeypatch.setattr(evaluate_reid, "read_data", lambda path: replace(dataset, query=tuple(some)))
    found = run(CONFIG, pedestrians, trained, device="cpu", by=["camera", "camera-pair"])
    assert found["by_query_camera"]["unknown"]["queries"] == 3
    assert list(found["by_query_camera"])[-1] == "unknown"
    assert sorted(found["by_camera_pair"]["unknown"]) == ["1", "2", "3"], "searched among all cameras"
    assert found["queries"]["camid"][:3] == [-1] * 3
    blind = [[replace(record, camid=-1) for record in split] for split in (dataset.query, dataset.gallery)]
    none = replace(dataset, query=tuple(blind[0]), gallery=tuple(blind[1]), has_cameras=False)
    monkeypatch.setattr(evaluate_reid, "read_data", lambda path: none)
    for kind in ("camera", "camera-pair"):
        with pytest.raises(ValueError, match=f"--by {kind}: no camera of .* is known; leave it out, or add"):
            run(CONFIG, pedestrians, trained, device="cpu", by=[kind])


def entry(queries, score):
    return {"queries": queries, "without_match": 0, "mAP": score, "rank1": score}


FOUND = {
    "columns": {PLAIN: {"mAP": 0.5, "mINP": 0.25, "cmc": {"1": 0.5, "5": 0.75, "10": 1.0, "20": 1.0}}},
    "per_query": {PLAIN: {"ap": [0.5, None]}},
    "config": {"metric": "cosine"},
    "num_query": 2,
    "num_gallery": 9,
    "notes": [],
    "synthetic_neighbours": None,
    "by_query_camera": {"2": entry(1, 0.5), "10": entry(0, None)},
    "by_camera_pair": {"2": {"10": entry(1, 0.125)}, "10": {"2": entry(0, None), "unknown": entry(1, 1.0)}},
    "by_view": {"front": entry(1, 0.5)},
}


def test_the_tables():
    assert table(FOUND).splitlines() == [
        "ranked by cosine distance        mAP    mINP     R-1     R-5    R-10    R-20",
        "as they are                    50.00   25.00   50.00   75.00  100.00  100.00",
        "1 of 2 queries have a match among 9 gallery images",
    ]
    lines = table(FOUND, ["camera-pair", "view", "camera", "view"]).splitlines()[3:]
    assert [line.split() for line in lines] == [
        [],
        ["mAP", "of", "the", "queries", "of", "one", "camera", "among", "the", "images", "of", "one", "other"],
        ["query", "from,", "found", "in", "2", "10", "unknown"],
        ["2", "12.50"],
        ["10", "-", "100.00"],
        [],
        ["view", "of", "the", "query", "queries", "mAP", "R-1"],
        ["front", "1", "50.00", "50.00"],
        [],
        ["camera", "of", "the", "query", "queries", "mAP", "R-1"],
        ["2", "1", "50.00", "50.00"],
        ["10", "0", "-", "-"],
    ]
    assert lines[3].index("12.50") + len("12.50") == lines[2].index("10") + 2, "in its column"


def test_the_command_prints_them(trained, pedestrians, bare, monkeypatch, capsys):
    augment = caller(monkeypatch, capsys)
    common = ("--checkpoint", trained, "--device", "cpu")
    outcome = augment("evaluate-reid", pedestrians, *common, "--by", "view", "--by", "camera")
    assert outcome.code == 0, outcome.err
    assert outcome.out.index("view of the query") < outcome.out.index("camera of the query")
    outcome = augment("evaluate-reid", bare, *common, "--by", "view")
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert augment("evaluate-reid", bare, *common, "--by", "weather").code == 2
