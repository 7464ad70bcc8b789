"""Synthetic images among what queries find: shown and counted, never scored; marks that need no colours."""

import json

import numpy as np
import pytest
from PIL import Image

from augment import ranked_sheet, store, train_reid
from augment.data.images import read_image
from augment.data.read import read_data
from augment.evaluate_reid import PLAIN, EvaluateReidConfig, run
from augment.plan import Plan
from augment.ranked_sheet import FRAME, HEIGHT, RIGHT, SIGN, SYNTHETIC, WRONG, marked, spread
from augment.sheets import GAP
from augment.store import read_features
from augment.train_reid import TrainReidConfig
from reid.dataset import resized
from reid.metrics import Evaluation
from reid.training import ReidConfig
from tests.command_line import caller

TRAINING = ReidConfig(model="osnet_x0_25", height=32, width=16, epochs=1, batch=8)
CONFIG = EvaluateReidConfig()
PROVENANCE = {"tool": "test", "config": {"seed": 0}, "generator": {"model": "dptn"}, "versions": {}}


@pytest.fixture(scope="module")
def trained(pedestrians, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "real"
    train_reid.run(TrainReidConfig(TRAINING), pedestrians, out, device="cpu")
    return out


def make_set(path, images, pid):
    """A set of these images, all said to be of one person of the test set."""
    n = len(images)
    plan = Plan(
        files=("0002_c1s1_000001_01.jpg",),
        poses=np.zeros((1, 18, 2), np.float32),
        pid=np.full(n, pid),
        camid=np.ones(n, np.int64),
        source_index=np.zeros(n, np.int64),
        target_index=np.zeros(n, np.int64),
        seed=np.zeros(n, np.uint64),
    )
    return store.write_set(path, plan, PROVENANCE, iter([np.stack(images)]))


@pytest.fixture(scope="module")
def copies(pedestrians, tmp_path_factory):
    """Sets of two queries and two gallery images, at the network's size and at another one."""
    dataset, folder = read_data(pedestrians), tmp_path_factory.mktemp("sets")
    chosen = [*dataset.query[:2], *dataset.gallery[-2:]]
    small = [resized(read_image(record.path), 32, 16) for record in chosen]
    return [
        make_set(folder / "small.h5", small, dataset.query[0].pid),
        make_set(folder / "large.h5", [resized(image, 64, 48) for image in small], dataset.query[0].pid),
    ]


def test_synthetic_images_change_no_score_and_are_counted(trained, pedestrians, copies, tmp_path):
    plain = run(CONFIG, pedestrians, trained, device="cpu")
    written = {"features": tmp_path / "f.h5", "workers": 1}
    found = run(CONFIG, pedestrians, trained, device="cpu", synthetic=copies, **written)
    counted = found.pop("synthetic_neighbours")
    assert plain.pop("synthetic_neighbours") is None
    assert found == plain
    parts, _ = read_features(tmp_path / "f.h5")
    query, gallery, synthetic = parts["query"], parts["gallery"], parts["synthetic"]
    assert synthetic.names == [f"{name}.h5/{row}" for name in ("small", "large") for row in range(4)]
    expected = []
    for pid, camid, features in zip(query.pids, query.camids, query.features, strict=True):
        searched = gallery.features[~((gallery.pids == pid) & (gallery.camids == camid))]
        ours, theirs = (((many - features) ** 2).sum(axis=1) for many in (searched, synthetic.features))
        kinds = np.repeat([False, True], [len(ours), len(theirs)])
        expected.append(int(kinds[np.argsort(np.concatenate([ours, theirs]), kind="stable")[:10]].sum()))
    assert counted["per_query"] == expected
    assert counted["mean"] == pytest.approx(sum(expected) / len(expected))
    assert [(held["name"], held["images"]) for held in counted["sets"]] == [("small.h5", 4), ("large.h5", 4)]
    assert "no score includes them" in counted["note"]


def test_a_set_counts_once(trained, pedestrians, copies, tmp_path):
    elsewhere = tmp_path / "copy.h5"
    elsewhere.write_bytes(copies[0].read_bytes())
    for again in (copies[0], elsewhere):
        with pytest.raises(
            ValueError, match=rf"--synthetic {again}: holds the same images as {copies[0]}, which would"
        ):
            run(CONFIG, pedestrians, trained, device="cpu", synthetic=[*copies, again])


def test_sets_of_one_name_are_told_apart(trained, pedestrians, copies, tmp_path):
    same = [tmp_path / folder / "set.h5" for folder in ("small", "large")]
    for path, copy in zip(same, copies, strict=True):
        path.parent.mkdir()
        path.write_bytes(copy.read_bytes())
    found = run(CONFIG, pedestrians, trained, device="cpu", synthetic=same, features=tmp_path / "f.h5")
    names = ["small/set.h5", "large/set.h5"]
    assert [held["name"] for held in found["synthetic_neighbours"]["sets"]] == names
    parts, _ = read_features(tmp_path / "f.h5")
    assert parts["synthetic"].names == [f"{name}/{row}" for name in names for row in range(4)]


def test_npz_holds_them_too(trained, pedestrians, copies, tmp_path):
    run(CONFIG, pedestrians, trained, device="cpu", synthetic=copies, features=tmp_path / "f.npz")
    run(CONFIG, pedestrians, trained, device="cpu", synthetic=copies, features=tmp_path / "f.h5")
    parts, _ = read_features(tmp_path / "f.h5")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as stored:
        for part, held in parts.items():
            np.testing.assert_array_equal(stored[part], held.features)
            np.testing.assert_array_equal(stored[f"{part}_pids"], held.pids)
            assert stored[f"{part}_names"].tolist() == held.names


def cells(path, columns=11):
    """Images of a sheet of one column of queries, by their frames' colours, a row a query."""
    with Image.open(path) as opened:
        sheet = np.asarray(opened.convert("RGB"))
    width = HEIGHT // 2
    lines = [line for line in range(sheet.shape[0] - HEIGHT) if frame(sheet, line, GAP + width + GAP) is not None]
    return [[frame(sheet, line, GAP + column * (width + GAP)) for column in range(1, columns)] for line in lines]


def frame(sheet, top, left):
    """The colour of the frame of an image whose upper left corner is here."""
    side = sheet[top : top + HEIGHT, left]
    same = (side == side[0]).all() and not (sheet[top - 1, left] == side[0]).all()
    return tuple(side[0].tolist()) if same and tuple(side[0].tolist()) in (RIGHT, WRONG, SYNTHETIC) else None


def test_the_sheet_frames_what_each_query_finds(trained, pedestrians, copies, tmp_path):
    sheet = tmp_path / "sheet.png"
    found = run(CONFIG, pedestrians, trained, device="cpu", synthetic=copies, sheet=sheet, sheet_queries=5)
    shown = cells(sheet)
    ap = np.asarray(found["per_query"][PLAIN]["ap"])
    order = np.argsort(ap, kind="stable")[np.linspace(0, len(ap) - 1, 5).astype(int)].tolist()
    assert len(shown) == 5
    counts = found["synthetic_neighbours"]["per_query"]
    assert [row.count(SYNTHETIC) for row in shown] == [counts[query] for query in order]
    without = run(CONFIG, pedestrians, trained, device="cpu", sheet=sheet, sheet_queries=5)
    shown = cells(sheet)
    assert not any(SYNTHETIC in row for row in shown)
    rank1 = without["per_query"][PLAIN]["rank1"]
    assert [row[0] == RIGHT for row in shown] == [rank1[query] == 1 for query in order]


def test_a_jpeg_is_the_same_sheet_in_fewer_bytes(trained, pedestrians, tmp_path):
    for name in ("sheet.png", "sheet.jpg"):
        run(CONFIG, pedestrians, trained, device="cpu", sheet=tmp_path / name, sheet_queries=3)
    with Image.open(tmp_path / "sheet.png") as png, Image.open(tmp_path / "sheet.jpg") as jpeg:
        assert (png.format, jpeg.format, png.size) == ("PNG", "JPEG", jpeg.size)
        assert np.abs(np.asarray(png, np.int16) - np.asarray(jpeg, np.int16)).mean() < 4
    assert (tmp_path / "sheet.jpg").stat().st_size < (tmp_path / "sheet.png").stat().st_size / 2


def test_marks_are_told_apart_without_colours():
    image = np.zeros((HEIGHT, HEIGHT // 2, 3), np.uint8)
    white = {colour: (marked(image, colour) == 255).all(axis=2) for colour in (RIGHT, WRONG, SYNTHETIC)}
    corner = (slice(0, SIGN), slice(0, SIGN))
    assert white[RIGHT][corner].any()
    assert white[WRONG][corner].any()
    assert (white[RIGHT] != white[WRONG])[corner].sum() > 20
    assert not white[SYNTHETIC][corner].any()
    assert white[SYNTHETIC][-SIGN:].any(), "the word"
    for colour in white:
        framed = marked(image, colour)
        assert not framed[SIGN:-SIGN, FRAME:-FRAME].any(), "what is inside stays"
        assert (framed[:, 0] == colour).all()


def test_queries_are_spread_from_the_worst_to_the_best():
    ap = np.asarray([0.5, np.nan, 0.1, 0.9, 0.3, 0.7])
    evaluation = Evaluation(0.5, np.ones(1), 0.5, ap, np.ones(6))
    assert spread(evaluation, 3).tolist() == [2, 0, 3]
    assert spread(evaluation, 9).tolist() == [2, 4, 0, 5, 3]
    assert spread(evaluation, 1).tolist() == [2]


def test_the_command_says_that_they_are_not_scored(trained, pedestrians, copies, tmp_path, monkeypatch, capsys):
    augment = caller(monkeypatch, capsys)
    common = ("evaluate-reid", pedestrians, "--checkpoint", trained, "--device", "cpu")
    sets = [word for path in copies for word in ("--synthetic", path)]
    outcome = augment(*common, *sets, "--sheet", tmp_path / "sheet.jpg")
    assert outcome.code == 0, outcome.err
    assert "of the first 10 would be synthetic" in outcome.out
    assert "the 8 images of small.h5, large.h5" in outcome.out
    assert "no score counts them" in outcome.out
    assert json.loads(augment(*common, *sets, "--json").out)["synthetic_neighbours"]["first"] == 10
    outcome = augment(*common, "--synthetic", trained / "results.json")
    assert outcome.code == 2
    assert "results.json: not an HDF5 file" in outcome.err
    assert ranked_sheet.QUERIES == 24
