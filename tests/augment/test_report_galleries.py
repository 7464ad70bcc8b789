"""Galleries show what they say: the best and the worst of a set, and the queries that moved the most."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from augment import report_galleries, store
from augment.data.images import read_image
from augment.data.read import read_data
from augment.data.sharpness import sharpness
from augment.report_study import comparisons, read
from tests import studying


@pytest.fixture(scope="module")
def place(tmp_path_factory, pedestrians):
    path = tmp_path_factory.mktemp("sets") / "unit" / "set.h5"
    studying.write_set(path, pedestrians, scored=True)
    return path


def test_the_best_and_the_worst_by_score(place, pedestrians):
    reader = store.Reader(place)
    gallery = report_galleries.of_set("title", "about.", reader, read_data(pedestrians), 5)
    count = len(reader)
    assert [card.value for card in gallery.cards] == [count - 1, count - 2, count - 3, 1, 0]
    assert [card.facets[0] for card in gallery.cards] == ["best"] * 3 + ["worst"] * 2
    assert gallery.cards[0].facets[1:] == (str(reader.identity(count - 1)), str(reader.camera(count - 1)))
    assert f"1 of {count}" in gallery.cards[0].lines[1]
    assert f"3 best and 2 worst of {count}. Ranked by the score identity_margin." in gallery.caption


def test_a_thumbnail_is_source_pose_and_image(place, pedestrians):
    reader = store.Reader(place)
    dataset = read_data(pedestrians)
    card = report_galleries.of_set("title", "about.", reader, dataset, 1).cards[0]
    shown = np.asarray(Image.open(io.BytesIO(card.jpeg)).convert("RGB")).astype(int)
    assert shown.shape[:2] == card.size
    assert card.size[0] == report_galleries.HEIGHT
    width = (card.size[1] - 2 * report_galleries.GAP) // 3
    source, generated = shown[:, :width], shown[:, -width:]
    assert np.abs(source - generated).mean() < 8, "the set of this test holds its sources"
    path = next(record.path for record in dataset.train if record.name == reader.source_name(len(reader) - 1))
    true = Image.fromarray(read_image(path)).resize((width, card.size[0]), Image.Resampling.BILINEAR)
    assert np.abs(source - np.asarray(true).astype(int)).mean() < 8
    without = replace(dataset, train=())
    assert report_galleries.of_set("title", "about.", reader, without, 1).cards[0].size[1] < card.size[1]


def test_a_set_without_scores_is_ranked_by_sharpness_and_says_so(tmp_path, pedestrians):
    path = tmp_path / "unit" / "set.h5"
    studying.write_set(path, pedestrians, scored=False)
    reader = store.Reader(path)
    gallery = report_galleries.of_set("title", "about.", reader, read_data(pedestrians), 4)
    values = sorted((sharpness(reader.image(row)) for row in range(len(reader))), reverse=True)
    assert [card.value for card in gallery.cards] == pytest.approx([*values[:2], *values[-2:]])
    assert "no scores" in gallery.caption


def test_images_without_a_score_are_in_neither_end(place, pedestrians):
    reader = store.Reader(place)
    values = np.arange(len(reader), dtype=np.float32)
    values[[0, -1]] = np.nan
    reader.__dict__["scores"] = {"identity_margin": store.Score(values, {})}
    gallery = report_galleries.of_set("title", "about.", reader, read_data(pedestrians), 2)
    assert [card.value for card in gallery.cards] == [len(reader) - 2, 1]
    assert "2 images have none" in gallery.caption


def queries(tmp_path, pedestrians, gains, count):
    """The gallery of a study whose first comparison has these gains, in points, query by query."""
    folder = tmp_path / "study"
    studying.make(folder, pedestrians)
    found = read(folder)
    for seed in (0, 1, 2):
        per_query = found.results["mixed+erasing", seed]["per_query"]
        per_query["ap"] = [None if gain is None else 0.43 + gain / 100 for gain in gains]
    return report_galleries.of_queries(found, comparisons(found)[0], read_data(pedestrians), count)


def test_queries_by_their_change(tmp_path, pedestrians):
    records = read_data(pedestrians).query
    gains = [0.0] * len(records)
    gains[0], gains[1], gains[2], gains[3] = 5.0, -20.0, 10.0, -1.0
    gallery = queries(tmp_path, pedestrians, gains, 3)
    assert [card.value for card in gallery.cards] == pytest.approx([-20.0, 10.0, 5.0])
    assert [card.facets[0] for card in gallery.cards] == ["lost", "gained", "gained"]
    assert gallery.cards[0].facets[1:] == (str(records[1].pid), str(records[1].camid))
    assert gallery.cards[0].lines[1] == "AP 43 → 23 % (-20.0)"
    assert f"2 queries gained, 2 lost, {len(records) - 4} did not change; shown are the 3" in gallery.caption


def test_a_query_without_a_match_is_no_query(tmp_path, pedestrians):
    count = len(read_data(pedestrians).query)
    found = queries(tmp_path, pedestrians, [None, 1.0, *[0.0] * (count - 2)], 10)
    assert [card.value for card in found.cards] == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("count", "gained", "lost", "shown"),
    [(10, 100, 100, (5, 5)), (10, 2, 100, (2, 8)), (10, 100, 2, (8, 2)), (10, 3, 3, (3, 3)), (0, 5, 5, (0, 0))],
)
def test_what_one_side_leaves_the_other_takes(count, gained, lost, shown):
    assert report_galleries._split(count, gained, lost) == shown


def test_queries_of_other_data_are_refused(tmp_path, pedestrians):
    folder = tmp_path / "study"
    studying.make(folder, pedestrians)
    found = read(folder)
    data = read_data(pedestrians)
    other = replace(data, query=data.query[1:])
    first = comparisons(found)[0]
    with pytest.raises(ValueError, match="its queries are not those of the results"):
        report_galleries.of_queries(found, first, other, 10)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_of_a_selection(place, pedestrians, tmp_path, count):
    reader = store.Reader(place)
    path = store.write_selection(tmp_path / "kept.h5", reader, np.asarray([1, 3, 5]), {"tool": "test"})
    gallery = report_galleries.of_set("title", "about.", store.Reader(path), read_data(pedestrians), count)
    assert [card.value for card in gallery.cards] == [5, 1][:count]
