"""Stage: a Market-1501 root that holds a share of another one's training images, and all of its query and gallery.

ROOT/bounding_box_train, query, bounding_box_test    images, as hard links where the file system has them, else copies
ROOT/market-annotation-*.csv, market-pairs-*.csv     the lines on these images, where DATA has such files
ROOT/subset.json                                     what was kept of what

Nothing here ever writes into an image, so a link is as good as a copy; whoever edits an image in place edits both. What
is withheld is in none of these files: generators, synthetic sets and re-ID networks that are made of ROOT have not seen
it. The images kept are those that `augment train-reid DATA --portion P --portion-seed N` trains on.
"""

import csv
import io
import os
import shutil
import socket
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augment import audit, files
from augment.data import dukemtmc, keypoints, market1501
from augment.data.market1501 import Folders, image_files
from augment.data.read import read_data
from augment.data.records import DataSet, Record, digest
from augment.data.subsets import RECORD, origin
from augment.version import __version__
from reid.mixing import kept_images

TITLES = (market1501.TITLE, dukemtmc.TITLE)
TRAIN, QUERY, GALLERY = market1501.TRAIN_FOLDERS[0], market1501.QUERY_FOLDERS[0], market1501.GALLERY_FOLDERS[0]
NO_LINK = "copied: this file system has no links to those images"


@dataclass(frozen=True)
class SubsetConfig:
    """Which share of the training images of each identity is kept, at least one each, and of the choice the seed."""

    portion: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.portion <= 1:
            raise ValueError(f"--portion {self.portion}: must be above 0 and at most 1")


@dataclass(frozen=True)
class Job:
    """A subset that is chosen: everything that is known before the first file is made."""

    dataset: DataSet
    images: dict[str, tuple[Path, ...]]  # of each folder
    texts: dict[str, bytes]  # files of key points and pairs, cut to these images
    record: dict[str, Any]

    def __str__(self) -> str:
        counts = f"{self.record['images']:,} of {self.record['of']['images']:,} training images"
        return f"{counts} of {self.record['of']['identities']:,} identities"


def prepare(config: SubsetConfig, data: Path) -> Job:
    """Read and audit the data, and choose.

    Raises:
        ValueError: bad data, test identities in training, a layout whose files cannot simply be linked, or a subset.
    """
    dataset = read_data(data)
    folders = market1501.find_folders(dataset.root)
    if dataset.title not in TITLES or folders is None:
        raise ValueError(
            f"{data}: is in the layout of {dataset.title}, and subsets are made of {' and '.join(TITLES)} roots; "
            "train-reid --portion takes any data, or list the images to keep in a CSV manifest"
        )
    if (found := origin(dataset)) is not None:
        raise ValueError(f"{data}: is a subset itself, {found}; give the data that it was made of")
    audit.require_disjoint(dataset)
    kept = kept_records(dataset, config)
    images = {TRAIN: tuple(record.path for record in kept)} | _test_images(folders)
    names = {path.name for paths in images.values() for path in paths}
    sources = [*dataset.annotations, *filter(None, (dataset.pairs, dataset.test_pairs))]
    record = {
        "schema": 1,
        "tool": f"reid-augment {__version__}",
        **asdict(config),
        "of": {
            "title": dataset.title,
            "data_digest": dataset.digest,
            "test_digest": dataset.test_digest,
            "images": len(dataset.train),
            "identities": len({record.pid for record in dataset.train}),
            "files_sha256": {path.name: files.sha256(path) for path in sources},
        },
        "data_digest": digest(kept),
        "images": len(kept),
        "kept": [record.name for record in kept],
    }
    texts = {path.name: _annotation(path, names) for path in dataset.annotations}
    texts |= {path.name: _pairs(path, names) for path in (dataset.pairs, dataset.test_pairs) if path is not None}
    return Job(dataset, images, texts, record)


def kept_records(dataset: DataSet, config: SubsetConfig) -> tuple[Record, ...]:
    """The training images that stay, by name."""
    records = sorted(dataset.train, key=lambda record: (record.name, record.pid, record.camid))
    pids = np.array([record.pid for record in records], np.int64)
    return tuple(records[index] for index in kept_images(pids, config.portion, config.seed).tolist())


