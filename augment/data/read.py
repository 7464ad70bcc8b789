"""One way in: DATA is a Market-1501 root in any of its usual shapes, DeepFashion in PATN's, or a CSV manifest."""

from pathlib import Path

from augment.data import deepfashion, market1501
from augment.data.manifest import read_manifest
from augment.data.records import DataSet


def read_data(path: Path) -> DataSet:
    """Open a root or a manifest.

    Raises:
        ValueError: none of the three, or broken; the message names the file, the value and the remedy.
    """
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise ValueError(f"{path}: a file that is no .csv manifest; give a Market-1501 root or a CSV manifest")
        return read_manifest(path)
    return deepfashion.read_root(path) if deepfashion.is_root(path) else market1501.read_root(path)
