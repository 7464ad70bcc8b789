"""A CSV that grows with a training and never runs ahead of its checkpoint."""

import csv
import io
from pathlib import Path
from typing import Any

from augment import files


class Journal:
    """Rows with a counter in their first column; those that a killed run wrote past its checkpoint are dropped."""

    def __init__(self, path: Path, counter: str, done: int) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row[counter]) <= done]

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)

    def write(self) -> None:
        """Publish all rows."""
        if not self._rows:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self._rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        files.write_atomic(self.path, text.getvalue().encode())
