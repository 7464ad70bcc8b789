"""Selections equal a slow twin row by row, and their controls are as many and random."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from augment import filtering, store
from augment.filtering import FilterConfig, control_path, prepare, run
from augment.plan import Plan
from tests.scored_sets import BEST, MARGIN, PIDS, ROWS, SCORES, SHARPNESS, make, rows

BEST_OF_EACH = FilterConfig(top=0.5, by="margin", per="identity")


def best(values, of, share, lowest=False):
    """The slow twin: sort the rows that have a value, take the share of all."""
    ranked = sorted((v if lowest else -v, row) for row in of if not math.isnan(v := float(values[row])))
    return [row for _, row in ranked[: max(1, math.floor(Fraction(str(share)) * len(of) + Fraction(1, 2)))]]


# What is kept


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.7, 0.85, 1.0])
@pytest.mark.parametrize("lowest", [False, True])
def test_the_best_of_the_set_and_of_each_identity(made, share, lowest):
    config = FilterConfig(top=share, by="margin", lowest=lowest)
    assert rows(config, made) == sorted(best(MARGIN, range(ROWS), share, lowest))
    per = FilterConfig(top=share, by="margin", lowest=lowest, per="identity")
    people = [[row for row in range(ROWS) if PIDS[row] == pid] for pid in (2, 7, 9, 11)]
    assert rows(per, made) == sorted(row for person in people for row in best(MARGIN, person, share, lowest))


def test_shares_are_rounded_half_up_as_decimal_numbers(made):
    """0.5 of 10, 5, 1 and 4 images is 5, 2.5, 0.5 and 2; 0.29 of 50 is 14.5, which floats make 14.499..."""
    counts = Counter(PIDS[rows(FilterConfig(top=0.5, by="sharpness", per="identity"), made)].tolist())
    assert counts == {2: 5, 7: 3, 9: 1, 11: 2}
    assert [filtering._share(0.29, 50), filtering._share(0.1, 4), filtering._share(0.7, 10)] == [15, 1, 7]


def test_ties_go_to_the_lower_row(tmp_path):
    tied = {"margin": store.Score(np.ones(ROWS, np.float32), {})}
    assert rows(FilterConfig(top=0.3, by="margin"), make(tmp_path / "x.h5", scores=tied)) == list(range(6))


def test_nan_is_never_chosen_and_is_counted(made):
    choice = prepare(FilterConfig(top=1.0, by="margin"), made)
    assert choice.rows.tolist() == np.flatnonzero(~np.isnan(MARGIN)).tolist()
    assert choice.undecided == np.isnan(MARGIN).sum() == 6
    assert "without a value  6 images" in str(choice)


def test_a_condition_on_scores_and_facts(made):
    config = FilterConfig("margin>0 & (sharpness>3 | pid==7) & row<18 & camid!=2")
    twin = [
        row
        for row in range(ROWS)
        if MARGIN[row] > 0 and (SHARPNESS[row] > 3 or PIDS[row] == 7) and row < 18 and row % 3 + 1 != 2
    ]
    assert rows(config, made) == twin != []


def test_undecided_are_only_those_that_nan_keeps_out(made):
    """A sharpness above 5 decides without a margin, and one below 1 forbids."""
    choice = prepare(FilterConfig("(margin>0 | sharpness>5) & sharpness>=1"), made)
    assert choice.undecided == np.count_nonzero(np.isnan(MARGIN) & (SHARPNESS >= 1) & (SHARPNESS <= 5))


def test_facts_need_no_scores(tmp_path):
    bare = make(tmp_path / "x.h5", scores={})
    assert rows(FilterConfig("pid==7"), bare) == list(range(10, 15))
    assert rows(FilterConfig(top=0.1, by="row", lowest=True), bare) == [0, 1]
    with pytest.raises(
        ValueError, match=r"no column 'margin'; there are pid, camid, row; `augment score .*x\.h5 DATA`"
    ):
        rows(FilterConfig("margin>0"), bare)


# What is written


def test_a_selection_shows_the_chosen_images_and_says_why(made, tmp_path):
    lines = []
    out = run(BEST_OF_EACH, made, tmp_path / "y.h5", log=lines.append)
    reader, base = store.Reader(out), store.Reader(made)
    assert reader.rows.tolist() == rows(BEST_OF_EACH, made)
    np.testing.assert_array_equal(reader.image(3), base.image(int(reader.rows[3])))
    said = reader.attributes["selection"]
    assert (said["top"], said["by"], said["per"], said["seed"], said["role"]) == (0.5, "margin", "identity", 0, "kept")
    assert (said["images"], said["of_images"], said["of_content"]) == (len(reader), ROWS, base.content_sha256)
    assert said["scores"] == {"margin": {"reid": "abc", "folds": 2}}
    assert out.stat().st_size < 20_000, "no pixels"
    assert [line.split() for line in lines[0].splitlines()] == [
        ["kept", "9", "of", "20", "images", "(45.0%)"],
        ["identities", "3", "of", "4"],
        ["images", "per", "identity", "1", "/", "3", "/", "5", "(min", "/", "median", "/", "max)"],
        ["without", "a", "value", "6", "images,", "not", "kept"],
    ]


def test_the_control_is_as_large_and_drawn_from_all_rows(made, tmp_path):
    drawn = Counter()
    for seed in range(200):
        choice = prepare(FilterConfig(top=0.5, by="margin", seed=seed), made)
        assert len(choice.control) == len(choice.rows) == 10
        assert (np.diff(choice.control) > 0).all()
        drawn.update(choice.control.tolist())
    assert len(drawn) == ROWS, "also rows without a value"
    assert all(abs(count - 100) < 5 * math.sqrt(200 * 0.25) for count in drawn.values())


def test_the_control_of_a_filter_per_identity_has_as_many_of_each(made):
    choices = [prepare(FilterConfig(top=0.5, by="margin", per="identity", seed=seed), made) for seed in range(20)]
    for choice in choices:
        assert Counter(PIDS[choice.control].tolist()) == Counter(PIDS[choice.rows].tolist()) == {2: 5, 7: 3, 9: 1}
    assert len({tuple(choice.control.tolist()) for choice in choices}) > 10


def test_same_inputs_same_files(made, tmp_path):
    outs = [run(BEST, made, tmp_path / name / "y.h5") for name in ("a", "b")]
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert control_path(outs[0]).read_bytes() == control_path(outs[1]).read_bytes()
    other = run(FilterConfig(top=0.5, by="margin", seed=1), made, tmp_path / "c" / "y.h5")
    assert store.Reader(other).rows.tolist() == store.Reader(outs[0]).rows.tolist()
    assert store.Reader(control_path(other)).rows.tolist() != store.Reader(control_path(outs[0])).rows.tolist()


def test_a_selection_of_a_selection(made, tmp_path):
    first = run(FilterConfig("pid==2"), made, tmp_path / "y.h5")
    out = run(FilterConfig("row >= 5 & sharpness < 2"), first, tmp_path / "z.h5")
    assert store.Reader(out).rows.tolist() == [row for row in range(10) if row >= 5 and SHARPNESS[row] < 2]
    assert store.Reader(out).base == made
    lines = []
    run(FilterConfig("row >= 5 & sharpness < 2"), first, tmp_path / "z.h5", log=lines.append)
    assert lines[-1] == "already done"


def test_a_selection_of_shards(made, tmp_path, monkeypatch):
    monkeypatch.setattr(store.shards, "SHARD_ROWS", 8)
    folder, base = tmp_path / "shards", store.Reader(made)
    names = tuple(base.files)
    plan = Plan(
        names, np.zeros((4, 18, 2), np.float32), PIDS, base.camid, base.source_index, base.target_index, base.seed
    )
    attributes = store.begin(folder, plan, {"tool": "t", "config": {}, "generator": {"model": "g"}, "versions": {}})
    for shard in range(3):
        place = store.shard_rows(plan, shard)
        store.write_shard(folder, shard, plan, np.stack([base.image(row) for row in place]), attributes)
    reader = store.Reader(run(FilterConfig("row>6 & row<10"), folder, tmp_path / "y.h5"))
    np.testing.assert_array_equal([reader.image(row)[0, 0, 0] for row in range(3)], [7, 8, 9])


def test_everything_kept_is_said(made, tmp_path):
    lines = []
    run(FilterConfig("pid>0"), made, tmp_path / "y.h5", log=lines.append)
    assert "every image is kept" in lines[1]
    assert store.Reader(control_path(tmp_path / "y.h5")).rows.tolist() == list(range(ROWS))


JUDGES = {"good": (0.9, 0.5), "weak": (0.9, 0.15), "untested": (0.9, None)}


@pytest.mark.parametrize(("name", "warned"), [("good", 0), ("weak", 1), ("untested", 1), ("sharpness", 0), ("pid", 0)])
def test_columns_by_judges_near_chance_are_warned_of(augment, tmp_path, name, warned):
    scores = {
        column: store.Score(SHARPNESS, {"judges": [{"rank1": rank1, "chance": 0.1} for rank1 in found]})
        for column, found in JUDGES.items()
    }
    made = make(tmp_path / "x.h5", scores=scores | {"sharpness": SCORES["sharpness"]})
    words = ["filter", made, "--out", tmp_path / "y.h5", "--keep", f"{name} > 2"]
    for more in (["--dry-run"], []):
        code, _, err = augment(*words, *more)
        assert code == 0
        assert err.count(f"warning: {name} ") == err.count("warning") == warned
    assert ("15.0% (by chance 10.0%)" in err) == (name == "weak")
