"""Training pairs: all of them, each once, drawn as a pure function of (seed, step)."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.data.pairs import ListedPairs, Pairs, read_pairs
from augment.data.read import read_data
from augment.data.records import Record
from tests.reference import heatmaps as reference


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(1, 3)), max_size=14), st.booleans())
def test_the_numbering_is_a_bijection_onto_the_list_of_pairs(images, by_camera):
    pids, cameras = [pid for pid, _ in images], [camera for _, camera in images]
    within = cameras if by_camera else None
    pairs = Pairs(pids, within)
    numbered = [pairs[index] for index in range(len(pairs))]
    assert len(set(numbered)) == len(numbered)
    assert sorted(numbered) == reference.pairs(pids, within)


def test_there_is_nothing_past_the_end():
    pairs = Pairs([2, 2, 4, 4])
    assert len(pairs) == 4
    for index in (-1, 4):
        with pytest.raises(IndexError):
            pairs[index]


def test_the_market_has_as_many_pairs_as_images_and_identities_say():
    sizes = [17, 1, 0, 73, 2]
    assert len(Pairs(np.repeat(np.arange(1, 6), sizes).tolist())) == sum(n * (n - 1) for n in sizes)


def test_distractors_and_junk_pair_with_nothing():
    assert len(Pairs([0, 0, -1, -1])) == 0
    drawn = Pairs([0, 0, -1, -1, 7, 7]).draw(0, 0, 50)
    assert set(np.unique(drawn)) == {4, 5}


def test_draws_are_pure_and_differ_by_seed_and_step():
    pairs = Pairs([2] * 9 + [4] * 9)
    first = pairs.draw(1, 2, 32)
    np.testing.assert_array_equal(first, pairs.draw(1, 2, 32))
    assert first.shape == (32, 2)
    for other in (pairs.draw(1, 3, 32), pairs.draw(2, 2, 32)):
        assert (first != other).any()


def test_every_pair_is_drawn_equally_often():
    pids = [2] * 3 + [4] * 2
    drawn = Counter(map(tuple, Pairs(pids).draw(0, 0, 8_000).tolist()))
    assert sorted(drawn) == reference.pairs(pids)
    assert all(abs(count - 1000) < 5 * 1000**0.5 for count in drawn.values())


def test_draws_stay_within_a_camera():
    pids, cameras = [2, 2, 2, 4, 4, 4], [1, 2, 1, 1, 2, 2]
    drawn = Pairs(pids, cameras).draw(0, 0, 200)
    assert {tuple(pair) for pair in drawn.tolist()} == {(0, 2), (2, 0), (4, 5), (5, 4)}


def test_nothing_to_draw_from():
    for pairs in (Pairs([]), Pairs([1, 2, 3]), Pairs([2, 2], [1, 2])):
        assert len(pairs) == 0
        with pytest.raises(ValueError, match="no training pair; check the key points"):
            pairs.draw(0, 0, 1)


def test_a_pair_list(tmp_path):
    records = [Record(Path(name), 2, 1) for name in ("a.jpg", "b.jpg")]
    path = tmp_path / "pairs.csv"
    path.write_text("from,to\nb.jpg,a.jpg\na.jpg,b.jpg\n")
    assert read_pairs(path, records).tolist() == [[1, 0], [0, 1]]
    pairs = ListedPairs(path, records)
    assert len(pairs) == 2
    drawn = pairs.draw(3, 4, 50)
    np.testing.assert_array_equal(drawn, pairs.draw(3, 4, 50))
    assert set(map(tuple, drawn.tolist())) == {(1, 0), (0, 1)}
    path.write_text("number,to,from\n1,a.jpg,b.jpg\n\n")
    assert read_pairs(path, records).tolist() == [[1, 0]]
    path.write_text("from,to\n")
    assert read_pairs(path, records).shape == (0, 2)
    with pytest.raises(ValueError, match=r"pairs\.csv: lists no pair"):
        ListedPairs(path, records).draw(0, 0, 1)
    for text, message in (
        ("a.jpg,b.jpg\n", "no columns 'from' and 'to'"),
        ("", "no columns 'from' and 'to'"),
        ("from,to\na.jpg,b.jpg\na.jpg,c.jpg\n", r"line 3: c\.jpg is no image of this split with annotated"),
        ("from,to\n\na.jpg\n", "line 3: 'a.jpg' names no pair"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"pairs\.csv.*{message}"):
            read_pairs(path, records)
    path.write_bytes(b"from,to\n\xff,b.jpg\n")
    with pytest.raises(ValueError, match=r"pairs\.csv: not a UTF-8 text file"):
        read_pairs(path, records)


def test_pairs_of_withheld_images_are_left_out(tmp_path):
    records = [Record(Path(name), 2, 1) for name in ("a.jpg", "b.jpg", "c.jpg")]
    path = tmp_path / "pairs.csv"
    path.write_text("from,to\na.jpg,b.jpg\nb.jpg,c.jpg\nc.jpg,a.jpg\nb.jpg,a.jpg\n")
    assert len(ListedPairs(path, records)) == 4
    assert read_pairs(path, records[:2], without=records[2:]).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match=r"line 3: c\.jpg is no image of this split"):
        read_pairs(path, records[:2])


def test_lists_in_a_market_root_are_found_where_key_points_are(tmp_path):
    for inner in ("Market-1501-v15.09.15/bounding_box_train", "Market-1501-v15.09.15/bounding_box_test"):
        (tmp_path / inner).mkdir(parents=True)
    (tmp_path / "Market-1501-v15.09.15/bounding_box_train/0002_c1s1_000451_03.jpg").touch()
    assert (read_data(tmp_path).pairs, read_data(tmp_path).test_pairs) == (None, None)
    (tmp_path / "market-pairs-test.csv").touch()
    (tmp_path / "Market-1501-v15.09.15/market-pairs-train.csv").touch()
    found = read_data(tmp_path)
    assert found.pairs == tmp_path / "Market-1501-v15.09.15/market-pairs-train.csv"
    assert found.test_pairs == tmp_path / "market-pairs-test.csv"
    assert found.has_cameras
