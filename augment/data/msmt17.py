"""MSMT17 roots, version 1 or 2, read by their lists (Wei et al., CVPR 2018). In version 2 faces are masked.

    list_train.txt  list_val.txt     of train/ (version 2: mask_train_v2/)
    list_query.txt  list_gallery.txt of test/ (mask_test_v2/)

A line is `0000/0000_000_01_0303morning_0008_0.jpg 0`: folder and number of the person, image, camera, time, and the
number again. The training images are those of list_train.txt and list_val.txt, as in the paper (30,248 + 2,373 =
32,621): both lists are of the same 1,041 people, so the second holds nobody out. torchreid trains on the first alone.

Training and test people are both numbered from 0, and test person k is not training person k. So here training person k
is 10,000 + k and test person k 20,000 + k: no number stands for two people, nor for nobody as 0 does elsewhere.
"""

import re
from collections import Counter
from pathlib import Path

from augment.data.market1501 import find_annotations
from augment.data.records import DataSet, Record
from augment.data.survey import Survey, some

TITLE = "MSMT17"
PUBLISHED = {
    "train": {"images": 32_621, "identities": 1_041, "cameras": 15},
    "query": {"images": 11_659, "identities": 3_060, "cameras": 15},
    "gallery": {"images": 82_161, "identities": 3_060, "cameras": 15},
}
NESTED = ("MSMT17_V1", "MSMT17_V2", "msmt17", "msmt17/MSMT17_V1", "msmt17/MSMT17_V2")
VERSIONS = {"1": ("train", "test"), "2": ("mask_train_v2", "mask_test_v2")}
LISTS = {"train": ("list_train.txt", "list_val.txt"), "query": ("list_query.txt",), "gallery": ("list_gallery.txt",)}
VALIDATION = "list_val.txt"
SHIFTS = {"train": 10_000, "query": 20_000, "gallery": 20_000}
LINE = re.compile(
    r"^(?P<path>(?P<pid>\d{4})/(?P=pid)_\d+_(?P<camid>\d\d)_\w+\.(?:jpg|jpeg|png))[ \t]+(?P<label>\d+)[ \t]*$", re.I
)
EXAMPLE = "0000/0000_000_01_0303morning_0008_0.jpg 0"
PERSON = re.compile(r"\d{4}")


def is_root(base: Path) -> bool:
    """Whether one of the lists or version 2's folders lie in this very folder, or a train/ with a folder a person."""
    listed = any((base / name).is_file() for names in LISTS.values() for name in names)
    return listed or any((base / name).is_dir() for name in VERSIONS["2"]) or _has_people(base / VERSIONS["1"][0])


def survey_root(root: Path, base: Path) -> Survey:
    """The splits in `base`, each sorted by file name; key points may lie there, or in `root` above it.

    Raises:
        ValueError: lists or folders are missing, or both versions lie there.
    """
    train, test = _find_images(base)
    if absent := [name for names in LISTS.values() for name in names if not (base / name).is_file()]:
        raise ValueError(
            f"{base}: an MSMT17 root without {', '.join(absent)}; the lists belong to the data set, put them there"
            + (" (an empty list_val.txt trains on list_train.txt alone)" if absent == [VALIDATION] else "")
        )
    errors: list[str] = []
    splits: dict[str, tuple[Record, ...]] = {}
    for split, names in LISTS.items():
        records: list[Record] = []
        for name in names:
            found, wrong = _read_list(base / name, train if split == "train" else test, SHIFTS[split])
            records += found
            errors += wrong
        splits[split] = tuple(sorted(records, key=lambda record: record.name))
    errors += _repeated(base, [record for records in splits.values() for record in records])
    if not splits["train"] and not errors:
        errors.append(f"{base / LISTS['train'][0]}: lists no image, so there is nothing to train on")
    dataset = DataSet(
        base,
        splits["train"],
        splits["query"],
        splits["gallery"],
        find_annotations(root, base),
        title=TITLE,
        train_notes=_notes(base),
    )
    return Survey(dataset, tuple(errors))


def _find_images(base: Path) -> tuple[Path, Path]:
    """The folders of training and of test images."""
    pairs = [(base / train, base / test) for train, test in VERSIONS.values()]
    there = [(train, test) for train, test in pairs if train.is_dir() and test.is_dir()]
    if len(there) != 1:
        needed = " or ".join(f"{train.name}/ and {test.name}/" for train, test in pairs)
        remedy = "it holds both: keep one version in a root" if there else "put them beside the lists"
        raise ValueError(f"{base}: an MSMT17 root needs the images in {needed}; {remedy}")
    return there[0]


def _read_list(path: Path, folder: Path, shift: int) -> tuple[list[Record], list[str]]:
    """The images that a list names and that are there, and what is wrong with the others."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a UTF-8 text file ({error.reason}); give MSMT17's list") from None
    records: list[Record] = []
    unparsed: list[str] = []
    absent: list[Path] = []
    there: dict[str, tuple[Path, set[str]]] = {}
    for number, line in enumerate(lines, start=1):
        match = LINE.match(line)
        if match is None or int(match["pid"]) != int(match["label"]):
            if line.strip():
                unparsed.append(f"line {number}: {line[:80]!r}")
            continue
        person, name = match["path"].split("/")
        if person not in there:
            there[person] = folder / person, _names(folder / person)
        own, names = there[person]
        if name in names:
            records.append(Record(own / name, shift + int(match["pid"]), int(match["camid"])))
        else:
            absent.append(own / name)
    errors = []
    if unparsed:
        errors.append(
            f"{path}: {len(unparsed)} lines that are not MSMT17's (as {EXAMPLE!r}, person, camera and person again): "
            f"{some(unparsed, '; ')}; restore the list"
        )
    if absent:
        errors.append(
            f"{path}: {len(absent)} of {len(absent) + len(records)} images are not there (the first: {absent[0]}); "
            "check that the download is complete"
        )
    return records, errors


def _repeated(base: Path, records: list[Record]) -> list[str]:
    """An error if images are listed twice, or share a name, by which key points are given."""
    twice = [name for name, count in Counter(record.name for record in records).items() if count > 1]
    if not twice:
        return []
    return [f"{base}: {len(twice)} images are listed twice, in one list or in two: {some(twice)}; list each once"]


def _notes(base: Path) -> tuple[str, ...]:
    if (base / VALIDATION).read_text(encoding="utf-8").strip():
        return ()
    return ("list_val.txt is empty: training images are those of list_train.txt alone",)


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def _has_people(train: Path) -> bool:
    entries = train.iterdir() if train.is_dir() else ()
    return any(PERSON.fullmatch(entry.name) and entry.is_dir() for entry in entries)
