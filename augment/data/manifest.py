"""A CSV manifest for any other data set: columns path, pid, camid, split (train, query, gallery).

Paths are relative to the manifest. An empty camid means that the camera is unknown.
"""

import csv
from pathlib import Path

from augment.data.market1501 import find_annotations
from augment.data.records import JUNK, DataSet, Record

COLUMNS = ("path", "pid", "camid", "split")
SPLITS = ("train", "query", "gallery")
UNKNOWN_CAMERA = -1


def read_manifest(path: Path) -> DataSet:
    """The splits that a manifest lists, in its order.

    Raises:
        ValueError: missing columns, a value that is no integer, an unknown split, a missing file, no training image.
    """
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    seen: dict[str, int] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path}: no column {', '.join(missing)}; the header must be {','.join(COLUMNS)}")
            for row in reader:
                split, record = _parse(path, reader.line_num, row)
                if record.name in seen:
                    raise ValueError(
                        f"{path}, line {reader.line_num}: a second image named {record.name}, as in line "
                        f"{seen[record.name]}; key points go by file name, so give each image a name of its own"
                    )
                seen[record.name] = reader.line_num
                if record.pid != JUNK:
                    splits[split].append(record)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a UTF-8 text file ({error}); give a CSV manifest") from None
    if not splits["train"]:
        raise ValueError(f"{path}: lists no image with split 'train'; add the training images")
    train, query, gallery = (tuple(splits[split]) for split in SPLITS)
    return DataSet(path.parent, train, query, gallery, find_annotations(path.parent))


def _parse(path: Path, line: int, row: dict[str, str | None]) -> tuple[str, Record]:
    split = (row["split"] or "").strip()
    if split not in SPLITS:
        raise ValueError(f"{path}, line {line}: split {split!r}; expected one of {', '.join(SPLITS)}")
    image = path.parent / (row["path"] or "")
    if not image.is_file():
        raise ValueError(f"{path}, line {line}: no file {image}; paths are relative to the manifest")
    pid = _integer(path, line, "pid", row["pid"])
    camid = _integer(path, line, "camid", row["camid"]) if (row["camid"] or "").strip() else UNKNOWN_CAMERA
    return split, Record(image, pid, camid)


def _integer(path: Path, line: int, column: str, value: str | None) -> int:
    try:
        return int(value or "")
    except ValueError:
        raise ValueError(f"{path}, line {line}: {column} {value!r} is no integer") from None
