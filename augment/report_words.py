"""What a study found, in plain words: the sentence that a report begins with."""

from collections.abc import Sequence

from augment.comparison import Difference
from augment.report_study import Compared, Found, comparisons, erasing_alone

UNKNOWN = "not estimable"


def headline(found: Found, compared: Sequence[Compared] | None = None) -> str:
    """The study's first comparison, and random erasing alone beside it; of a failed audit, that alone.

    Synthetic images add 2.1 mAP (95 % interval 1.2 to 3.0, p < 0.001, Holm p 0.004, 5 seeds); random erasing alone
    adds 3.0 (95 % interval 2.0 to 4.0, 5 seeds).
    """
    if not found.passed:
        return _unsound(found)
    compared = comparisons(found) if compared is None else compared
    said = f"{_first(compared[0], *_subject(found, compared[0]))}{_beside(erasing_alone(found, compared))}."
    return said if found.complete else f"{progress(found)}. {said}"


def progress(found: Found) -> str:
    """How much there is of a study that has not ended."""
    return f"Incomplete: {len(found.results)} of {found.trials} trials"


def points(value: float, *, signed: bool = False) -> str:
    """A fraction in percentage points; what rounds to zero has no sign."""
    rounded = round(100 * value, 1) or 0.0
    return f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"


def interval(gain: Difference, *, signed: bool = False) -> str:
    return f"{points(gain.low, signed=signed)} to {points(gain.high, signed=signed)}" if is_bounded(gain) else UNKNOWN


def detectable(gain: Difference) -> str:
    """The minimum detectable effect, in percentage points."""
    if len(gain.per_seed) == 1 or are_identical(gain):
        return "–"
    return points(gain.mde) if _has_mde(gain) and gain.mde is not None else UNKNOWN


def chance(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def is_bounded(gain: Difference) -> bool:
    """Whether the interval ends before what no gain can exceed."""
    return gain.low > -1 and gain.high < 1


def is_evident(gain: Difference) -> bool:
    """Whether the interval leaves zero out, and holds the noise of training."""
    return len(gain.per_seed) > 1 and is_bounded(gain) and (gain.low > 0 or gain.high < 0)


def are_identical(gain: Difference) -> bool:
    """Whether no seed differs, as where both arms are the same training."""
    return not any((*gain.per_seed, gain.low, gain.high))


def seeds_of(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _unsound(found: Found) -> str:
    checks = [check for check in (found.audit or {})["checks"] if not check["passed"]]
    first = f": {checks[0]['name']}: {checks[0]['detail'].rstrip('.')}" if checks else ""
    more = f" (and {len(checks) - 1} more)" if len(checks) > 1 else ""
    return f"The audit failed{first}{more}; no result is claimed."


def _subject(found: Found, first: Compared) -> tuple[str, str, str]:
    """Who adds, who costs, and of what an effect is."""
    sets = {arm["name"]: arm["sets"] for arm in found.arms}
    if sets[first.arm] and not sets[first.against]:
        return "Synthetic images add", "Synthetic images cost", "synthetic images"
    whose = f"{first.arm}, against {first.against},"
    return f"{whose} adds", f"{whose} costs", whose.rstrip(",")


def _first(first: Compared, adds: str, costs: str, whose: str) -> str:
    if not first.gains:
        return f"There is no seed yet for which both {first.arm} and {first.against} are done"
    gain = first.gains["mAP"]
    if are_identical(gain):
        return f"There is no evidence of an effect of {whose}: the trials of both arms are identical"
    ps = [] if gain.p is None else [f"p {chance(gain.p)}"]
    if is_evident(gain):
        if (adjusted := first.adjusted.get("mAP")) is not None:
            ps.append(f"Holm p {chance(adjusted)}")
        return f"{adds if gain.mean > 0 else costs} {points(abs(gain.mean))} mAP {_bounds(gain, ps)}"
    found = f"{points(gain.mean, signed=True)} mAP {_bounds(gain, ps)}"
    if len(gain.per_seed) == 1:
        return f"No effect of {whose} is claimed: {found}; one seed: no interval holds the noise of training"
    seen = "the effect that this study could have seen is not estimable"
    if _has_mde(gain) and is_bounded(gain):
        seen = f"this study could have seen an effect of {detectable(gain)} with a chance of 80 %"
    return f"There is no evidence of an effect of {whose}: {found}; {seen}"


def _beside(erasing: Compared | None) -> str:
    """What the strong cheap augmentation does alone."""
    if erasing is None or not erasing.gains:
        return ""
    gain = erasing.gains["mAP"]
    if are_identical(gain):
        return "; random erasing alone: the trials of both arms are identical"
    if is_evident(gain):
        return f"; random erasing alone {'adds' if gain.mean > 0 else 'costs'} {points(abs(gain.mean))} {_bounds(gain)}"
    none = ["no evidence of an effect"] if len(gain.per_seed) > 1 else []
    return f"; random erasing alone: {points(gain.mean, signed=True)} {_bounds(gain, (), none)}"


def _bounds(gain: Difference, ps: Sequence[str] = (), notes: Sequence[str] = ()) -> str:
    return f"({', '.join([f'95 % interval {interval(gain)}', *ps, seeds_of(len(gain.per_seed)), *notes])})"


def _has_mde(gain: Difference) -> bool:
    """Whether an effect that is possible at all would be seen."""
    return gain.mde is not None and gain.mde <= 1
