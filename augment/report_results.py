"""The tables of a study: arms, comparisons, trials, synthetic sets, checks and units."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from augment import report_learning
from augment.comparison import Difference
from augment.report_study import Compared, Found, Results
from augment.report_tables import Cell, Column, Table, count, number, text
from augment.report_words import chance, detectable, interval, points

RANKS = ("1", "5", "10")
SCORES = ("mAP", *(f"rank-{rank}" for rank in RANKS), "mINP")
ARMS = (
    Column("arm", ("arm",), narrow=True),
    *(Column(f"{name}, %", (_key := name.replace("-", ""), f"{_key}_sd")) for name in SCORES),
    Column("seeds", ("seeds",)),
    Column("training accuracy, %", ("training_accuracy", "training_accuracy_sd")),
    Column("images seen", ("images_seen",)),
    Column("iterations", ("iterations",)),
    Column("what it is for", ("about",), wraps=True),
)
TRIALS = (
    Column("arm", ("arm",), facet=True),
    Column("seed", ("seed",), facet=True),
    *(Column(f"{name}, %", (name.replace("-", ""),)) for name in SCORES),
    Column("images seen", ("images_seen",)),
    Column("iterations", ("iterations",)),
    Column("minutes", ("seconds",)),
    Column("unit", ("unit",)),
)
CONTRASTS = (
    Column("arm", ("arm",), facet=True, narrow=True),
    Column("against", ("against",), facet=True, joined=True),
    Column("gain", ("gain",)),
    Column("95 % interval", ("low", "high")),
    Column("measure", ("measure",), facet=True),
    Column("p", ("p",)),
    Column("p, Holm", ("p_holm",)),
    Column("detectable", ("mde",)),
    Column("seeds", ("seeds",)),
    Column("of each seed", ("per_seed",)),
    Column("question", ("asks",), wraps=True),
)
CONTRASTS_NOTE = (
    "Gains in percentage points: a positive one is a gain of the arm over the one that it is held against, paired by "
    "seed. p is two-sided, of no effect; p, Holm is corrected for the number of the study's comparisons. Detectable: "
    "the effect that a study like this one finds significant with a chance of 80 %. Of one seed there is neither: no "
    "interval holds the noise of training then. Not estimable: the seeds are too few for their noise."
)
SETS = (
    Column("synthetic set", ("set",)),
    Column("arms", ("arms",), wraps=True),
    Column("images", ("images",)),
    Column("generator", ("generator",)),
    Column("SHA-256 of its weights", ("weights_sha256",)),
    Column("SHA-256 of the images", ("content_sha256",)),
    Column("made by", ("made_by",), wraps=True),
)
CHECKS = (
    Column("check", ("check",)),
    Column("result", ("result",), facet=True),
    Column("detail", ("detail",), wraps=True),
)
UNITS = (
    Column("unit", ("unit",)),
    Column("what", ("what",), wraps=True),
    Column("step", ("step",), facet=True),
    Column("state", ("state",), facet=True),
    Column("attempts", ("attempts",)),
    Column("minutes", ("seconds",)),
    Column("command", ("command",), wraps=True),
)
FAILED = (
    Column("unit", ("unit",)),
    Column("what", ("what",), wraps=True),
    Column("attempts", ("attempts",)),
    Column("what it said last", ("said",), wraps=True),
)


def arms(found: Found) -> Table:
    rows = [
        _arm(arm, [found.results[arm["name"], seed] for seed in found.seeds(arm["name"])],
             report_learning.last_accuracies(found, arm["name"]))
        for arm in found.arms
    ]  # fmt: skip
    note = (
        "Mean ± standard deviation over the seeds, of the last epoch; every seed is in the table of trials. Training "
        "accuracy is that on the training list."
    )
    return Table("arms", "Arms", ARMS, tuple(rows), note)


def trials(found: Found) -> Table:
    rows = []
    for arm in found.arms:
        for seed, unit in arm["trials"].items():
            if (results := found.results.get((arm["name"], int(seed)))) is None:
                continue
            scores = [number(100 * value, ".1f") for value in _scores(results)]
            seen = (count(results["images_seen"]), count(results["iterations"]), minutes(results["seconds"]))
            rows.append((text(arm["name"]), Cell(seed, (int(seed),)), *scores, *seen, text(unit)))
    return Table("trials", "Trials: every seed", TRIALS, tuple(rows))


def contrasts(compared: Sequence[Compared]) -> Table:
    rows = [
        (text(each.arm), text(each.against), *_gain(gain, measure, each.adjusted[measure]), text(each.asks))
        for measure in ("mAP", "rank-1")
        for each in compared
        if (gain := each.gains.get(measure)) is not None
    ]
    return Table("contrasts", "Comparisons", CONTRASTS, tuple(rows), CONTRASTS_NOTE)


def sets(found: Found) -> Table:
    """As the trials recorded them."""
    rows = []
    for place, users in found.sets().items():
        held = _recorded(found, users, place)
        generator = held.get("generator") or {}
        named = " ".join(str(generator[key]) for key in ("model", "preset") if generator.get(key))
        digests = (generator.get("weights_sha256") or "–", held.get("content_sha256", "–"))
        rows.append(
            (text(place), text(_users(found, users)), count(held.get("images")), text(named or "–"),
             *map(text, digests), text(found.made_by(place)))
        )  # fmt: skip
    note = (
        "A set of the first seed; where sets are made anew for every seed, each trial's results.json names its own. "
        "Count only: the arm takes the number of its images, and trains on copies of real ones in their place."
    )
    return Table("sets", "Synthetic sets", SETS, tuple(rows), note)


def _users(found: Found, arms: Sequence[str]) -> str:
    """The arms that train on a set, then those that take its count alone."""
    trained = [arm for arm in arms if found.trains(arm)]
    return ", ".join([*trained, *(f"{arm} (count only)" for arm in arms if arm not in trained)])


def checks(audit: Mapping[str, Any]) -> Table:
    rows = [
        (text(check["name"]), text("passed" if check["passed"] else "FAILED"), text(check["detail"]))
        for check in audit["checks"]
    ]
    return Table("audit", "Leakage and provenance checks", CHECKS, tuple(rows))


def units(found: Found) -> Table:
    rows = [
        (text(unit.name), text(unit.label), text(unit.command), text(unit.state), count(unit.attempts),
         minutes(unit.seconds), text(shlex.join(["augment", *unit.argv])))
        for unit in found.units.values()
    ]  # fmt: skip
    note = (
        f"The commands are run in the folder {found.described['units_folder']} of the study, after those that make "
        "what they read."
    )
    return Table("units", "Units and their commands", UNITS, tuple(rows), note)


def failed(found: Found) -> Table:
    rows = [(text(unit.name), text(unit.label), count(unit.attempts), text(unit.said)) for unit in found.failed]
    note = "`augment ablate` with --retry-failed tries them again; the whole log is log.txt in the unit's folder."
    return Table("failed", "Units that failed", FAILED, tuple(rows), note)


def minutes(seconds: float | None) -> Cell:
    return Cell("–" if seconds is None else f"{seconds / 60:,.1f}", (seconds,))


def _arm(arm: Mapping[str, Any], results: Sequence[Results], learned: Sequence[float]) -> tuple[Cell, ...]:
    columns = list(zip(*map(_scores, results), strict=True)) or [()] * len(SCORES)
    seen = [_span([each[key] for each in results]) for key in ("images_seen", "iterations")]
    return (
        text(arm["name"]), *map(_mean_sd, columns), count(len(results)), _mean_sd(learned), *seen, text(arm["about"]),
    )  # fmt: skip


def _scores(results: Results) -> list[float]:
    return [results["mAP"], *(results["cmc"][rank] for rank in RANKS), results["mINP"]]


def _mean_sd(values: Sequence[float]) -> Cell:
    """Fractions as percent."""
    if not values:
        return Cell("–", (None, None))
    mean, sd = 100 * statistics.fmean(values), 100 * statistics.stdev(values) if len(values) > 1 else None
    return Cell(f"{mean:.1f}" if sd is None else f"{mean:.1f} ± {sd:.1f}", (mean, sd))


def _span(values: Sequence[int]) -> Cell:
    if len(set(values)) < 2:
        return count(values[0] if values else None)
    return Cell(f"{min(values):,} to {max(values):,}", (round(statistics.fmean(values)),))


def _gain(gain: Difference, measure: str, adjusted: float | None) -> tuple[Cell, ...]:
    each = ", ".join(points(value, signed=True) for value in gain.per_seed)
    exact = " ".join(f"{100 * value:.6f}" for value in gain.per_seed)
    return (
        Cell(points(gain.mean, signed=True), (100 * gain.mean,)),
        Cell(interval(gain, signed=True), (100 * gain.low, 100 * gain.high)),
        text(measure),
        *(Cell(chance(value), (value,)) for value in (gain.p, adjusted)),
        Cell(detectable(gain), (None if gain.mde is None else 100 * gain.mde,)),
        count(len(gain.per_seed)),
        Cell(each, (exact,)),
    )


def _recorded(found: Found, users: Sequence[str], place: str) -> Mapping[str, Any]:
    """What the first finished trial that used a set says of it."""
    for arm in found.arms:
        if arm["name"] in users and (results := found.results.get((arm["name"], found.described["seeds"][0]))):
            return results["provenance"]["synthetic"][arm["sets"].index(place)]
    return {}
