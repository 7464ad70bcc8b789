"""Tables: what is printed of an entry, beside the published rows, in each form."""

import pytest

from augment.metric_tables import COMPARED, LABEL, PUBLISHED, beside_published, render, side_by_side


def results(size=(128, 64), **values):
    metrics = {
        name: {"value": value, "low": None, "high": None, "n": 1200, "better": "higher", "protocol": "patn"}
        for name, value in values.items()
    }
    return {
        "metrics": metrics,
        "not_computed": {"fid": "weights missing, put x_y at z"},
        "provenance": {
            "size": [*size],
            "generator": {"model": "dptn", "parameters": 9_794_371},
            "compared": {"pairs": "9 random pairs"},
            "data": "held",
            "notes": [],
        },
    }


def test_a_row_says_value_interval_numbers_floor_and_protocol():
    found = results(ssim=0.25)
    found["metrics"]["ssim"] |= {"low": 0.2, "high": 0.31, "identities": 40, "floor": {"value": 0.5, "n": 30, "of": ""}}
    lines = render(found, "markdown").splitlines()
    assert lines[0] == "| metric | better | value | 95 % interval | n | real images | protocol |"
    row = "| ssim | higher | 0.2500 | 0.2000 to 0.3100 | 1,200 of 40 identities | 0.5000 (n 30) | patn |"
    assert lines[2] == row
    assert "- `fid`: not computed: weights missing, put x_y at z" in lines
    plain = render(found, "table")
    assert "ssim    higher  0.2500  0.2000 to 0.3100  1,200 of 40 identities  0.5000 (n 30)  patn" in plain
    assert "fid                   not computed: weights missing, put x_y at z" in plain


def test_published_rows_stand_beside_ours_and_say_so():
    found = beside_published({"mine": results(ssim=0.3, fid_gfla=20.5)}, "markdown").splitlines()
    assert found[0] == f"*{LABEL}; mine: 9 random pairs, of the data held*"
    assert "other pairs, weights" in LABEL
    assert "| DPTN | 9.79 | 0.2854 |  | 0.2711 | 18.99 |  |  |  |" in found
    assert found[-1] == "| mine | 9.79 | 0.3000 |  |  | 20.50 |  |  |  |"
    assert len(found) == 2 + 2 + len(PUBLISHED) + 1


def test_the_own_figures_of_papers_stand_under_the_metric_that_they_are_of():
    """PG2's is of its own protocol; PATN's paper prints more than its released weights reach."""
    rows = {row.method: row for row in PUBLISHED}
    assert (rows["PG2, its paper"].ssim, rows["PG2, its paper"].ssim_pg2) == ("", "0.253")
    ours = beside_published({"copy": results(ssim_pg2=0.2)}, "markdown").splitlines()
    assert ours[-1] == "| copy | 9.79 |  | 0.2000 |  |  |  |  |  |"
    assert "| PATN, its paper | 41.36 | 0.311 |  |  |  |  |  |  |" in ours


def test_what_has_no_parameters_shows_none():
    found = results(ssim=0.3)
    for generator in ({"model": "copy", "parameters": 0}, {"model": "copy"}):
        found["provenance"]["generator"] = generator
        assert beside_published({"copy": found}, "markdown").splitlines()[-1].startswith("| copy |  | 0.3000 |")
    found["provenance"] |= {"results": "images"}
    del found["provenance"]["generator"]
    assert "| this evaluation |  | 0.3000 |" in render(found, "markdown")


@pytest.mark.parametrize("found", [results((256, 176), ssim=0.3), results(psnr=14.0)])
def test_no_published_rows_beside_other_images_or_metrics(found):
    assert "DPTN" not in render(found, "table")


def test_no_published_rows_beside_a_set_of_training_people():
    found = results(ssim=0.3)
    assert "DPTN" in render(found, "table")
    found["provenance"]["set"] = "x.h5"
    assert "DPTN" not in render(found, "table")


def test_no_published_rows_beside_folders():
    found = results(ssim=0.3)
    del found["provenance"]["generator"]
    assert "DPTN" not in render(found, "table")


@pytest.mark.parametrize(
    ("form", "mark"), [("table", "note: "), ("markdown", "- "), ("latex", r"\par\noindent Note: ")]
)
def test_notes_stand_below_the_values(form, mark):
    found = results(ssim=0.3)
    found["provenance"]["notes"] = ["ssim: of few images", "another"]
    lines = render(found, form).splitlines()
    end = r"\par" if form == "latex" else ""
    place = lines.index(f"{mark}ssim: of few images{end}")
    assert lines[place + 1] == f"{mark}another{end}"
    assert lines[place - 1] == ""
    assert any("0.3000" in line for line in lines[:place])


def test_images_of_nobody_known_are_no_identities():
    found = results(ssim=0.3)
    found["metrics"]["ssim"]["identities_and_unknown_images"] = 7
    assert "1,200 of 7 identities and unknown images" in render(found, "table")


def test_latex_is_escaped_and_aligned():
    text = render(results(mask_ssim=0.75), "latex")
    assert r"metric & better & value & 95 \% interval & n & real images & protocol \\" in text
    assert r"mask\_ssim & higher & 0.7500 &  & 1,200 &  & patn \\" in text
    assert r"\par\noindent fid: not computed" in text
    assert text.startswith(r"% needs \usepackage{booktabs}")
    assert r"\par\noindent published: other pairs, weights and ways of saving; Market-1501, 128x64" in text
    assert not [line for line in text.splitlines()[1:] if line.startswith("%")], "nothing is lost in comments"
    for row in (line for line in text.splitlines() if line.endswith(r"\\")):
        assert row.count(" & ") in (6, len(COMPARED) + 1)


def test_several_evaluations_side_by_side():
    one, two = results(ssim=0.25, psnr=14.0), results(ssim=0.5)
    one["metrics"]["ssim"] |= {"low": 0.2, "high": 0.3, "floor": {"value": 1.0, "n": 3, "of": ""}}
    assert side_by_side({"copy": one, "mean": two}, "markdown").splitlines() == [
        "| metric | better | copy | mean | real images |",
        "| --- | --- | --- | --- | --- |",
        "| ssim | higher | 0.2500 (0.2000-0.3000) | 0.5000 | 1.0000 |",
        "| psnr | higher | 14.00 |  |  |",
    ]
