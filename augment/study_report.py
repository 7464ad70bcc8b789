"""Stage: the report of a study, one self-contained HTML page beside its tables as CSV, Markdown and LaTeX."""

from dataclasses import dataclass
from pathlib import Path

from augment import (
    files,
    report_figures,
    report_learning,
    report_page,
    report_pictures,
    report_plots,
    report_provenance,
    report_results,
    report_study,
    report_tables,
)
from augment.report_page import Page, Part, Plots, Prose, Section
from augment.report_study import Compared, Found
from augment.report_tables import Table
from augment.report_words import headline, progress

PAGE, TABLES = "report.html", "tables"
THUMBNAILS = 600
PRIMARY = (
    "The first comparison is the study's primary outcome, fixed in advance, at its own 5 %; all comparisons together "
    "are corrected by Holm's method, per measure."
)
SCOPE = (
    "An interval holds test identities and training seeds. It does not hold what is drawn once for all seeds: this "
    "data set, the generator (one training of it), the synthetic sets, the portion of the data that is withheld, the "
    "judges and the filter's control. With others of these the effect may differ."
)


@dataclass(frozen=True)
class Written:
    """A report that lies on the disk, and what it says."""

    page: Path
    headline: str
    tables: tuple[Table, ...]
    passed: bool  # whether no check of leakage or provenance has failed


def write(folder: Path) -> Path:
    """Write the page of the study in `folder` and its tables, as far as it is done; the path of the page.

    Raises:
        ValueError: no study, damaged files in it, or matplotlib is absent.
    """
    return run(folder).page


def run(folder: Path, out: Path | None = None, thumbnails: int = THUMBNAILS) -> Written:
    """As `write`, the tables in a folder beside the page. The same study gives the same bytes."""
    report_plots.require_plotting()
    found = report_study.read(folder)
    compared = report_study.comparisons(found)
    tables = (report_results.contrasts(compared), report_results.arms(found), report_results.trials(found))
    said, first = headline(found, compared), compared[0]
    asked = f"{first.arm} against {first.against}: {first.asks}" if first.asks else ""
    leads = (found.described["question"], asked, PRIMARY, found.described["note"], SCOPE)
    sections = [
        *_warnings(found),
        Section(
            "Results",
            (*tables[:2], *_unlearned(found, compared), *_plots(report_figures.gains(compared)), tables[2]),
        ),
        *_curves(found),
        *report_pictures.sections(found, first, thumbnails),
        *report_provenance.sections(found),
    ]
    page = Page(found.described["title"], said, tuple(filter(None, leads)), tuple(sections))
    path = out or folder / PAGE
    report_tables.write(tables, path.parent / TABLES)
    return Written(files.write_atomic(path, report_page.render(page)), said, tables, found.passed)


def _warnings(found: Found) -> list[Section]:
    """What a reader must know before any result."""
    parts: list[Part] = []
    if not found.passed:
        parts.append(Prose("A check of leakage or provenance failed: no result of this study counts.", warning=True))
    if not found.complete:
        parts.append(Prose(f"{progress(found)}. Each comparison uses the seeds that both its arms have.", warning=True))
    if found.failed:
        parts.append(report_results.failed(found))
    return [Section("What is missing", tuple(parts))] if parts else []


def _unlearned(found: Found, compared: list[Compared]) -> list[Part]:
    said = report_learning.warning(found, compared)
    return [Prose(said, warning=True)] if said else []


def _curves(found: Found) -> list[Section]:
    plots = [*report_figures.curves(found), *report_figures.learning(found)]
    return [Section("Curves", tuple(_plots(plots)))] if plots else []


def _plots(plots: list[report_page.Plot]) -> list[Part]:
    return [Plots(tuple(plots))] if plots else []
