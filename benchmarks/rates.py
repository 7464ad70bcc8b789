"""Rates of work with what they are compared to: one table for a terminal, the same as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One measurement."""

    name: str
    rate: float  # per second of CPU time, or of wall time where the name says so
    ratio: float | None = None
    against: str = ""


def publish(rows: Sequence[Row], path: Path | None) -> None:
    """Print the table; write it to `path` as well, if there is one."""
    print(f"{'what':<52}{'per second':>14}{'ratio':>9}  against")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        print(f"{row.name:<52}{row.rate:>14,.1f}{ratio:>9}  {row.against}")
    if path is not None:
        path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
