"""What the trainings of a study logged, and a warning where arms have not learned their training images."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from augment.report_study import Compared, Found

APART = 0.1  # of accuracy, by which two arms that are compared may differ
LEAST = 0.9  # accuracy of a training that has learned its images
MOST = 6  # arms that a warning names
Log = tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]  # images seen, and a measure, of each epoch


def logs(found: Found, arm: str, measure: str) -> list[Log]:
    """Of the seeds that are done and left a log.

    Raises:
        ValueError: a log that is damaged.
    """
    trials = next(each["trials"] for each in found.arms if each["name"] == arm)
    paths = [found.units_folder / trials[str(seed)] / "run" / "epochs.csv" for seed in found.seeds(arm)]
    return [_log(path, measure) for path in paths if path.exists()]


def last_accuracies(found: Found, arm: str) -> list[float]:
    """Accuracy on the training list in the last epoch, of each seed."""
    return [float(values[-1]) for _, values in logs(found, arm, "accuracy") if len(values)]


def warning(found: Found, compared: Sequence[Compared]) -> str:
    """Empty where the arms of every comparison have learned their training images, and alike."""
    reached = {
        arm: float(np.mean(values))
        for arm in dict.fromkeys(arm for each in compared for arm in (each.arm, each.against))
        if (values := last_accuracies(found, arm))
    }
    low = [arm for arm, value in reached.items() if value < LEAST]
    apart = [
        f"{each.arm} and {each.against}"
        for each in compared
        if {each.arm, each.against} <= reached.keys() and abs(reached[each.arm] - reached[each.against]) > APART
    ]
    told = [
        f"below {100 * LEAST:.0f} %: {_listed([f'{arm} ({100 * reached[arm]:.0f} %)' for arm in low])}" if low else "",
        f"more than {100 * APART:.0f} points apart: {_listed(apart)}" if apart else "",
    ]
    if not any(told):
        return ""
    return (
        "Accuracy on the training list in the last epoch is "
        f"{'; '.join(filter(None, told))}. These arms have not learned their training images; longer training may "
        "change the order."
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST
    return "; ".join(names[:MOST]) + (f" and {more} more" if more > 0 else "")


def _log(path: Path, measure: str) -> Log:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        places, values = ([float(row[key]) for row in rows] for key in ("images_seen", measure))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path}: no log of a training, or a damaged one; restore it or remove it") from None
    return np.asarray(places), np.asarray(values)
