"""Selections equal a slow twin row by row, their controls are as many and random, and nothing else is ever replaced."""

import math
import shutil
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from augment import filtering, store
from augment.filtering import FilterConfig, control_path, prepare, run
from augment.plan import Plan
from tests.command_line import caller
from tests.killing import die, in_child

PIDS = np.asarray([2] * 10 + [7] * 5 + [9] + [11] * 4)
ROWS = len(PIDS)
MARGIN = np.round(np.sin(np.arange(ROWS) * 1.7), 1).astype(np.float32)  # with ties
MARGIN[[1, 12, 16, 17, 18, 19]] = np.nan  # the whole of identity 11
SHARPNESS = (np.arange(ROWS) % 7).astype(np.float32)
SCORES = {
    "margin": store.Score(MARGIN, {"reid": "abc", "folds": 2}),
    "sharpness": store.Score(SHARPNESS, {"measure": "laplacian"}),
}
BEST = FilterConfig(top=0.5, by="margin")
BEST_OF_EACH = FilterConfig(top=0.5, by="margin", per="identity")


def make(path, first=0, scores=SCORES):
    """A set of one-coloured images, and its scores."""
    plan = Plan(
        files=tuple(f"{pid:04d}_c1_{pid}.jpg" for pid in np.unique(PIDS)),
        poses=np.zeros((4, 18, 2), np.float32),
        pid=PIDS,
        camid=np.arange(ROWS) % 3 + 1,
        source_index=np.unique(PIDS, return_inverse=True)[1],
        target_index=np.zeros(ROWS, np.int64),
        seed=np.zeros(ROWS, np.uint64),
    )
    images = np.full((ROWS, 4, 2, 3), first, np.uint8) + np.arange(ROWS, dtype=np.uint8)[:, None, None, None]
    store.write_set(
        path, plan, {"tool": "test", "config": {}, "generator": {"model": "dptn"}, "versions": {}}, [images]
    )
    if scores:
        store.write_scores(store.Reader(path), scores)
    return path


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "x.h5")


@pytest.fixture
def augment(monkeypatch, capsys):
    return caller(monkeypatch, capsys)


def rows(config, path):
    return prepare(config, path).rows.tolist()


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


def test_nothing_is_promised_before_what_stands_at_out_was_looked_at(made, tmp_path):
    run(BEST, made, tmp_path / "y.h5")
    (tmp_path / "thesis.h5").write_text("x")
    for name, force in (("y.h5", False), ("thesis.h5", False), ("thesis.h5", True)):
        lines = []
        with pytest.raises(ValueError, match=r"another selection|is no selection"):
            run(FilterConfig("pid>0"), made, tmp_path / name, force=force, log=lines.append)
        assert lines == []


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


# Done, other, half done


def test_done_work_is_recognised_and_a_lost_control_comes_back(made, tmp_path):
    out, lines = tmp_path / "y.h5", []
    run(BEST, made, out)
    whole, when = control_path(out).read_bytes(), out.stat().st_mtime_ns
    run(BEST, made, out, log=lines.append)
    assert lines[-1] == "already done"
    control_path(out).unlink()
    run(BEST, made, out)
    assert control_path(out).read_bytes() == whole
    assert out.stat().st_mtime_ns == when


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (FilterConfig(top=0.5, by="margin", seed=1), r"seed \(0 there, 1 here\)"),
        (FilterConfig(top=0.6, by="margin"), r"top \(0\.5 there, 0\.6 here\)"),
        (FilterConfig(top=0.5, by="sharpness"), r"by \(margin there, sharpness here\)"),
        (FilterConfig("margin>0"), r"keep \(None there, margin>0 here\)"),
    ],
)
def test_another_selection_is_kept_without_force(made, tmp_path, other, named):
    out = run(BEST, made, tmp_path / "y.h5")
    held = out.read_bytes()
    with pytest.raises(ValueError, match=rf"y\.h5: holds another selection: .*{named}.*--force"):
        run(other, made, out)
    assert out.read_bytes() == held
    run(other, made, out, force=True)
    assert store.Reader(out).rows.tolist() == rows(other, made)
    assert store.Reader(control_path(out)).rows.tolist() == prepare(other, made).control.tolist()


def test_without_a_control(made, tmp_path):
    out = run(BEST, made, tmp_path / "y.h5", control=False)
    assert not control_path(out).exists()
    run(BEST, made, out)
    with pytest.raises(ValueError, match="another selection"):
        run(FilterConfig("pid==2"), made, out, control=False)
    run(FilterConfig("pid==2"), made, out, control=False, force=True)
    assert not control_path(out).exists(), "the control of the selection that was replaced"


def test_changed_scores_are_noticed(made, tmp_path):
    out = run(BEST, made, tmp_path / "y.h5", control=False)
    store.write_scores(store.Reader(made), {"margin": store.Score(SHARPNESS, SCORES["margin"].provenance)})
    with pytest.raises(ValueError, match="other rows, so the scores have changed"):
        run(BEST, made, out, control=False)


