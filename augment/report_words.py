"""What a study found, in plain words: the sentence that a report begins with."""

from collections.abc import Sequence

from augment.comparison import Difference
from augment.report_study import Compared, Found, comparisons, erasing_alone


def headline(found: Found, compared: Sequence[Compared] | None = None) -> str:
    """The study's first comparison, and random erasing alone beside it.

    Synthetic images add 2.1 mAP (95 % interval 1.2 to 3.0, 5 seeds); random erasing alone adds 3.0.
    """
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
    return f"{points(gain.low, signed=signed)} to {points(gain.high, signed=signed)}"


def is_evident(gain: Difference) -> bool:
    """Whether the interval leaves zero out."""
    return gain.low > 0 or gain.high < 0


def seeds_of(count: int) -> str:
    return "1 seed, so that the noise of training is in no interval" if count == 1 else f"{count} seeds"


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
    bounds = f"(95 % interval {interval(gain)}, {seeds_of(len(first.seeds))})"
    if is_evident(gain):
        return f"{adds if gain.mean > 0 else costs} {points(abs(gain.mean))} mAP {bounds}"
    seen = ""
    if gain.mde is not None:
        seen = f"; this study could have seen an effect of {points(gain.mde)} with a chance of 80 %"
    return f"There is no evidence of an effect of {whose}: {points(gain.mean, signed=True)} mAP {bounds}{seen}"


def _beside(erasing: Compared | None) -> str:
    """What the strong cheap augmentation does alone."""
    if erasing is None or not erasing.gains:
        return ""
    gain = erasing.gains["mAP"]
    if is_evident(gain):
        return f"; random erasing alone {'adds' if gain.mean > 0 else 'costs'} {points(abs(gain.mean))}"
    shown = points(gain.mean, signed=True)
    return f"; random erasing alone: {shown} (95 % interval {interval(gain)}, no evidence of an effect)"
