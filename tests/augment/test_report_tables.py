"""Tables in four forms: nothing of a cell is lost, and nothing in it breaks the form."""

import csv
import io

import pytest

from augment.report_tables import FORMS, Cell, Column, Table, count, escaped, number, render, text, write

NASTY = 'a_b & 50 % "quoted", {x}~^\\ $#|'
TABLE = Table(
    "nasty",
    "A title",
    (Column("name", ("name",)), Column("mAP, %", ("mAP", "mAP_sd")), Column("n", ("n",))),
    (
        (text(NASTY), Cell("34.7 ± 1.2", (34.712345678, 1.25)), count(1_234)),
        (text("plain"), Cell("–", (None, None)), count(None)),
    ),
)


def test_csv_holds_the_values_and_not_their_print():
    rows = list(csv.DictReader(io.StringIO(FORMS["csv"](TABLE))))
    assert rows[0] == {"name": NASTY, "mAP": "34.712346", "mAP_sd": "1.25", "n": "1234"}
    assert rows[1] == {"name": "plain", "mAP": "", "mAP_sd": "", "n": ""}


def test_markdown_cells_stay_in_their_columns():
    lines = FORMS["markdown"](TABLE).splitlines()
    assert lines[2:4] == ["| name | mAP, % | n |", "| --- | ---: | ---: |"]
    unescaped = lines[4].replace("\\\\", "").replace("\\|", "")
    assert unescaped.count("|") == 4
    assert "34.7 ± 1.2 | 1,234 |" in lines[4]


def test_latex_has_booktabs_and_escapes():
    lines = FORMS["latex"](TABLE).splitlines()
    assert lines[1:4] == [r"\begin{tabular}{lrr}", r"\toprule", r"name & mAP, \% & n \\"]
    assert lines[5].startswith(
        r'a\_b \& 50 \% "quoted", \{x\}\textasciitilde{}\textasciicircum{}\textbackslash{} \$\#|'
    )
    assert lines[5].endswith(r"& 34.7 $\pm$ 1.2 & 1,234 \\")
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]


@pytest.mark.parametrize(
    ("words", "there"),
    [("-1.2 to -0.3", "$-$1.2 to $-$0.3"), ("rank-1", "rank-1"), ("2026-01-02", "2026-01-02"), ("a-b", "a-b")],
)
def test_only_the_sign_of_a_number_is_a_minus_in_latex(words, there):
    assert escaped(words) == there


def test_text_is_aligned_and_numbers_are_flush_right():
    title, head, first, second = FORMS["text"](TABLE).splitlines()
    assert title == "A title"
    ends = {line.index(word) + len(word) for line, word in ((head, "%"), (first, "1.2"), (second, "–"))}
    assert len(ends) == 1


def test_a_column_is_numeric_if_all_of_it_is():
    assert TABLE.numeric == [False, True, True]
    assert number(None, ".1f").text == "–"
    assert number(0.25, ".1f") == Cell("0.2", (0.25,))


def test_every_table_is_written_in_every_form(tmp_path):
    made = write([TABLE], tmp_path / "tables")
    assert sorted(path.name for path in made) == ["nasty.csv", "nasty.md", "nasty.tex"]
    assert (tmp_path / "tables" / "nasty.csv").read_text(encoding="utf-8") == FORMS["csv"](TABLE) + "\n"


def test_several_tables_are_told_apart():
    assert render([TABLE, TABLE], "csv").count("# A title\nname,") == 2
    assert render([TABLE, TABLE], "text").count("A title\n") == 2


def test_a_row_of_another_length_is_a_bug():
    with pytest.raises(AssertionError, match="1 cells, 3 columns"):
        Table("x", "x", TABLE.columns, ((text("a"),),))
    with pytest.raises(AssertionError, match="mAP"):
        Table("x", "x", TABLE.columns, ((text("a"), text("b"), text("c")),))
