"""What a run that finds key points has found so far, in OUT.csv.partial, so that the next one goes on from there."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from augment import files
from augment.data.keypoints import HEADER, read_annotation

REMEDY = "remove it or choose another --out"


@final
class Unfinished:
    """Lines found so far, each with the checksum of its image file, so that a changed image is looked at again."""

    def __init__(self, out: Path, estimator: dict[str, Any], checksums: Mapping[str, int], *, force: bool) -> None:
        """Go on from the file that is there; `checksums` are those of the image files, by name.

        Raises:
            ValueError: what is there is something else, or was begun with another estimator.
        """
        self.path = out.with_name(f"{out.name}.partial")
        self._estimator, self._checksums = estimator, checksums
        self._lines: dict[str, tuple[int, str]] = {}
        self._saved = time.monotonic()
        if self.path.exists() and not force:
            self._read()

    def known(self) -> dict[str, str]:
        """The lines of those images that were found and have not changed since, by name."""
        return {name: line for name, (of, line) in self._lines.items() if self._checksums.get(name) == of}

    def add(self, name: str, line: str) -> None:
        self._lines[name] = (self._checksums[name], line)

    def save(self, *, after: float = 0.0) -> None:
        """Publish what is there, unless that was done less than `after` seconds ago."""
        if time.monotonic() - self._saved >= after:
            files.write_json(self.path, {"schema": 1, "pose_estimator": self._estimator, "lines": self._lines})
            self._saved = time.monotonic()

    def _read(self) -> None:
        said = files.read_json(self.path)
        lines = said.get("lines") if isinstance(said, dict) and "pose_estimator" in said else None
        if not isinstance(lines, dict) or not all(_is_entry(value) for value in lines.values()):
            raise ValueError(f"{self.path}: no unfinished annotation; {REMEDY}")
        if said["pose_estimator"] != self._estimator:
            raise ValueError(
                f"{self.path}: was begun with another estimator ({differing(said['pose_estimator'], self._estimator)})"
                "; choose another --out, or --force to start afresh"
            )
        self._lines = {name: (checksum, line) for name, (checksum, line) in lines.items()}
        self._require_lines()

    def _require_lines(self) -> None:
        """Each must be one that the annotation's reader takes, and of the image that it is filed under."""
        lines = {name: line for name, (_, line) in self._lines.items()}
        with tempfile.TemporaryDirectory() as folder:
            path = files.write_atomic(Path(folder) / "lines.csv", "\n".join([HEADER, *lines.values()]).encode())
            try:
                points = read_annotation(path)
            except ValueError as error:
                raise ValueError(f"{str(error).replace(str(path), str(self.path))}; {REMEDY}") from None
        for name in lines:
            if name not in points:
                raise ValueError(f"{self.path}: {name} has the line of another image; {REMEDY}")


def _is_entry(value: Any) -> bool:
    return isinstance(value, list) and [type(each) for each in value] == [int, str]


def differing(there: Any, asked: dict[str, Any]) -> str:
    """In which keys two provenances differ, and how."""
    there = there if isinstance(there, dict) else {}
    keys = [key for key in (there | asked) if there.get(key) != asked.get(key)]
    return ", ".join(f"{key}: {there.get(key)!r} there, {asked.get(key)!r} asked" for key in keys)
