"""A table that says of which training images the images of any generator were made.

CSV with a header. Columns: `name` (a path in the folder of images) and `source` (name of a training image); optional
`pid` and `camid` (the source's, checked), `target` (name of the training image whose pose was asked for) and `seed`.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from augment.data.market1501 import IMAGE_SUFFIXES
from augment.data.records import DataSet, Record

REQUIRED, OPTIONAL = ("name", "source"), ("pid", "camid", "target", "seed")
MOST_NAMED = 5
LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One image; `name` is its path in the folder, `target` None where the pose is that of no known image."""

    line: int
    name: str
    source: Record
    target: Record | None
    seed: int


@dataclass(frozen=True)
class ImageTable:
    """The images in the order of the table, and what it has beside them."""

    rows: tuple[Row, ...]
    columns: tuple[str, ...]  # that mean nothing here
    nameless: int  # rows that name a target which DATA does not have


def read_table(table: Path, folder: Path, dataset: DataSet, test_identities: bool = False) -> ImageTable:
    """Read the table and check each row against folder and data set; images are not opened.

    With `test_identities` sources and targets may be images of query and gallery.

    Raises:
        ValueError: no such table, or rows that are wrong: up to five are named with their lines.
    """
    known = {record.name: record for record in dataset.train}
    test = {record.name: record for record in (*dataset.query, *dataset.gallery) if record.name not in known}
    people, refused = (known | test, {}) if test_identities else (known, test)
    rows: list[Row] = []
    problems: list[str] = []
    lines: dict[str, int] = {}
    nameless = 0
    columns: list[str] = []
    for line, cells in _read(table):
        if not columns:
            columns = _header(table, cells)
            continue
        try:
            if len(cells) != len(columns):
                raise ValueError(f"{len(cells)} cells, the header has {len(columns)}")
            entry = dict(zip(columns, cells, strict=True))
            row = _parse(line, entry, folder, people, refused)
            if row.name in lines:
                raise ValueError(f"{row.name} is also in line {lines[row.name]}")
        except ValueError as error:
            problems.append(f"line {line}: {error}")
            continue
        lines[row.name] = line
        rows.append(row)
        nameless += bool(entry.get("target")) and row.target is None
    require_none(problems, table)
    if not rows:
        raise ValueError(f"{table}: lists no image; give a header and a line for each image of {folder}")
    return ImageTable(tuple(rows), tuple(name for name in columns if name not in REQUIRED + OPTIONAL), nameless)


def require_none(problems: Sequence[str], table: Path) -> None:
    """Report all problems together.

    Raises:
        ValueError: there are any.
    """
    if problems:
        more = f"; and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
        raise ValueError(f"{table}: {'; '.join(problems[:MOST_NAMED])}{more}")


def unlisted(rows: Sequence[Row], folder: Path) -> list[str]:
    """Images in the folder, however deep, that no row names; hidden ones are passed over."""
    listed = {row.name for row in rows}
    found = (path for path in folder.rglob("[!.]*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return sorted({path.relative_to(folder).as_posix() for path in found} - listed)


def _read(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the line where it ends; cells without the blanks around them."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if any(cells := [cell.strip() for cell in row]):
                    yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table}: not a UTF-8 CSV file ({error}); give a table with commas between cells") from None


def _header(table: Path, columns: list[str]) -> list[str]:
    expected = f"the header must hold {','.join(REQUIRED)} and may hold {','.join(OPTIONAL)}"
    if "name" not in columns:
        raise ValueError(f"{table}: no column name in {','.join(columns)[:80]!r}; {expected}")
    if "source" not in columns:
        raise ValueError(
            f"{table}: no column source: of which training image was each image made? Without that nobody can tell "
            f"that no test identity is among them; {expected}"
        )
    if len(set(columns)) < len(columns):
        raise ValueError(f"{table}: a column is there twice ({','.join(columns)[:80]}); {expected}")
    return columns


def _parse(
    line: int, entry: dict[str, str], folder: Path, people: dict[str, Record], refused: dict[str, Record]
) -> Row:
    name = _locate(folder, entry["name"])
    source = _known("source", entry["source"], people, refused)
    if source is None:
        raise ValueError(f"source {entry['source']!r} is no training image of DATA (their names, without folders)")
    for column, expected in (("pid", source.pid), ("camid", source.camid)):
        found = entry.get(column)
        if found and _integer(column, found) != expected:
            raise ValueError(f"{column} {found}, but its source {source.name} has {expected}")
    target = _known("target", entry.get("target", ""), people, refused)
    seed = _integer("seed", entry.get("seed") or "0")
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed {seed}: expected 0 to {LARGEST_SEED}")
    return Row(line, name, source, target, seed)


def _known(role: str, name: str, people: dict[str, Record], refused: dict[str, Record]) -> Record | None:
    if name in refused:
        raise ValueError(
            f"{role} {name} is an image of query or gallery, so results would be leaked (--allow-test-identities is "
            "for studies of image quality)"
        )
    return people.get(name)


def _locate(folder: Path, name: str) -> str:
    """The path in `folder` that a name means: that of a file, which no link leads out of the folder to."""
    relative = PurePosixPath(name)
    if not relative.parts or relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"name {name!r} is no path inside of {folder}")
    try:
        real = (folder / relative).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise ValueError(f"name {name!r}: no such file in {folder}") from None
    if not real.is_relative_to(folder.resolve()):
        raise ValueError(f"name {name!r} leads out of {folder}")
    if not real.is_file():
        raise ValueError(f"name {name!r} is no file")
    return relative.as_posix()


def _integer(column: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{column} {text[:40]!r} is no integer") from None
