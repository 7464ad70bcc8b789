"""Drawings of a report as SVG: gains with intervals, curves over what a study sweeps, learning curves.

Colours are those of Okabe and Ito (Color Universal Design, 2008), told apart by the colour-blind; lines of one colour
differ in dashes and markers. A drawing is as wide as a phone, so that its words stay readable there.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from augment.comparison import Difference
from augment.report_page import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("-", "--", ":", "-.")
MARKERS = "osD^v"
INK, GREY = "#1b1f24", "#57606a"
TYPICAL, ROOM = 0.8, 1.3  # an axis of gains that is cut: the reach that so many keep within, and a bit
FAR = 1.5  # times that, and the axis is cut
WIDTH = 4.1  # inches, of 72 points
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
CUT = " An arrow: an interval or a seed is beyond the drawing; the table has its numbers."
SILENT = {"Date": None, "Creator": None, "Format": None, "Type": None}
Band = tuple[Float[np.ndarray, " n"], Float[np.ndarray, "seeds n"]]  # places, and values of each seed


def require_plotting() -> None:
    """Say at the start, not after an hour, that plots cannot be drawn.

    Raises:
        ValueError: matplotlib is absent.
    """
    try:
        import matplotlib as _  # noqa: F401 (only whether it is there)
    except ImportError:
        raise ValueError("the report needs matplotlib: pip install 'reid-augment[report]'") from None


def gains(found: Mapping[str, Difference], name: str, alt: str, caption: str) -> Plot:
    """Each gain under its label: mean, interval, and a dot for every seed, in percentage points.

    Where a few reach much further than the others, the axis is cut, and an arrow stands where something is beyond it.
    """
    edge = _edge(list(found.values()))
    cut = False
    with drawing(0.55 + 0.62 * len(found)) as (figure, [axes]):
        for row, (label, gain) in enumerate(found.items()):
            axes.plot([100 * gain.low, 100 * gain.high], [row, row], color=COLOURS[0], linewidth=2)
            below = np.full(len(gain.per_seed), row + 0.2)
            axes.plot(100 * np.asarray(gain.per_seed), below, "o", color=COLOURS[1], markersize=4, alpha=0.8)
            axes.plot([100 * gain.mean], [row], "D", color=COLOURS[0], markersize=6)
            for end, arrow in ((-edge, "<"), (edge, ">")):
                if max(value * np.sign(end) for value in (gain.low, gain.high, *gain.per_seed)) > edge:
                    axes.plot([100 * end], [row], arrow, color=COLOURS[0], markersize=8, clip_on=False, zorder=4)
                    cut = True
            axes.text(0.01, row - 0.22, label, transform=axes.get_yaxis_transform(), va="bottom")
        axes.axvline(0, color=GREY, linewidth=1, linestyle="--")
        axes.set_ylim(len(found) - 0.6, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.08)
        if cut:
            low, high = (100 * bound for bound in (-edge, edge))
            axes.set_xlim(max(low, axes.get_xlim()[0]), min(high, axes.get_xlim()[1]))
        axes.set_xlabel("percentage points")
        return Plot(svg(figure, name), alt, caption + (CUT if cut else ""))


def curves(series: Mapping[str, Sequence[tuple[float, Difference]]], axis: str, alt: str, caption: str) -> Plot:
    """mAP over what is swept, a line a series, with the interval of each point."""
    every = sorted({place for line in series.values() for place, _ in line})
    shift = 0.012 * (every[-1] - every[0])  # so that intervals do not hide one another
    with drawing(3.4) as (figure, [axes]):
        for number, (name, line) in enumerate(series.items()):
            levels = [level for _, level in line]
            places = np.asarray([place for place, _ in line]) + shift * (number - (len(series) - 1) / 2)
            means = np.asarray([level.mean for level in levels])
            bars = np.abs(np.asarray([[level.low for level in levels], [level.high for level in levels]]) - means)
            colour, dashes, marker = look(number)
            axes.errorbar(
                places, 100 * means, yerr=100 * bars, color=colour, linestyle=dashes, marker=marker, capsize=3,
                label=name,
            )  # fmt: skip
        axes.set_xticks(every, [f"{place:g}" for place in every])
        axes.set_xlabel(axis)
        axes.set_ylabel("mAP, %")
        explain(figure, axes)
        return Plot(svg(figure, "curves"), alt, caption)


def learning(measure: str, panels: Sequence[Mapping[str, Band]], alt: str, caption: str) -> Plot:
    """A measure of each arm over the images it has seen: mean over the seeds, from the lowest to the highest seed.

    Panels stand below one another, each with its legend, and share their scales.
    """
    height = sum(3.2 + 0.17 * len(arms) for arms in panels)
    with drawing(height, [1] * len(panels)) as (figure, panes):
        for axes, arms in zip(panes, panels, strict=True):
            for number, (name, (places, values)) in enumerate(arms.items()):
                colour, dashes, _ = look(number)
                axes.fill_between(places, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
                axes.plot(places, values.mean(axis=0), color=colour, linestyle=dashes, linewidth=1.6, label=name)
            axes.set_xlabel("training images seen")
            axes.set_ylabel(measure)
            axes.locator_params(axis="x", nbins=5)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            if len(panels) > 1:
                axes.legend(loc="upper left", bbox_to_anchor=(-0.12, -0.2), ncols=_columns(list(arms)))
                axes.sharex(panes[0])
                axes.sharey(panes[0])
        if len(panels) == 1:
            explain(figure, panes[0])
        panes[0].autoscale()
        return Plot(svg(figure, f"learning-{measure}"), alt, caption)


@contextmanager
def drawing(height: float, parts: Sequence[int] = (1,)) -> "Iterator[tuple[Figure, list[Axes]]]":
    """An empty drawing of so many inches in the report's style, divided into parts below one another."""
    require_plotting()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        grid = figure.subplots(len(parts), 1, height_ratios=parts, squeeze=False)
        for axes in grid[:, 0]:
            axes.grid(color="#e1e4e8", linewidth=0.7)
            axes.set_axisbelow(True)
        yield figure, list(grid[:, 0])


def explain(figure: "Figure", axes: "Axes") -> None:
    """A legend below."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=_columns(labels))


def _columns(labels: Sequence[str]) -> int:
    """Of a legend."""
    return 1 if max(map(len, labels)) > 24 else 2


def _edge(gains: Sequence[Difference]) -> float:
    """How far to either side the axis goes, as a fraction: as far as needed, unless few gains need much more."""
    reaches = [max(map(abs, (gain.low, gain.high, *gain.per_seed))) for gain in gains]
    typical = ROOM * float(np.quantile(reaches, TYPICAL, method="lower"))
    edge = max(typical, *(abs(gain.mean) * ROOM for gain in gains))
    return edge if max(reaches) > FAR * edge > 0 else max(reaches)


def look(number: int) -> tuple[str, str, str]:
    """Colour, dashes and marker of a line, for as many as a legend can hold."""
    turn = number // len(COLOURS)
    return COLOURS[number % len(COLOURS)], DASHES[turn % len(DASHES)], MARKERS[number % len(MARKERS)]


def svg(figure: "Figure", name: str) -> str:
    """The markup; what it refers to within itself carries `name`, so that several stand on one page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=SILENT)
    markup = text.getvalue()[text.getvalue().index("<svg") :]
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{re.sub(r'[^a-z0-9]+', '-', name.lower())}-", markup)
