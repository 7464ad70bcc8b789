"""What a synthetic set holds, in numbers and in a sheet."""

from pathlib import Path
from typing import Any

import numpy as np

from augment import sheets
from augment.store import Reader

SHEET_IMAGES, SHEET_COLUMNS = 64, 8


def summary(reader: Reader) -> dict[str, Any]:
    """Counts and provenance."""
    _, per_identity = np.unique(reader.pid, return_counts=True)
    return {
        "images": len(reader),
        "size": f"{reader.size[0]}x{reader.size[1]}",
        "identities": len(per_identity),
        "images_per_identity": [int(per_identity.min()), int(per_identity.max())],
        "cameras": sorted({int(camera) for camera in reader.camid}),
        **{key: value for key, value in reader.attributes.items() if key != "rows"},
    }


def write_sheet(path: Path, reader: Reader) -> Path:
    """The target pose drawn beside each of 64 images spread over the set."""
    chosen = np.linspace(0, len(reader) - 1, min(SHEET_IMAGES, len(reader))).astype(int)
    rows = [(sheets.draw_skeleton(reader.target_pose[row], reader.size), reader.image(int(row))) for row in chosen]
    return sheets.write_sheet(path, rows, ("pose", "generated"), groups=SHEET_COLUMNS)
