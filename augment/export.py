"""A synthetic set as files that other frameworks read: a Market-1501 folder, or WebDataset's tar shards.

    OUT/bounding_box_train/0002_c1s9_000451_00.jpg    --to folder; row 451 of the set
    OUT/images.csv                                    name, pid, camid, source, target, seed
    OUT/OUT-000000.tar                                --to webdataset; 000000451.jpg and 000000451.json
    OUT/export.json                                   what was exported, and every other file with its bytes

An unknown camera (-1) is c0 in a name, as names have no other way to say it, and -1 in the table.

OUT is built beside its place and renamed, so that it appears whole or not at all.
"""

import csv
import io
import json
import os
import shutil
import socket
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from augment import audit, files
from augment.data import market1501
from augment.data.records import UNKNOWN_CAMERA
from augment.store import Reader

FOLDER, WEBDATASET = TARGETS = ("folder", "webdataset")
SEQUENCE = 9  # Market-1501's own images are of sequences 1 to 6, so no name of a real one is taken
SHARD_IMAGES = 1000
NAMELESS_CAMERA = 0  # in the names of images whose camera is unknown: read again, they are of one camera
MANIFEST, TABLE, TRAIN = "export.json", "images.csv", market1501.TRAIN_FOLDERS[0]
FORMAT = 1
TORCHREID_PIDS, TORCHREID_CAMERAS = range(1502), range(1, 7)  # what its Market1501 class asserts
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ExportConfig:
    """How to write a set; `quality` is JPEG's (without chroma subsampling), None writes PNG."""

    to: str
    quality: int | None = 95

    def __post_init__(self) -> None:
        if self.to not in TARGETS:
            raise ValueError(f"--to {self.to}: expected one of {', '.join(TARGETS)}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"--quality {self.quality}: expected 1 to 100, or --png")

    @property
    def suffix(self) -> str:
        return ".png" if self.quality is None else ".jpg"


def prepare(config: ExportConfig, synthetic: Path) -> Reader:
    """The set, every image of which has its checksum and can be named.

    Raises:
        ValueError: no synthetic set, or rows that are damaged, or that a file name cannot say; they are named.
    """
    reader = Reader(synthetic)
    if damaged := reader.damaged():
        raise ValueError(f"{synthetic}: {_rows(damaged)} damaged (checksum differs); synthesize the set again")
    if nameless := np.flatnonzero((reader.pid < 0) | (reader.camid < UNKNOWN_CAMERA)).tolist():
        raise ValueError(
            f"{synthetic}: {_rows(nameless)} of a negative identity or camera, so no training image; "
            "synthesize the set again"
        )
    if config.to == FOLDER:
        real = {Path(name).stem for name in reader.files}
        taken = real.intersection(image_name(reader, row) for row in range(len(reader)))
        if taken:
            raise ValueError(
                f"{synthetic}: {len(taken)} of its training images are named as this export's would be "
                f"({min(taken)}); remove an earlier export from the training folder, or use --to {WEBDATASET}"
            )
    return reader


def run(
    config: ExportConfig,
    synthetic: Path,
    out: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Export the set or selection into the folder `out`, or find it done; returns `out`.

    Raises:
        ValueError: see `prepare`; or `out` holds something else, another export, or an incomplete one.
        OSError: the disk's own complaint, after what was written has been removed.
    """
    reader = prepare(config, synthetic)
    wanted = {
        "format": FORMAT,
        "export": asdict(config),
        "images": len(reader),
        "content_sha256": reader.content_sha256,
        "test_identities": bool(reader.attributes.get(audit.TEST_IDENTITIES)),
        "set": {key: reader.attributes[key] for key in ("plan_sha256", "start", "config", "generator")},
    }
    if _holds(out, wanted, force):
        log("already done")
        return out
    for line in _cautions(config, reader):
        log(line)
    _remove_abandoned(out)
    part, old = (_beside(out, f"{os.getpid()}.{role}") for role in ("new", "old"))
    try:
        with files.naming(out):
            part.mkdir(parents=True)
            write = _write_folder if config.to == FOLDER else _write_shards
            write(config, reader, part, out.name, progress)
            written = {path.relative_to(part).as_posix(): path.stat().st_size for path in _files(part)}
            files.write_json(part / MANIFEST, wanted | {"files": written})
            os.sync()  # of ten thousands of files at once
            if force and out.exists():
                out.rename(old)
            part.rename(out)  # takes the place of an empty folder, and refuses one that was filled meanwhile
            files.sync(out.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    return out


def image_name(reader: Reader, row: int) -> str:
    """Market-1501's name without its suffix: identity and camera of the source, our sequence, the row as the frame."""
    camera = NAMELESS_CAMERA if reader.camera(row) == UNKNOWN_CAMERA else reader.camera(row)
    return f"{reader.identity(row):04d}_c{camera}s{SEQUENCE}_{row:06d}_00"


def encode(config: ExportConfig, image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The image as a file: PNG, or JPEG with every colour at full resolution (4:4:4)."""
    buffer = io.BytesIO()
    if config.quality is None:
        Image.fromarray(image).save(buffer, "PNG")
    else:
        Image.fromarray(image).save(buffer, "JPEG", quality=config.quality, subsampling=0)
    return buffer.getvalue()


def _write_folder(config: ExportConfig, reader: Reader, part: Path, name: str, progress: Progress | None) -> None:
    (part / TRAIN).mkdir()
    with (part / TABLE).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", *_facts(reader, 0)])
        for row in range(len(reader)):
            path = part / TRAIN / (image_name(reader, row) + config.suffix)
            path.write_bytes(encode(config, reader.image(row)))
            table.writerow([path.name, *_facts(reader, row).values()])
            if progress is not None:
                progress(row + 1, len(reader))


def _write_shards(config: ExportConfig, reader: Reader, part: Path, name: str, progress: Progress | None) -> None:
    for shard, start in enumerate(range(0, len(reader), SHARD_IMAGES)):
        path = part / f"{name}-{shard:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row in range(start, min(start + SHARD_IMAGES, len(reader))):
                facts = (json.dumps(_facts(reader, row)) + "\n").encode()
                _add(tar, f"{row:09d}{config.suffix}", encode(config, reader.image(row)))
                _add(tar, f"{row:09d}.json", facts)
                if progress is not None:
                    progress(row + 1, len(reader))
        files.sync(path)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member whose header says nothing of when and by whom it was made."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _facts(reader: Reader, row: int) -> dict[str, int | str]:
    return {
        "pid": reader.identity(row),
        "camid": reader.camera(row),
        "source": reader.source_name(row),
        "target": reader.target_name(row),
        "seed": int(reader.seed[row]),
    }


def _cautions(config: ExportConfig, reader: Reader) -> list[str]:
    """What must not be done with this export, and what torchreid's own Market1501 loader would not read of it."""
    found = []
    if reader.attributes.get(audit.TEST_IDENTITIES):
        found.append("made with --allow-test-identities: may show people of query and gallery, so never train on it")
    if config.to != FOLDER:
        return found
    if config.quality is None:
        found.append("torchreid's Market1501 reads *.jpg only, so it passes over PNG")
    if unknown := np.count_nonzero(reader.camid == UNKNOWN_CAMERA):
        found.append(
            f"the camera of {unknown} of {len(reader)} images is unknown: their names say c{NAMELESS_CAMERA}, and "
            f"{TABLE} {UNKNOWN_CAMERA}"
        )
    for what, values, limits in (
        ("identities", reader.pid, TORCHREID_PIDS), ("cameras", reader.camid, TORCHREID_CAMERAS),
    ):  # fmt: skip
        if values.min() < limits.start or values.max() >= limits.stop:
            found.append(f"torchreid's Market1501 takes {what} {limits.start} to {limits.stop - 1} only")
    return found


def _holds(out: Path, wanted: dict[str, Any], force: bool) -> bool:
    """Whether `out` is this very export, whole; False where it is free, or an export that is to be replaced.

    Raises:
        ValueError: it is something else, another export, or an incomplete one.
    """
    if out.name in ("", ".."):
        raise ValueError(f"{out}: OUT has no name of its own; choose a new folder")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ValueError(f"{out}: is no folder; choose another OUT")
    if not out.exists() or not any(out.iterdir()):
        return False
    try:
        held = files.read_json(out / MANIFEST)
        listed = {str(name): int(size) for name, size in held["files"].items()}
        files_there = {path.relative_to(out).as_posix(): path.stat().st_size for path in _files(out)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{out}: holds files that are no export; choose another OUT") from None
    if force:
        if foreign := sorted(files_there.keys() - listed.keys() - {MANIFEST}):
            raise ValueError(f"{out}: --force would remove {foreign[0]}, which is not of the export; move it away")
        return False
    audit.require_same(
        str(out), held, wanted, "choose another OUT, or --force to replace it", problem="holds another export"
    )
    if changed := sorted(name for name, size in listed.items() if files_there.get(name) != size):
        raise ValueError(
            f"{out}: {len(changed)} files of the export are missing or changed ({changed[0]}); --force makes it anew"
        )
    return True


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if not path.is_dir()]


def _rows(rows: list[int], most: int = 5) -> str:
    shown = ", ".join(map(str, rows[:most])) + (", ..." if len(rows) > most else "")
    return f"row {shown} is" if len(rows) == 1 else f"{len(rows)} rows ({shown}) are"


def _beside(out: Path, ending: str) -> Path:
    """A name for this machine's temporary folders, which `files.remove_parts` does not take for a file of its own."""
    return out.with_name(f".{out.name}.export.{socket.gethostname()}.{ending}")


def _remove_abandoned(out: Path) -> None:
    """Remove what killed processes of this machine left beside `out`."""
    prefix = _beside(out, "").name
    for folder in list(out.parent.iterdir()) if out.parent.is_dir() else ():
        process = folder.name.removeprefix(prefix).split(".")[0]
        if folder.name.startswith(prefix) and process.isdigit() and not files.alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)
