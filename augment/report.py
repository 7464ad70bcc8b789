"""Stage: the page of a few trials against one baseline, such as the demo's; that of a study is study_report's."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment import files, report_page, report_plots
from augment.comparison import Difference, compare
from augment.report_page import Facts, Page, Picture, Plots, Section
from augment.report_plots import require_plotting
from augment.report_tables import Cell, Column, Table, count, number, text

__all__ = ["Sheet", "Trial", "compare_arms", "headline", "require_plotting", "run", "table"]

MEASURES = {"ap": "mAP", "rank1": "rank-1"}
RANKS = ("1", "5", "10", "20")
TRIALS = (
    Column("training data", ("arm",), facet=True),
    Column("seed", ("seed",)),
    Column("mAP, %", ("mAP",)),
    *(Column(f"rank-{rank}, %", (f"rank{rank}",)) for rank in RANKS),
    Column("images seen", ("images_seen",)),
)
DIFFERENCES = (
    Column("training data", ("arm",)),
    Column("measure", ("measure",)),
    Column("difference", ("difference",)),
    Column("95 % interval", ("low", "high")),
    Column("of each seed", ("per_seed",)),
    Column("SD over seeds", ("sd",)),
)


@dataclass(frozen=True)
class Trial:
    """One finished `train-reid` run: its arm, its seed, its results.json."""

    arm: str
    seed: int
    results: Mapping[str, Any]


@dataclass(frozen=True)
class Sheet:
    """A contact sheet of the page, a PNG or JPEG."""

    title: str
    caption: str
    path: Path


def run(
    trials: Sequence[Trial],
    baseline: str,
    out: Path,
    *,
    title: str,
    note: str = "",
    sheets: Sequence[Sheet] = (),
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write `out` (report.html): headline, tables, plot, contact sheets, provenance.

    Raises:
        ValueError: arms that cannot be paired, or matplotlib is absent.
    """
    differences = compare_arms(trials, baseline)
    said = headline(differences, baseline)
    gains = {f"{arm} − {baseline}, {measure}": found for (arm, measure), found in differences.items()}
    caption = f"Difference to {baseline}: mean (diamond) with its 95 % interval (line) and each seed (dots)."
    plot = report_plots.gains(gains, "gains", f"Differences to {baseline}. {said}", caption)
    facts = {name: str(value) for name, value in (provenance or {}).items()}
    sections = [
        Section("Results", (_trials(trials),)),
        Section(f"Differences to {baseline}", (_differences(differences), Plots((plot,)))),
        *(Section(sheet.title, (Picture(sheet.path, sheet.title, sheet.caption),)) for sheet in sheets),
        Section("Provenance", (Facts(facts),)),
    ]
    page = Page(title, said, (note,) if note else (), tuple(sections))
    return files.write_atomic(out, report_page.render(page))


def compare_arms(trials: Sequence[Trial], baseline: str) -> dict[tuple[str, str], Difference]:
    """Every other arm against the baseline, by (arm, measure); trials are paired by seed."""
    arms = list(dict.fromkeys(trial.arm for trial in trials))
    by_arm = {arm: sorted((t for t in trials if t.arm == arm), key=lambda trial: trial.seed) for arm in arms}
    found = {}
    for arm in arms:
        if arm == baseline:
            continue
        if [trial.seed for trial in by_arm[arm]] != [trial.seed for trial in by_arm.get(baseline, [])]:
            raise ValueError(f"arm {arm} and {baseline} have different seeds; run the missing trials")
        pair = ([trial.results for trial in by_arm[name]] for name in (baseline, arm))
        old, new = pair
        for measure, name in MEASURES.items():
            found[arm, name] = compare(old, new, measure)
    return found


def headline(differences: Mapping[tuple[str, str], Difference], baseline: str) -> str:
    """The result in plain words, whatever it is."""
    sentences = []
    for (arm, measure), found in differences.items():
        if measure != "mAP":
            continue
        change = "adds" if found.mean >= 0 else "costs"
        if found.low > 0 or found.high < 0:
            verdict = "the interval excludes zero"
        else:
            verdict = "the interval includes zero, so this is no evidence of an effect"
        sentences.append(
            f"Against {baseline}, {arm} {change} {abs(100 * found.mean):.1f} points of mAP "
            f"(95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f}, {len(found.per_seed)} seeds): "
            f"{verdict}."
        )
    return " ".join(sentences)


def table(trials: Sequence[Trial], baseline: str) -> str:
    """The comparison for a terminal: a row an arm, mean and spread over seeds, then the differences."""
    lines = [f"{'training data':<28}{'mAP':>16}{'rank-1':>16}"]
    for arm in dict.fromkeys(trial.arm for trial in trials):
        chosen = [trial.results for trial in trials if trial.arm == arm]
        values = [[found["mAP"] for found in chosen], [found["cmc"]["1"] for found in chosen]]
        lines.append(f"{arm:<28}" + "".join(f"{_mean_sd(column):>16}" for column in values))
    for (arm, measure), found in compare_arms(trials, baseline).items():
        lines.append(
            f"{arm} - {baseline}, {measure}: {100 * found.mean:+.1f} (95 % interval {100 * found.low:+.1f} to "
            f"{100 * found.high:+.1f}; seeds {', '.join(f'{100 * value:+.1f}' for value in found.per_seed)})"
        )
    return "\n".join(lines)


def _mean_sd(values: Sequence[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


def _trials(trials: Sequence[Trial]) -> Table:
    rows = []
    for trial in trials:
        found = trial.results
        scores = [number(100 * value, ".1f") for value in (found["mAP"], *(found["cmc"][rank] for rank in RANKS))]
        rows.append((text(trial.arm), count(trial.seed), *scores, count(found["images_seen"])))
    return Table("trials", "Trials", TRIALS, tuple(rows))


def _differences(differences: Mapping[tuple[str, str], Difference]) -> Table:
    rows, seeds = [], 0
    for (arm, measure), found in differences.items():
        seeds = len(found.per_seed)
        mean, low, high = 100 * found.mean, 100 * found.low, 100 * found.high
        each = ", ".join(f"{100 * value:+.1f}" for value in found.per_seed)
        spread = number(None if found.sd is None else 100 * found.sd, ".1f")
        bounds = Cell(f"{low:+.1f} to {high:+.1f}", (low, high))
        rows.append((text(arm), text(measure), number(mean, "+.1f"), bounds, text(each), spread))
    note = (
        "All values in percentage points. The interval covers test identities and seeds together; with "
        f"{seeds} seed{'s' * (seeds != 1)} it is a rough one."
    )
    return Table("differences", "Differences", DIFFERENCES, tuple(rows), note)
