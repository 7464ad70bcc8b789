"""What a synthetic set holds, in numbers and in a sheet."""

from pathlib import Path
from typing import Any

import numpy as np

from augment import sheets
from augment.store import Reader, Score, scores_path
from augment.store.scores import StaleScoresError

SHEET_IMAGES, SHEET_COLUMNS = 64, 8


def summary(reader: Reader) -> dict[str, Any]:
    """Counts, provenance and scores."""
    scores = _scores(reader)
    _, per_identity = np.unique(reader.pid, return_counts=True)
    return {
        "images": len(reader),
        "size": f"{reader.size[0]}x{reader.size[1]}",
        "identities": len(per_identity),
        "images_per_identity": [int(per_identity.min()), int(per_identity.max())],
        "cameras": sorted({int(camera) for camera in reader.camid}),
        **({} if reader.rows is None else {"selects_from": str(reader.base)}),
        **{key: value for key, value in reader.attributes.items() if key != "rows"},
        **({"scores": scores} if scores else {}),
    }


def _scores(reader: Reader) -> dict[str, dict[str, float | int | None]] | str:
    """The spread of each score, or why there is none of this set."""
    try:
        return {name: _spread(score) for name, score in reader.scores.items()}
    except StaleScoresError:
        return f"of another set ({scores_path(reader.base).name}); score again"


def _spread(score: Score) -> dict[str, float | int | None]:
    """Median and the middle 90 % of a score, and how many images have one."""
    there = score.values[np.isfinite(score.values)]
    low, median, high = np.quantile(there, [0.05, 0.5, 0.95]).tolist() if len(there) else (None, None, None)
    return {"images": len(there), "5%": low, "median": median, "95%": high}


def write_sheet(path: Path, reader: Reader) -> Path:
    """The target pose drawn beside each of 64 images spread over the set."""
    chosen = np.linspace(0, len(reader) - 1, min(SHEET_IMAGES, len(reader))).astype(int)
    poses = reader.poses(chosen)
    rows = [
        (sheets.draw_skeleton(pose, reader.size), reader.image(row)) for pose, row in zip(poses, chosen, strict=True)
    ]
    labels = [f"row {row}, person {reader.identity(row)}, camera {reader.camera(row)}" for row in chosen]
    return sheets.write_sheet(path, rows, ("pose", "generated"), groups=SHEET_COLUMNS, labels=labels)
