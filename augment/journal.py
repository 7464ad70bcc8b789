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
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row[counter]) <= done]

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def write(self) -> None:
        """Publish all rows; a column that a row lacks is empty there."""
        if not self.rows:
            return
        text = io.StringIO()
        columns = dict.fromkeys(name for row in self.rows for name in row)
        writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        files.write_atomic(self.path, text.getvalue().encode())
