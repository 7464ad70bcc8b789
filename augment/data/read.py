"""One way in: DATA is a Market-1501 root in any of its usual shapes, or a CSV manifest."""

from pathlib import Path

from augment.data.manifest import read_manifest
from augment.data.market1501 import read_root
from augment.data.records import DataSet


def read_data(path: Path) -> DataSet:
    """Open a root or a manifest.

    Raises:
        ValueError: neither of the two, or broken; the message names the file, the value and the remedy.
    """
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise ValueError(f"{path}: a file that is no .csv manifest; give a Market-1501 root or a CSV manifest")
        return read_manifest(path)
    return read_root(path)
