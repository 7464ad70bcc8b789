"""The page of a study: its numbers, what is missing, what cannot be shown, the same bytes again."""

import base64
import csv
import hashlib
import html
import re

import pytest

from augment import study_report
from tests import studying
from tests.command_line import caller

SCRIPTS = re.compile(r"<script>(.*)</script>", re.DOTALL)


@pytest.fixture
def folder(tmp_path, pedestrians):
    studying.make(tmp_path / "study", pedestrians, noise=0.1)
    return tmp_path / "study"


@pytest.fixture(scope="module")
def page(tmp_path_factory, pedestrians):
    """Of a complete study; nothing may change it."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    studying.make(folder, pedestrians, noise=0.1)
    return study_report.write(folder)


def text_of(page):
    """What a reader sees."""
    body = re.sub(r"<(style|script).*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))


def test_the_page_holds_what_was_found(page):
    words = text_of(page)
    for section in ("Results", "Curves", "Queries", "Generated images", "Audit", "Provenance"):
        assert f" {section} " in words
    assert "Does it <help> & why?" in words
    assert "mixed+erasing against real+erasing: beyond erasing" in words
    assert "augment train-reid" in words
    assert "seeds passed paired" in words
    assert "time used 22 minutes" in words, "13 units of 100 seconds"
    assert "What is missing" not in words
    assert "first comparison is the study's primary outcome, fixed in advance, at its own 5 %" in words
    assert "Accuracy on the training list in the last epoch is below 90 %: mixed+erasing (60 %); real" in words
    assert "arm − against" in words
    assert "mixed+erasing − real+erasing" in words


def test_the_same_study_gives_the_same_bytes(page, tmp_path):
    again = study_report.run(page.parent, tmp_path / "elsewhere" / "page.html")
    assert again.page.read_bytes() == page.read_bytes()
    held = {path.name: path.read_bytes() for path in (page.parent / "tables").iterdir()}
    assert {path.name: path.read_bytes() for path in (again.page.parent / "tables").iterdir()} == held


def test_only_the_page_s_own_script_may_run(page):
    source = page.read_text(encoding="utf-8")
    (script,) = SCRIPTS.findall(source)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in source
    assert "default-src 'none'; img-src data:;" in source
    assert source.startswith("<!doctype html>")


def test_names_from_files_are_escaped(page):
    source = page.read_text(encoding="utf-8")
    assert "<help>" not in source
    assert "<h1>Does it &lt;help&gt; &amp; why?</h1>" in source


def test_ids_are_unique_and_what_refers_to_them_finds_them(page):
    source = page.read_text(encoding="utf-8")
    names = re.findall(r'\sid="([^"]*)"', source)
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', source)) <= set(names)


def test_tables_lie_beside_the_page(page):
    tables = page.parent / "tables"
    with (tables / "contrasts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["measure"]) for row in rows[:3]] == [
        ("mixed+erasing", "mAP"),
        ("mixed", "mAP"),
        ("real+erasing", "mAP"),
    ]
    assert all(float(row["low"]) < float(row["gain"]) < float(row["high"]) for row in rows[:3])
    with (tables / "trials.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 12
    assert sorted(path.suffix for path in tables.iterdir()) == sorted([".csv", ".md", ".tex"] * 3)


def test_an_incomplete_study_says_what_it_lacks(folder, pedestrians):
    layout = studying.lay_out(pedestrians)
    studying.fail(folder, layout.trials["mixed", 2], "Traceback", "ValueError: <no> memory")
    found = study_report.run(folder)
    assert found.headline.startswith("Incomplete: 11 of 12 trials. ")
    words = text_of(found.page)
    assert "What is missing" in words
    assert "mixed, seed 2" in words
    assert "exit code 1: ValueError: <no> memory" in words


def test_a_failed_check_stands_at_the_top(folder):
    checks = [studying.check("leakage", "identity 7 is in both", passed=False)]
    studying.write_json(folder / "audit.json", {"schema": 1, "passed": False, "checks": checks})
    found = study_report.run(folder)
    words = text_of(found.page)
    assert found.headline == "The audit failed: leakage: identity 7 is in both; no result is claimed."
    assert found.headline in words
    assert words.index("no result of this study counts") < words.index("Comparisons")
    assert "leakage FAILED identity 7 is in both" in words


@pytest.mark.parametrize("form", [(), ("--format", "csv")])
def test_a_failed_check_is_a_failed_command(folder, monkeypatch, capsys, form):
    checks = [studying.check("leakage", "identity 7 is in both", passed=False)]
    studying.write_json(folder / "audit.json", {"schema": 1, "passed": False, "checks": checks})
    outcome = caller(monkeypatch, capsys)("report", folder, "--thumbnails", 0, *form)
    assert outcome.code == 1
    assert "The audit failed: leakage: identity 7 is in both; no result" in (outcome.err if form else outcome.out)


def test_a_study_without_any_result_has_a_page(folder):
    for done in (folder / "units").glob("train-reid-*/result.json"):
        done.unlink()
    found = study_report.run(folder)
    assert found.headline.startswith("Incomplete: 0 of 12 trials. There is no seed yet")
    assert "Nothing yet." in text_of(found.page)


def test_what_cannot_be_shown_is_said(folder, pedestrians):
    (folder / "audit.json").unlink()
    layout = studying.lay_out(pedestrians)
    unit = studying.unit_of(layout, "synthesize")
    (folder / "units" / unit["name"] / "set.h5").unlink()
    words = text_of(study_report.write(folder))
    assert "No images of the set of mixed, mixed+erasing are shown" in words
    assert "audit.json is missing" in words
    described = studying.described(layout) | {"data": str(folder / "gone")}
    studying.write_json(folder / "study.json", described)
    assert "No images are shown, because the data cannot be read" in text_of(study_report.write(folder))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_no_more_thumbnails_than_asked_for(folder, count):
    page = study_report.run(folder, thumbnails=count).page.read_text(encoding="utf-8")
    shown = page.count("data-src=")
    assert shown <= count
    assert (shown > 0) == (count > 0)


def test_the_command_prints_page_and_result_or_tables(folder, monkeypatch, capsys):
    augment = caller(monkeypatch, capsys)
    page, said = augment("report", folder).out.splitlines()
    assert page == str(folder / "report.html")
    assert re.search(r"mAP \(95 % interval .*, p .*, 3 seeds\)", said)
    outcome = augment("report", folder, "--format", "csv", "--thumbnails", 2)
    assert outcome.out.startswith("# Comparisons\narm,against,gain,low,high,measure,")
    assert outcome.err.strip() == page


def test_the_command_refuses_what_is_no_study(tmp_path, monkeypatch, capsys):
    outcome = caller(monkeypatch, capsys)("report", tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"Error: {tmp_path}: no study.json in it; give the folder that `augment ablate STUDY --out DIR` was given\n"
    )
