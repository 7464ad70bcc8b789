"""What a run that finds key points has found so far, in OUT.csv.partial, so that the next one goes on from there."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from augment import files


@final
class Unfinished:
    """Lines found so far, each with the size of its image file, so that a changed image is looked at again."""

    def __init__(self, out: Path, estimator: dict[str, Any], *, force: bool) -> None:
        self.path = out.with_name(f"{out.name}.partial")
        self._estimator = estimator
        self._lines: dict[str, tuple[int, str]] = {}
        self._saved = time.monotonic()
        if self.path.exists() and not force:
            self._read()

    def known(self, images: Sequence[Path]) -> dict[str, str]:
        """The lines of those images that were found and have not changed since."""
        held = {image.name: self._lines[image.name] for image in images if image.name in self._lines}
        return {i.name: held[i.name][1] for i in images if i.name in held and held[i.name][0] == i.stat().st_size}

    def add(self, image: Path, line: str) -> None:
        self._lines[image.name] = (image.stat().st_size, line)

    def save(self, *, after: float = 0.0) -> None:
        """Publish what is there, unless that was done less than `after` seconds ago."""
        if time.monotonic() - self._saved >= after:
            files.write_json(self.path, {"schema": 1, "pose_estimator": self._estimator, "lines": self._lines})
            self._saved = time.monotonic()

    def _read(self) -> None:
        said = files.read_json(self.path)
        lines = said.get("lines") if isinstance(said, dict) and "pose_estimator" in said else None
        if not isinstance(lines, dict) or not all(isinstance(v, list) and len(v) == 2 for v in lines.values()):
            raise ValueError(f"{self.path}: no unfinished annotation; remove it or choose another --out")
        if said["pose_estimator"] != self._estimator:
            raise ValueError(
                f"{self.path}: was begun with another estimator ({differing(said['pose_estimator'], self._estimator)})"
                "; choose another --out, or --force to start afresh"
            )
        self._lines = {name: (size, line) for name, (size, line) in lines.items()}


def differing(there: Any, asked: dict[str, Any]) -> str:
    """In which keys two provenances differ, and how."""
    there = there if isinstance(there, dict) else {}
    keys = [key for key in (there | asked) if there.get(key) != asked.get(key)]
    return ", ".join(f"{key}: {there.get(key)!r} there, {asked.get(key)!r} asked" for key in keys)
