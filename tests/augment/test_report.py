"""The page: self-contained, honest words, nothing unescaped."""

import base64
import re

import numpy as np
import pytest

from augment import report, sheets
from augment.comparison import Difference
from augment.report import Sheet, Trial


def trial(arm, seed, gain=0.0):
    ap = np.random.default_rng(0).uniform(0.2, 0.6, 40) + gain
    queries = {"pid": np.repeat(np.arange(10), 4).tolist(), "camid": [0] * 40, "ap": ap.tolist(), "rank1": [1.0] * 40}
    cmc = {"1": 0.5 + gain, "5": 0.7, "10": 0.8, "20": 0.9}
    return Trial(arm, seed, {"mAP": float(ap.mean()), "cmc": cmc, "images_seen": 12_345, "per_query": queries})


TRIALS = [trial("real", 0), trial("real", 1), trial("mixed", 0, 0.125), trial("mixed", 1, 0.125)]


@pytest.fixture
def page(tmp_path):
    picture = tmp_path / "sheet.png"
    picture.write_bytes(sheets.png(np.zeros((4, 4, 3), np.uint8)))
    out = tmp_path / "out" / "report.html"
    sheet = Sheet("A sheet", "What it shows", picture)
    made = report.run(TRIALS, "real", out, title="Does <it> help?", sheets=[sheet], provenance={"a & b": "<script>"})
    assert made == out
    return out.read_text(encoding="utf-8")


def test_the_page_loads_nothing_from_elsewhere(page):
    linked = re.findall(
        r"""\s(?:src|href|srcset|action|data)\s*=\s*["']([^"']*)|url\(([^)]*)\)|@import\s*([^;]*)""", page
    )
    targets = [target for groups in linked for target in groups if target]
    assert targets
    within = ("data:image/png;base64,", "data:text/csv;", "data:text/markdown;", "data:application/x-tex;", "#")
    assert all(target.startswith(within) for target in targets)
    assert page.count("<script") == 1
    assert "<link" not in page


def test_a_sheet_is_embedded_byte_for_byte_as_what_it_is(tmp_path):
    pictures = {"image/png": tmp_path / "a.png", "image/jpeg": tmp_path / "b.jpg"}
    for number, picture in enumerate(pictures.values()):
        picture.write_bytes(bytes([number, 1, 2]))
    shown = [Sheet("title", "caption", picture) for picture in pictures.values()]
    page = report.run(TRIALS, "real", tmp_path / "report.html", title="Sheets", sheets=shown).read_text("utf-8")
    for kind, picture in pictures.items():
        assert f'src="data:{kind};base64,{base64.b64encode(picture.read_bytes()).decode()}"' in page


def test_texts_are_escaped(page):
    assert "<h1>Does &lt;it&gt; help?</h1>" in page
    assert "<dt>a &amp; b</dt><dd>&lt;script&gt;</dd>" in page
    assert "<svg" in page, "the plot is markup, not text"


def test_numbers_of_the_page(page):
    assert page.count("+12.5") >= 3
    assert "12,345" in page
    assert "+12.5 to +12.5" in page


def test_a_single_seed_has_no_spread(tmp_path):
    page = report.run(TRIALS[::2], "real", tmp_path / "report.html", title="One seed").read_text(encoding="utf-8")
    assert ">nan<" not in page


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ((0.05, 0.01, 0.09), ["mixed adds 5.0 points of mAP", "+1.0 to +9.0, 2 seeds", "excludes zero"]),
        ((-0.05, -0.09, -0.01), ["mixed costs 5.0 points of mAP", "-9.0 to -1.0", "excludes zero"]),
        ((0.05, -0.01, 0.11), ["adds 5.0", "includes zero, so this is no evidence of an effect"]),
        ((-0.01, -0.09, 0.07), ["costs 1.0", "includes zero, so this is no evidence of an effect"]),
        ((0.0, 0.0, 0.0), ["adds 0.0", "no evidence"]),
    ],
)
def test_the_headline_says_what_came_out(difference, words):
    found = report.headline({("mixed", "mAP"): Difference(*difference, (0.0, 0.0), 0.0)}, "real")
    assert found.startswith("Against real, ")
    assert all(word in found for word in words)


def test_arms_are_paired_by_seed_whatever_their_order():
    found = report.compare_arms(TRIALS[::-1], "real")
    assert found["mixed", "mAP"].per_seed == pytest.approx((0.125, 0.125))
    with pytest.raises(ValueError, match="mixed and real have different seeds"):
        report.compare_arms(TRIALS[:3], "real")


def test_the_table_of_a_terminal():
    lines = report.table(TRIALS, "real").splitlines()
    assert lines[1].split()[0] == "real"
    assert "mixed - real, mAP: +12.5 (95 % interval +12.5 to +12.5; seeds +12.5, +12.5)" in lines
