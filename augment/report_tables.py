"""Tables of a report: what is printed of a cell and what a file needs of it; as text, Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from augment import files

Value = str | int | float | None
DECIMALS = 6  # of a number in a CSV


@dataclass(frozen=True)
class Column:
    """A column of a table: one or more of its CSV, of which the first one sorts."""

    title: str
    keys: tuple[str, ...]
    facet: bool = False  # whether a reader picks rows by it
    wraps: bool = False  # holds sentences
    narrow: bool = False  # holds names, broken into lines where room is short
    joined: bool = False  # a page shows it within the column before, after a minus


@dataclass(frozen=True)
class Cell:
    """What a reader sees, and the values behind it, as many as the column has keys."""

    text: str
    values: tuple[Value, ...]

    @property
    def order(self) -> Value:
        return self.values[0]


@dataclass(frozen=True)
class Table:
    """Rows under columns; `name` is that of its files."""

    kind: ClassVar[str] = "table"
    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row) == len(self.columns), f"{self.name}: {len(row)} cells, {len(self.columns)} columns"
            for cell, column in zip(row, self.columns, strict=True):
                assert len(cell.values) == len(column.keys), f"{self.name}, {column.title}: {cell}"

    @property
    def titles(self) -> list[str]:
        return [column.title for column in self.columns]

    @property
    def texts(self) -> list[list[str]]:
        return [[cell.text for cell in row] for row in self.rows]

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds nothing but numbers, or nothing."""
        return [all(not isinstance(row[place].order, str) for row in self.rows) for place in range(len(self.columns))]


def text(value: str) -> Cell:
    return Cell(value, (value,))


def count(value: int | None) -> Cell:
    return Cell("–" if value is None else f"{value:,}", (value,))


def number(value: float | None, form: str) -> Cell:
    """`form` is that of a format specification, such as .1f."""
    return Cell("–" if value is None else format(value, form), (value,))


def plain(table: Table) -> str:
    """For a terminal: numbers flush right."""
    lines = [table.titles, *table.texts]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, table.numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([table.title, *rows])


def markdown(table: Table) -> str:
    rule = ["---:" if right else "---" for right in table.numeric]
    lines = [[_cell(each) for each in line] for line in (table.titles, rule, *table.texts)]
    return "\n".join([f"**{_cell(table.title)}**", "", *("| " + " | ".join(line) + " |" for line in lines)])


def latex(table: Table) -> str:
    """With the rules of the package booktabs."""
    head, *body = (" & ".join(map(escaped, line)) + r" \\" for line in (table.titles, *table.texts))
    begin = rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in table.numeric)}}}"
    title = f"% {' '.join(table.title.split())}"
    return "\n".join([title, begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"])


def comma_separated(table: Table) -> str:
    """The values, not rounded for print: of a mean with its spread two columns."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([key for column in table.columns for key in column.keys])
    for row in table.rows:
        writer.writerow([_exact(value) for cell in row for value in cell.values])
    return stream.getvalue().rstrip("\n")


FORMS: Mapping[str, Callable[[Table], str]] = {
    "text": plain,
    "markdown": markdown,
    "latex": latex,
    "csv": comma_separated,
}
SUFFIXES = {"csv": ".csv", "markdown": ".md", "latex": ".tex"}


def render(tables: Sequence[Table], form: str) -> str:
    """Several tables one after another, each CSV under its title."""
    titled = [f"# {table.title}\n" if form == "csv" else "" for table in tables]
    return "\n\n".join(title + FORMS[form](table) for title, table in zip(titled, tables, strict=True))


def write(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Each table as CSV, Markdown and LaTeX."""
    return [
        files.write_atomic(folder / f"{table.name}{suffix}", (FORMS[form](table) + "\n").encode())
        for table in tables
        for form, suffix in SUFFIXES.items()
    ]


LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--",
    "<": r"\textless{}", ">": r"\textgreater{}", **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}  # fmt: skip


def escaped(words: str) -> str:
    """A text for LaTeX, a hyphen before a number as a minus."""
    signed = re.split(r"(?<![\w.])-(?=\d)", " ".join(words.split()))
    return "$-$".join("".join(LATEX.get(letter, letter) for letter in part) for part in signed)


def _cell(words: str) -> str:
    return " ".join(words.replace("\\", "\\\\").replace("|", "\\|").split())


def _exact(value: Value) -> Value:
    return round(value, DECIMALS) if isinstance(value, float) else value
