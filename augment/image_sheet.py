"""The best, median and worst generated images by each metric of single images, beside source, target pose and truth."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from augment import sheets
from augment.image_entries import Measured
from augment.image_metrics import METRICS
from augment.image_pairs import Compared

# The first ones that there are; those that say something else come before variants of what was said.
RANKED_BY = (
    "ssim", "lpips", "pckh", "identity_similarity", "detection_score", "ssim_in_mask", "psnr", "l1", "mask_ssim",
    "ssim_standard", "ssim_pg2",
)  # fmt: skip
METRIC_COUNT = 4
EACH, LINES = 4, 12  # images of a kind by one metric, at most, and by all of them
KINDS = ("best", "median", "worst")  # one a column of the sheet
Cell = UInt8[np.ndarray, "_ _ 3"] | None


def write_sheet(path: Path, measured: Measured) -> list[str]:
    """Write the sheet, if any metric of single images has a value; the lines to be logged."""
    compared = measured.compared
    ranked = {name: rows for name in RANKED_BY if len(rows := _ranked(name, measured))}
    if not ranked:
        return [f"no sheet {path}: images are ranked by {', '.join(RANKED_BY)}; none of these has a value"]
    names, left = list(ranked)[:METRIC_COUNT], list(ranked)[METRIC_COUNT:]
    placed = {name: _placed(ranked[name], min(EACH, LINES // len(names))) for name in names}
    chosen: list[tuple[str, str, int | None]] = []
    for kind in KINDS:
        for name in names:
            rows = placed[name][kind].tolist()
            empty = [None] * (len(placed[name]["best"]) - len(rows))  # below it, so that a metric's rows are level
            chosen += [(kind, name, row) for row in [*rows, *empty]]
    cells = [_cells(compared, row) for *_, row in chosen]
    titles = ("source", "target pose", "generated", "true")
    shown = [column for column in range(len(titles)) if any(cell[column] is not None for cell in cells)]
    sheets.write_sheet(
        path,
        [[cell[column] for column in shown] for cell in cells],
        [titles[column] for column in shown],
        groups=len(KINDS),
        labels=["" if row is None else _label(measured, kind, name, row) for kind, name, row in chosen],
        head=f"best, median and worst of {len(compared):,} images by {', '.join(names)}",
    )
    if left:
        return [f"{path} ranks by {', '.join(names)}; for {', '.join(left)} choose fewer --metrics"]
    return []


def _cells(compared: Compared, row: int | None) -> tuple[Cell, Cell, Cell, Cell]:
    """Source, target pose, generated and true image; no row, no images."""
    if row is None:
        return (None, None, None, None)
    one = np.asarray([row])
    return (
        None if compared.source is None else compared.source(one)[0],
        None if compared.poses is None else sheets.draw_skeleton(compared.poses[row], compared.size),
        compared.generated(one)[0],
        compared.true(one)[0] if compared.paired[row] else None,
    )


def _label(measured: Measured, kind: str, name: str, row: int) -> str:
    compared = measured.compared
    who = f", person {compared.people[row]}" if compared.unit == "identities" else ""
    return f"{kind} {name} {_values(name, measured)[row]:.3f}{who}"


def _values(name: str, measured: Measured) -> Float64[np.ndarray, " n"]:
    """A number an image, NaN where it has none; of PCKh the share of the image's own joints."""
    if name not in measured.generated:
        return np.full(len(measured.compared), np.nan)
    values = measured.generated[name].astype(np.float64)
    if name != "pckh":
        return values
    right, counted = values.T
    return np.where(counted > 0, right / np.maximum(1, counted), np.nan)


def _ranked(name: str, measured: Measured) -> Int64[np.ndarray, " m"]:
    """Rows with a value, the best first; of equal ones the first of all."""
    values = _values(name, measured)
    rows = np.flatnonzero(np.isfinite(values))
    return rows[np.argsort(values[rows] * (-1 if METRICS[name].better == "higher" else 1), kind="stable")]


def _placed(rows: Int64[np.ndarray, " m"], each: int) -> dict[str, Int64[np.ndarray, " k"]]:
    """Up to so many rows of each kind, none of them in two; of two rows there is no median, of one no worst."""
    count = min(each, max(1, len(rows) // len(KINDS)))
    middle = (len(rows) - count) // 2
    return {
        "best": rows[:count],
        "median": rows[middle : middle + count] if len(rows) >= len(KINDS) else rows[:0],
        "worst": rows[:0] if len(rows) == 1 else rows[::-1][:count],
    }
