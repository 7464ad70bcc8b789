"""A CSV manifest for any other data set: columns path, pid, split (train, query, gallery) and, where known, camid.

Paths are relative to the manifest. Identity -1 is junk and left out, 0 a distractor: nobody in particular, in the
gallery only. An empty camid, -1 or no such column means that the camera is unknown; `augment.data.search` says what is
searched then. Further columns are ignored.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from augment.data.market1501 import find_annotations
from augment.data.records import JUNK, UNKNOWN_CAMERA, DataSet, Record
from augment.data.survey import Survey, nobody, some

TITLE = "manifest"
COLUMNS = ("path", "pid", "split")
CAMERA = "camid"
SPLITS = ("train", "query", "gallery")
MOST = 10**15  # leaves room to shift identities within 64 bits
ONE_CAMERA = "they count as one camera where images of one camera belong together"
NO_RULE = (
    "a search leaves out no image for being of the query's camera where one of the two is unknown, so scores are not "
    "comparable with those of searches across cameras"
)


def read_manifest(path: Path) -> DataSet:
    """The splits that a manifest lists, in its order.

    Raises:
        ValueError: missing columns, or rows that cannot be used; the first of them are named.
    """
    return survey(path).usable()


def survey(path: Path) -> Survey:
    """The rows that can be used, in their order, and what is wrong with the others.

    Raises:
        ValueError: no CSV file, or missing columns.
    """
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    junk: dict[str, int] = dict.fromkeys(SPLITS, 0)
    wrong: list[str] = []
    lines: dict[str, int] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _require_columns(path, reader.fieldnames or ())
            for row in reader:
                try:
                    split, record = _parse(path.parent, row)
                    _require_own_name(record, lines)
                except ValueError as error:
                    wrong.append(f"line {reader.line_num}: {error}")
                    continue
                lines[record.name] = reader.line_num
                if record.pid == JUNK:
                    junk[split] += 1
                else:
                    splits[split].append(record)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a UTF-8 text file ({error}); give a CSV manifest") from None
    errors = [_complaint(path, wrong)] if wrong else []
    errors += [message for split, records in splits.items() for message in nobody(split, path, records)]
    if not splits["train"] and not wrong:
        errors.append(f"{path}: lists no image with split 'train'; add the training images")
    train, query, gallery = (tuple(splits[split]) for split in SPLITS)
    unknown = sum(record.camid == UNKNOWN_CAMERA for record in (*train, *query, *gallery))
    has_cameras = unknown < len(train) + len(query) + len(gallery)
    dataset = DataSet(
        path.parent,
        train,
        query,
        gallery,
        find_annotations(path.parent),
        title=TITLE,
        has_cameras=has_cameras,
        train_notes=_note(path, "training", train, ONE_CAMERA),
        test_notes=_note(path, "query and gallery", (*query, *gallery), NO_RULE),
    )
    return Survey(dataset, tuple(errors), junk)


def _require_columns(path: Path, found: Sequence[str]) -> None:
    header = ",".join((*COLUMNS, CAMERA))
    if missing := [column for column in COLUMNS if column not in found]:
        raise ValueError(
            f"{path}: no column {', '.join(missing)} in its first line ({','.join(found)[:80]}); the header must be "
            f"{header}, where {CAMERA} may be left out if no camera is known"
        )
    meant = [column for column in found if column.strip().lower().startswith("cam")]
    if CAMERA not in found and meant:
        raise ValueError(f"{path}: no column {CAMERA}, but {meant[0]!r}: name it {CAMERA}, or rename it to be ignored")


def _parse(folder: Path, row: dict[str, str | None]) -> tuple[str, Record]:
    split = (row["split"] or "").strip()
    if split not in SPLITS:
        raise ValueError(f"split {split!r}; expected one of {', '.join(SPLITS)}")
    image = folder / (row["path"] or "").strip()
    if not image.is_file():
        raise ValueError(f"no file {image}; paths are relative to the manifest")
    pid = _integer("pid", row["pid"], JUNK)
    named = (row.get(CAMERA) or "").strip()
    return split, Record(image, pid, _integer(CAMERA, named, UNKNOWN_CAMERA) if named else UNKNOWN_CAMERA)


def _integer(column: str, value: str | None, least: int) -> int:
    try:
        number = int(value or "")
    except ValueError:
        raise ValueError(f"{column} {value!r} is no integer") from None
    if not least <= number <= MOST:
        raise ValueError(f"{column} {number} is not from {least} to {MOST}")
    return number


def _require_own_name(record: Record, lines: dict[str, int]) -> None:
    if record.name in lines:
        raise ValueError(
            f"a second image named {record.name}, as in line {lines[record.name]}; key points go by file name, so give "
            "each image a name of its own"
        )


def _complaint(path: Path, wrong: list[str]) -> str:
    if len(wrong) == 1:
        return f"{path}, {wrong[0]}"
    return f"{path}: {len(wrong)} rows cannot be used: {some(wrong, '; ')}"


def _note(path: Path, what: str, records: Sequence[Record], meaning: str) -> tuple[str, ...]:
    """What unknown cameras mean."""
    unknown = sum(record.camid == UNKNOWN_CAMERA for record in records)
    if not unknown:
        return ()
    return (f"{path}: the camera of {unknown} of {len(records)} {what} images is unknown: {meaning}",)
