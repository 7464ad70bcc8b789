"""Stage: one self-contained HTML page that says what the augmentation did."""

import base64
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from augment import files
from augment.comparison import Difference, compare

MEASURES = {"ap": "mAP", "rank1": "rank-1"}
RANKS = ("1", "5", "10", "20")
MEDIA = {".png": "image/png", ".jpg": "image/jpeg"}  # of a sheet, by its suffix


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
    template = resources.files("augment").joinpath("templates/report.html").read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(template).render(
        title=title,
        headline=headline(differences, baseline),
        note=note,
        baseline=baseline,
        seeds=len({trial.seed for trial in trials}),
        trials=[_row(trial) for trial in trials],
        differences=[{"arm": arm, "measure": measure, **vars(found)} for (arm, measure), found in differences.items()],
        plot=Markup(_plot(differences)),
        sheets=[vars(sheet) | {"source": _embedded(sheet.path)} for sheet in sheets],
        provenance=provenance or {},
    )  # fmt: skip
    return files.write_atomic(out, page.encode())


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


def _row(trial: Trial) -> dict[str, Any]:
    found = trial.results
    cmc = [found["cmc"][rank] for rank in RANKS]
    return {"arm": trial.arm, "seed": trial.seed, "mAP": found["mAP"], "cmc": cmc, "images_seen": found["images_seen"]}


def _embedded(path: Path) -> str:
    """A picture as part of the page itself."""
    return f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def require_plotting() -> None:
    """Say at the start, not after an hour, that plots cannot be drawn.

    Raises:
        ValueError: matplotlib is absent.
    """
    try:
        import matplotlib as _  # noqa: F401 (only whether it is there)
    except ImportError:
        raise ValueError("the report needs matplotlib: pip install 'reid-augment[report]'") from None


def _plot(differences: Mapping[tuple[str, str], Difference]) -> str:
    """An SVG of every difference with its interval."""
    require_plotting()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.7 + 0.5 * len(differences)), layout="constrained")
    axes = figure.subplots()
    for row, found in enumerate(differences.values()):
        axes.plot([100 * found.low, 100 * found.high], [row, row], color="#2f6fb3", linewidth=2)
        axes.plot(
            [100 * value for value in found.per_seed],
            [row] * len(found.per_seed),
            "o",
            color="#c26a1a",
            markersize=5,
            zorder=3,
        )
        axes.plot([100 * found.mean], [row], "D", color="#2f6fb3")
    axes.axvline(0, color="#57606a", linewidth=1, linestyle="--")
    axes.set_yticks(range(len(differences)), [f"{arm}, {measure}" for arm, measure in differences])
    axes.margins(y=0.4)
    axes.invert_yaxis()
    axes.set_xlabel("percentage points")
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
