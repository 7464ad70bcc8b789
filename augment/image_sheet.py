"""The best, median and worst generated images by some metrics, each with its source, target pose and true image."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from augment import sheets
from augment.image_entries import Measured
from augment.image_metrics import METRICS

RANKED_BY = ("ssim", "lpips", "identity_similarity", "detection_score")  # the first two that there are
METRIC_COUNT = 2
EACH = 4  # images of a kind


def write_sheet(path: Path, measured: Measured) -> list[str]:
    """Write the sheet, if any of these metrics has a value; the lines to be logged."""
    compared = measured.compared
    names = [name for name in RANKED_BY if np.isfinite(measured.generated.get(name, np.empty(0))).any()][:METRIC_COUNT]
    if not names:
        return [f"no sheet {path}: none of {', '.join(RANKED_BY)} was computed, by which images are ranked"]
    chosen: list[tuple[str, str, int]] = []
    ranked = {name: _ranked(measured.generated[name], METRICS[name].better) for name in names}
    for kind in ("best", "median", "worst"):  # one a column of the sheet
        each = min(EACH, *(-(-len(rows) // 3) for rows in ranked.values()))
        for name, rows in ranked.items():
            middle = (len(rows) - each) // 2
            places = {"best": rows[:each], "median": rows[middle : middle + each], "worst": rows[::-1][:each]}
            chosen += [(kind, name, row) for row in places[kind].tolist()]
    rows = np.asarray([row for *_, row in chosen])
    generated = compared.generated(rows)
    cells = []
    for row, image in zip(rows, generated, strict=True):
        one = np.asarray([row])
        cells.append((
            None if compared.source is None else compared.source(one)[0],
            None if compared.poses is None else sheets.draw_skeleton(compared.poses[row], compared.size),
            image,
            compared.true(one)[0] if compared.paired[row] else None,
        ))  # fmt: skip
    titles = ("source", "target pose", "generated", "true")
    shown = [column for column in range(len(titles)) if any(cell[column] is not None for cell in cells)]
    sheets.write_sheet(
        path,
        [[cell[column] for column in shown] for cell in cells],
        [titles[column] for column in shown],
        groups=3,
        labels=[_label(measured, *each) for each in chosen],
        head=f"best, median and worst of {len(compared):,} images by {' and '.join(names)}",
    )
    return []


def _label(measured: Measured, kind: str, name: str, row: int) -> str:
    compared = measured.compared
    who = f", person {compared.people[row]}" if compared.unit == "identities" else ""
    return f"{kind} {name} {measured.generated[name][row]:.3f}{who}"


def _ranked(values: np.ndarray, better: str) -> Int64[np.ndarray, " m"]:
    """Rows with a value, the best first; of equal ones the first of all."""
    rows = np.flatnonzero(np.isfinite(values))
    return rows[np.argsort(values[rows] * (-1 if better == "higher" else 1), kind="stable")]
