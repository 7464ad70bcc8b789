"""The figures of a study: what report_plots draws, out of results and training logs."""

from collections.abc import Mapping, Sequence

import numpy as np

from augment import report_learning, report_plots
from augment.comparison import Difference
from augment.report_page import Plot
from augment.report_plots import Band
from augment.report_study import MEASURES, Compared, Found, level
from augment.report_words import interval, points

LEARNING = {"loss": "loss", "accuracy": "accuracy on the training list"}
FEWEST = 2  # points that make a line
TOGETHER = 8  # arms in a drawing of learning curves that can be told apart
GAINS = "Gain in {}: mean (diamond), 95 % interval (line) and each seed (dots)."


def gains(compared: list[Compared]) -> list[Plot]:
    """A figure a measure."""
    found = {
        measure: {f"{each.arm} − {each.against}": each.gains[measure] for each in compared if each.gains}
        for measure in MEASURES
    }
    return [
        report_plots.gains(gains, f"gains-{measure}", f"Gains in {measure}. {_spoken(gains)}", GAINS.format(measure))
        for measure, gains in found.items()
        if gains
    ]


def curves(found: Found) -> list[Plot]:
    """mAP over what the study sweeps, if it sweeps anything and two points of it are done."""
    series: dict[str, list[tuple[float, Difference]]] = {}
    for arm in found.arms:
        if arm["curve"] and (seeds := found.seeds(arm["name"])):
            name, place = arm["curve"]
            reached = level([found.results[arm["name"], seed] for seed in seeds], "mAP")
            series.setdefault(name, []).append((float(place), reached))
    lines = {name: sorted(line, key=lambda point: point[0]) for name, line in series.items()}
    if max(map(len, lines.values()), default=0) < FEWEST:
        return []
    axis = found.described["axis"]
    said = "; ".join(
        f"{name}: " + ", ".join(f"{points(reached.mean)} at {place:g}" for place, reached in line)
        for name, line in lines.items()
    )
    caption = (
        f"mAP over {axis or 'what is swept'}, with 95 % intervals over test identities and seeds. They are wider than "
        "those of the gains: test identities differ in difficulty, which a gain on the same identities leaves out."
    )
    return [report_plots.curves(lines, axis, f"mAP over {axis}. {said}", caption)]


def learning(found: Found) -> list[Plot]:
    """Loss and accuracy of each arm as its training went on."""
    plots = []
    for measure, words in LEARNING.items():
        bands = {arm["name"]: band for arm in found.arms if (band := _band(found, arm["name"], measure))}
        if bands:
            ends = "; ".join(f"{name} {values[:, -1].mean():.2f}" for name, (_, values) in bands.items())
            caption = f"{words.capitalize()}: mean over the seeds, shaded from the lowest to the highest seed."
            alt = f"Learning curves, {words}; at the end: {ends}"
            plots.append(report_plots.learning(words, _panels(found, bands), alt, caption))
    return plots


def _band(found: Found, arm: str, measure: str) -> Band | None:
    """What the seeds of an arm logged, as far as the shortest of them goes; None where that is no line."""
    logs = report_learning.logs(found, arm, measure)
    shortest = min((len(places) for places, _ in logs), default=0)
    if shortest < FEWEST:
        return None
    return logs[0][0][:shortest], np.stack([values[:shortest] for _, values in logs])


def _panels(found: Found, bands: Mapping[str, Band]) -> list[dict[str, Band]]:
    """All in one where they can be told apart; else arms without random erasing before those with it, a few each."""
    if len(bands) <= TOGETHER:
        return [dict(bands)]
    erased = {arm["name"] for arm in found.arms if "--erase" in arm["options"]}
    halves: list[Sequence[str]] = [[name for name in bands if (name in erased) == with_it] for with_it in (False, True)]
    return [
        {name: bands[name] for name in half[start : start + TOGETHER]}
        for half in halves
        for start in range(0, len(half), TOGETHER)
    ]


def _spoken(gains: Mapping[str, Difference]) -> str:
    return "; ".join(
        f"{label}: {points(gain.mean, signed=True)}, {interval(gain, signed=True)}" for label, gain in gains.items()
    )