def test_a_selection_of_a_set_that_was_made_anew(made, tmp_path):
    out = run(FilterConfig("pid==2"), made, tmp_path / "y.h5")
    store.scores_path(made).unlink()
    make(made, first=100)
    with pytest.raises(ValueError, match="filter the set again; --force replaces it"):
        run(FilterConfig("pid==2"), made, out)
    run(FilterConfig("pid==2"), made, out, force=True)
    assert store.Reader(out).image(0)[0, 0, 0] == 100


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_selection_is_left_alone(made, tmp_path, force):
    thesis, whole = tmp_path / "thesis.h5", made.read_bytes()
    thesis.write_text("x")
    other = make(tmp_path / "other.h5")
    for out in (thesis, other, made):
        with pytest.raises(ValueError, match=r"is no selection|would replace the set"):
            run(BEST, made, out, force=force)
    shutil.copy(thesis, tmp_path / "y.control.h5")
    with pytest.raises(ValueError, match=r"y\.control\.h5: is no selection"):
        run(BEST, made, tmp_path / "y.h5", force=force)
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(ValueError, match=r"folder\.h5: is no selection"):
        run(BEST, made, tmp_path / "folder.h5", force=force)
    assert (thesis.read_text(), made.read_bytes()) == ("x", whole)
    assert not (tmp_path / "y.h5").exists()


def test_a_selection_never_replaces_what_it_selects_from(made, tmp_path):
    first = run(BEST, made, tmp_path / "y.h5")
    for out in (first, tmp_path / "y.h5" / ".." / "y.h5"):
        with pytest.raises(ValueError, match="would replace the set"):
            run(FilterConfig("pid==2"), first, out, force=True)
    control = control_path(first)
    with pytest.raises(ValueError, match="would replace the set"):
        run(FilterConfig("pid==2"), control, first, force=True)
    for name in ("y", "y.txt", "x.scores.h5"):
        with pytest.raises(ValueError, match="expected a file name"):
            run(BEST, made, tmp_path / name)


def test_a_kill_between_the_two_files_is_mended(made, tmp_path, monkeypatch):
    out, real = tmp_path / "y.h5", store.write_selection

    def killed():
        def write(path, *arguments):
            if path == out:
                die()
            return real(path, *arguments)

        filtering.store.write_selection = write
        run(BEST, made, out)

    assert in_child(killed) == -9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.h5", "x.scores.h5", "y.control.h5"]
    run(BEST, made, out)
    assert store.Reader(out).rows.tolist() == rows(BEST, made)


# Mistakes and the command


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "exactly one of --keep EXPR and --top"),
        ({"keep": "pid>0", "top": 0.5, "by": "pid"}, "exactly one"),
        ({"keep": "pid>0", "by": "margin"}, "--by: belongs to --top"),
        ({"keep": "pid>0", "lowest": True}, "--lowest: belongs"),
        ({"keep": "pid>0", "per": "identity"}, "--per identity: belongs"),
        ({"top": 0.5}, "--by COLUMN"),
        ({"top": 0.0, "by": "pid"}, "--top 0.0"),
        ({"top": 1.5, "by": "pid"}, "--top 1.5"),
        ({"top": float("nan"), "by": "pid"}, "--top nan"),
        ({"top": 0.5, "by": "pid", "per": "camera"}, "--per camera: expected one of set, identity"),
    ],
)
def test_impossible_configurations(options, said):
    with pytest.raises(ValueError, match=said):
        FilterConfig(**options)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (FilterConfig("magrin>0"), "--keep: no column 'magrin'; there are margin, sharpness, pid, camid, row$"),
        (FilterConfig(top=0.5, by="magrin"), "--by magrin: no such column; there are margin"),
        (FilterConfig("margin>5"), r"--keep 'margin>5': keeps none of the 20 images of .*x\.h5 \(6 have no value\)"),
        (FilterConfig("margin>"), "--keep: 'margin>' cannot be understood"),
    ],
)
def test_mistakes(made, tmp_path, config, said):
    with pytest.raises(ValueError, match=said):
        run(config, made, tmp_path / "y.h5")
    assert not (tmp_path / "y.h5").exists()


def test_command(augment, made, tmp_path):
    words = ["filter", made, "--out", tmp_path / "y.h5", "--keep", "margin>0 & sharpness>1"]
    code, out, err = augment(*words, "--dry-run")
    assert (code, err, (tmp_path / "y.h5").exists()) == (0, "", False)
    assert out.split()[:5] == ["kept", str(len(rows(FilterConfig(words[-1]), made))), "of", "20", "images"]
    code, out, err = augment(*words)
    assert (code, out) == (0, f"{tmp_path / 'y.h5'}\n")
    assert "kept" in err
    assert control_path(tmp_path / "y.h5").exists()
    assert "already done" in augment(*words).err
    code, out, err = augment(*words[:-1], "margin>0.5")
    assert (code, out, err.count("Error: ")) == (2, "", 1)
    code, out, err = augment("filter", made, "--out", tmp_path / "z.h5")
    assert (code, out, err.count("\n")) == (2, "", 1)
    options = ["--top", 0.5, "--by", "sharpness", "--lowest", "--per", "identity", "--no-control", "--seed", 3]
    assert augment("filter", made, "--out", tmp_path / "z.h5", *options).code == 0
    assert not control_path(tmp_path / "z.h5").exists()
