"""Sheets of generated images: ranked by every metric of single images, no image of two kinds by one metric."""

import numpy as np
import pytest

from augment import sheets
from augment.image_entries import Measured
from augment.image_metrics import METRICS
from augment.image_pairs import Compared
from augment.image_sheet import EACH, LINES, METRIC_COUNT, RANKED_BY, write_sheet


def measured(columns, *, paired=True, unit="identities"):
    """Images of 8x8 pixels, each of the grey level of its row."""
    count = len(next(iter(columns.values())))

    def grey(rows):
        return np.broadcast_to(rows[:, None, None, None], (len(rows), 8, 8, 3)).astype(np.uint8)

    everything = np.full(count, paired)
    compared = Compared((8, 8), grey, np.arange(count) + 100, unit, everything, grey, None, None, (), (), None)
    return Measured(compared, columns, {}, {}, None, 0)


@pytest.fixture
def drawn(monkeypatch):
    """What is handed to the drawing: (rows of grey levels, labels, head)."""
    calls = []

    def write(path, rows, titles, groups, labels, head):
        generated = [None if row[0] is None else int(row[0][0, 0, 0]) for row in rows]
        calls.append((generated, labels, head, list(titles), groups))

    monkeypatch.setattr(sheets, "write_sheet", write)
    return calls


@pytest.mark.parametrize(
    ("count", "best", "median", "worst"),
    [
        (1, [0], [], []),
        (2, [0], [], [1]),
        (3, [0], [1], [2]),
        (4, [0], [1], [3]),
        (5, [0], [2], [4]),
        (8, [0, 1], [3, 4], [7, 6]),
        (11, [0, 1, 2], [4, 5, 6], [10, 9, 8]),
        (12, [0, 1, 2, 3], [4, 5, 6, 7], [11, 10, 9, 8]),
        (100, [0, 1, 2, 3], [48, 49, 50, 51], [99, 98, 97, 96]),
    ],
)
def test_no_image_is_of_two_kinds(tmp_path, drawn, count, best, median, worst):
    values = np.random.default_rng(0).permutation(count).astype(np.float64)
    assert write_sheet(tmp_path / "s.png", measured({"l1": values})) == []
    generated, labels, head, titles, groups = drawn[0]
    assert (titles, groups) == (["generated", "true"], 3)
    assert head == f"best, median and worst of {count} images by l1"
    each = len(best)
    assert (len(generated), each <= EACH) == (3 * each, True)
    for place, (kind, ranks) in enumerate((("best", best), ("median", median), ("worst", worst))):
        rows = [int(np.flatnonzero(values == rank)[0]) for rank in ranks]  # of errors the smallest is the best
        column, empty = slice(place * each, (place + 1) * each), each - len(rows)
        assert generated[column] == rows + [None] * empty
        expected = [f"{kind} l1 {rank:.3f}, person {100 + row}" for rank, row in zip(ranks, rows, strict=True)]
        assert labels[column] == expected + [""] * empty


def test_which_way_is_better_and_whose_value_is_missing(tmp_path, drawn):
    values = np.asarray([0.2, np.nan, 0.9, np.inf, 0.5])
    write_sheet(tmp_path / "s.png", measured({"psnr": values}, unit="images"))
    generated, labels, *_ = drawn[0]
    assert [row for row in generated if row is not None] == [2, 4, 0]
    assert [label for label in labels if label] == ["best psnr 0.900", "median psnr 0.500", "worst psnr 0.200"]


def test_pckh_ranks_by_the_share_of_an_images_joints(tmp_path, drawn):
    joints = np.asarray([[3, 10], [0, 0], [2, 2], [1, 5]])
    write_sheet(tmp_path / "s.png", measured({"pckh": joints}, paired=False))
    generated, labels, _, titles, _ = drawn[0]
    assert [row for row in generated if row is not None] == [2, 0, 3], "the second image has no joints that count"
    assert [label.split(",")[0] for label in labels if label] == [
        "best pckh 1.000", "median pckh 0.300", "worst pckh 0.200",
    ]  # fmt: skip
    assert titles == ["generated"]


def test_at_most_four_metrics_and_the_others_are_named(tmp_path, drawn):
    columns = {name: np.arange(30.0) for name in sorted(RANKED_BY) if name != "pckh"}
    lines = write_sheet(tmp_path / "s.png", measured(columns))
    generated, labels, head, *_ = drawn[0]
    names = [name for name in RANKED_BY if name != "pckh"]
    said, left = ", ".join(names[:METRIC_COUNT]), ", ".join(names[METRIC_COUNT:])
    assert head == f"best, median and worst of 30 images by {said}"
    assert lines == [f"{tmp_path / 's.png'} ranks by {said}; for {left} choose fewer --metrics"]
    assert len(generated) == 3 * LINES
    for place in range(3):
        shown = [label.split()[1] for label in labels[place * LINES : (place + 1) * LINES]]
        assert shown == [name for name in names[:METRIC_COUNT] for _ in range(LINES // METRIC_COUNT)]


@pytest.mark.parametrize("columns", [{"fid": np.zeros(3)}, {"ssim": np.full(3, np.nan), "pckh": np.zeros((3, 2))}])
def test_what_cannot_be_ranked_is_said(tmp_path, columns):
    lines = write_sheet(tmp_path / "s.png", measured(columns))
    assert lines == [
        f"no sheet {tmp_path / 's.png'}: images are ranked by {', '.join(RANKED_BY)}; none of these has a value"
    ]
    assert not list(tmp_path.iterdir())


def test_every_metric_of_single_images_is_ranked():
    of_sets = {"fid", "fid_gfla", "kid", "inception_score", "mask_is", "pose_diversity", "pose_coverage"}
    assert set(RANKED_BY) == set(METRICS) - of_sets