def run(
    config: SubsetConfig,
    data: Path,
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Make the root `out`, which appears whole or not at all, or find it done; returns `out`.

    Raises:
        ValueError: see `prepare`; or `out` is something else, or another subset.
        OSError: the disk's own complaint, after what was made has been removed.
    """
    job = prepare(config, data)
    for note in job.dataset.notes:
        log(note)
    if _holds(out, job):
        log("already done")
        return out
    _remove_abandoned(out)
    part = _beside(out, os.getpid())
    try:
        with files.naming(out):
            copied = _write(job, part, progress)
            files.write_json(part / RECORD, job.record)
            os.sync()  # of ten thousands of files at once
            part.rename(out)  # takes the place of an empty folder, and refuses one that was filled meanwhile
            files.sync(out.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    log(f"{job}{f'; {copied:,} images {NO_LINK}' if copied else ''}")
    return out


def _write(job: Job, part: Path, progress: Callable[[int, int], None] | None) -> int:
    """Everything but the record, below `part`; how many images had to be copied."""
    done = copied = 0
    total = sum(map(len, job.images.values()))
    for folder, paths in job.images.items():
        (part / folder).mkdir(parents=True)
        for path in paths:
            copied += not _linked(path, part / folder / path.name)
            done += 1
            if progress is not None:
                progress(done, total)
    for name, text in job.texts.items():
        (part / name).write_bytes(text)
    return copied


def _linked(path: Path, target: Path) -> bool:
    """Whether `target` became a link to the image, rather than a copy."""
    whole = path.resolve()  # a link to a link, relative as that may be, would lead nowhere
    try:
        target.hardlink_to(whole)
    except OSError:  # another file system, one without links, or the most links that a file may have
        shutil.copyfile(whole, target)
        return False
    return True


def _test_images(folders: Folders) -> dict[str, tuple[Path, ...]]:
    """Query and gallery, junk too, as far as the data has them."""
    found = {QUERY: folders.query, GALLERY: folders.gallery}
    return {name: tuple(image_files(folder)) for name, folder in found.items() if folder is not None}


def _annotation(path: Path, names: Collection[str]) -> bytes:
    """The lines of a key-point file on these images, to the letter."""
    keypoints.read_annotation(path)  # refuses a broken one
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.partition(":")[0].strip() in names]
    return ("\n".join([header, *kept]) + "\n").encode()


def _pairs(path: Path, names: Collection[str]) -> bytes:
    """A pair list's rows of which both images are among these."""
    text = io.StringIO()
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if not {"from", "to"} <= set(header):
            raise ValueError(f"{path}: no columns 'from' and 'to'; give PATN's pair list, or remove the file")
        columns = header.index("from"), header.index("to")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(row for row in rows if len(row) > max(columns) and all(row[i] in names for i in columns))
    return text.getvalue().encode()


def _holds(out: Path, job: Job) -> bool:
    """Whether `out` is this very subset already; False where it is free.

    Raises:
        ValueError: it is something else, another subset, or one whose images have changed.
    """
    if out.name in ("", ".."):
        raise ValueError(f"--out {out}: has no name of its own; choose a new folder")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ValueError(f"--out {out}: is no folder; choose a new one")
    if not out.exists() or not any(out.iterdir()):
        return False
    if not (out / RECORD).is_file():
        raise ValueError(f"--out {out}: holds files but no {RECORD}, so it is no subset; choose a new folder")
    held = files.read_json(out / RECORD)
    for names in (("portion", "seed", "of"), ("data_digest",)):
        wanted = {name: job.record[name] for name in names}
        remedy = "choose another --out, or remove it"
        audit.require_same(f"--out {out}", held, wanted, remedy, problem="holds another subset")
    found = read_data(out)
    origin(found)
    if found.test_digest != job.record["of"]["test_digest"]:
        raise ValueError(f"--out {out}: its query or gallery images are no longer those of the data; remove it")
    return True


def _beside(out: Path, process: int | str) -> Path:
    """A name for this machine's temporary folders, which `files.remove_parts` does not take for a file of its own."""
    return out.with_name(f".{out.name}.subset.{socket.gethostname()}.{process}")


def _remove_abandoned(out: Path) -> None:
    """Remove what killed processes of this machine left beside `out`."""
    for folder in _abandoned(out):
        shutil.rmtree(folder, ignore_errors=True)


def _abandoned(out: Path) -> Iterator[Path]:
    prefix = _beside(out, "").name
    for folder in list(out.parent.iterdir()) if out.parent.is_dir() else ():
        process = folder.name.removeprefix(prefix)
        if folder.name.startswith(prefix) and process.isdigit() and not files.alive(int(process)):
            yield folder
