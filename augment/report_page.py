"""The page of a report: sections of tables, plots, pictures and galleries, in one file that loads nothing else.

Tables are sorted and filtered, and images of galleries decoded as they are scrolled to, by a script in the page. A
Content-Security-Policy lets nothing else run and nothing be fetched.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar

import jinja2
from markupsafe import Markup

from augment.report_tables import FORMS, SUFFIXES, Column, Table

MEDIA = {".png": "image/png", ".jpg": "image/jpeg"}  # of a picture, by its suffix
NARROWEST, ROOM = 144, 8  # pixels of a card, and beside its image
MIME = {"csv": "text/csv", "markdown": "text/markdown", "latex": "application/x-tex"}


@dataclass(frozen=True)
class Prose:
    """A paragraph; a `warning` stands out."""

    kind: ClassVar[str] = "prose"
    text: str
    warning: bool = False


@dataclass(frozen=True)
class Plot:
    """A drawing as SVG markup."""

    svg: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Plots:
    """Drawings side by side, as many as there is room for."""

    kind: ClassVar[str] = "plots"
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class Picture:
    """A PNG or JPEG that is shown as a whole."""

    kind: ClassVar[str] = "picture"
    path: Path
    alt: str
    caption: str


@dataclass(frozen=True)
class Card:
    """A thumbnail with its words; `facets` are values that a reader picks cards by, `value` what they are sorted by."""

    jpeg: bytes
    size: tuple[int, int]
    alt: str
    lines: tuple[str, ...]
    facets: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class Gallery:
    """Many cards in a box that scrolls. `orders` name the given order, the largest value first, the smallest first."""

    kind: ClassVar[str] = "gallery"
    title: str
    caption: str
    facets: tuple[str, ...]
    orders: tuple[str, str, str]
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Facts:
    """Names and values, as they were recorded."""

    kind: ClassVar[str] = "facts"
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Folded:
    """What is shown when it is asked for."""

    kind: ClassVar[str] = "folded"
    title: str
    part: "Part"


Part = Prose | Table | Plots | Picture | Gallery | Facts | Folded


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Page:
    """Title, the result in a sentence, what a reader must know of it, and the sections."""

    title: str
    headline: str
    leads: tuple[str, ...]
    sections: tuple[Section, ...]


def render(page: Page) -> bytes:
    """The page as HTML; the same page gives the same bytes."""
    source = resources.files("augment").joinpath("templates/report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "digest": _digest,
        "embedded": _embedded,
        "jpeg": _jpeg,
        "markup": Markup,
        "downloads": _downloads,
        "choices": _choices,
        "columns": _columns,
        "minus": _minus,
        "widest": _widest,
    }
    return environment.from_string(source).render(page=page, sections=page.sections).encode()


def _digest(script: str) -> str:
    """How a Content-Security-Policy names the one script that may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _embedded(path: Path) -> str:
    """A picture as part of the page itself."""
    return _data(MEDIA[path.suffix], path.read_bytes())


def _jpeg(data: bytes) -> str:
    return _data("image/jpeg", data)


def _downloads(table: Table) -> list[tuple[str, str]]:
    """Name and content of the table's files."""
    return [
        (f"{table.name}{suffix}", _data(MIME[form], (FORMS[form](table) + "\n").encode()))
        for form, suffix in SUFFIXES.items()
    ]


def _columns(table: Table) -> list[tuple[Column, list[int], str]]:
    """What stands beside one another on the page: a column, the places of all that it holds, and its classes."""
    shown: list[tuple[Column, list[int], str]] = []
    for place, column in enumerate(table.columns):
        if column.joined:
            shown[-1][1].append(place)
            continue
        classes = {"number": table.numeric[place], "wraps": column.wraps, "narrow": column.narrow}
        shown.append((column, [place], " ".join(name for name, holds in classes.items() if holds)))
    return shown


def _minus(words: Sequence[str]) -> str:
    return " − ".join(words)


def _choices(part: Table | Gallery) -> list[tuple[int, str, list[str]]]:
    """Place, name and values of what a reader picks by; that which has one value alone is no choice."""
    if isinstance(part, Table):
        places = [place for place, column in enumerate(part.columns) if column.facet]
        named = [(place, part.columns[place].title, [row[place].text for row in part.rows]) for place in places]
    else:
        named = [(place, name, [card.facets[place] for card in part.cards]) for place, name in enumerate(part.facets)]
    found = [(place, name, _distinct(values)) for place, name, values in named]
    return [choice for choice in found if len(choice[2]) > 1]


def _widest(cards: Sequence[Card]) -> int:
    """Pixels that a card of a gallery takes at least."""
    return max([NARROWEST, *(card.size[1] + ROOM for card in cards)])


def _distinct(values: Sequence[str]) -> list[str]:
    """Each once: numbers by size, others as they come."""
    once = list(dict.fromkeys(values))
    return sorted(once, key=int) if all(value.isdecimal() for value in once) else once


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
