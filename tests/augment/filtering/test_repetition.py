"""What is asked twice is done or refused, and nothing but a selection is ever replaced; mistakes and the command."""

import shutil

import pytest

from augment import filtering, store
from augment.filtering import FilterConfig, control_path, prepare, run
from tests.killing import die, in_child
from tests.scored_sets import BEST, SCORES, SHARPNESS, make, rows

# Done, other, half done


def test_nothing_is_promised_before_what_stands_at_out_was_looked_at(made, tmp_path):
    run(BEST, made, tmp_path / "y.h5")
    (tmp_path / "thesis.h5").write_text("x")
    for name, force in (("y.h5", False), ("thesis.h5", False), ("thesis.h5", True)):
        lines = []
        with pytest.raises(ValueError, match=r"another selection|is no selection"):
            run(FilterConfig("pid>0"), made, tmp_path / name, force=force, log=lines.append)
        assert lines == []


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
