"""What must hold of a synthetic set by itself, check by check; every file is one that may have been damaged or forged.

Each check says what it found in one line, or None where there is nothing of the kind to check.
"""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from augment import audit, files, plan, store
from augment.store import hdf5, scores, selection, shards, tables

TABLE = {*tables.KINDS, tables.FILES}
REQUIRED = ("config", "generator", "versions", "plan_sha256", "start")
PROVENANCE = ("tool", "created", "config", "generator", "versions", "data_digest")
MOST_NAMED = 5
Progress = Callable[[int, int], None]


class NotCheckedError(ValueError):
    """What a check would need is not there."""


@dataclass
class Subject:
    """A set in any of its forms, opened piece by piece: a file, a folder of shards, a shard, a selection of these."""

    path: Path
    progress: Progress = field(default=lambda done, total: None)
    alive: Callable[[], None] = field(default=lambda: None)  # called now and then, where there is no progress to tell

    @cached_property
    def chosen(self) -> selection.Selection | None:
        """The selection, where the set is one."""
        return selection.read_selection(self.path) if store.is_selection(self.path) else None

    @cached_property
    def base(self) -> Path:
        """Where the pixels lie: a file or a folder of shards."""
        return self.path if self.chosen is None else self.chosen.base

    @property
    def is_folder(self) -> bool:
        return self.base.is_dir()

    @cached_property
    def attributes(self) -> dict[str, Any]:
        with hdf5.File(self.base / shards.PLAN if self.is_folder else self.base) as file:
            return file.attributes(REQUIRED)

    @property
    def is_shard(self) -> bool:
        """Whether this is one part of a set, rather than a set."""
        return not self.is_folder and not self.attributes.get("complete")

    @cached_property
    def table(self) -> Path:
        """The file that holds the columns of the whole plan; of a shard it lies beside it, if anywhere."""
        if self.is_folder or (self.is_shard and (self.base.parent / shards.PLAN).is_file()):
            return (self.base if self.is_folder else self.base.parent) / shards.PLAN
        return self.base

    @cached_property
    def rows(self) -> int:
        """How many rows the plan has."""
        with hdf5.File(self.table) as file:
            file.require(tables.KINDS)
            return file.rows("pid")

    @cached_property
    def names(self) -> list[str]:
        """The table of files."""
        with hdf5.File(self.table) as file:
            file.require_texts(tables.FILES)
            return file.texts(tables.FILES)

    @cached_property
    def parts(self) -> dict[Path, int]:
        """The files of images that are there, with the plan row that each begins with."""
        if not self.is_folder:
            return {self.base: int(self.attributes["start"])}
        there = {path.name for path in self.base.glob("part-*.h5")}
        paths = {shards.shard_path(self.base, shard): shard for shard in range(shards.shard_count(self.rows))}
        return {path: shard * shards.SHARD_ROWS for path, shard in paths.items() if path.name in there}

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        with hdf5.File(self.table) as file:
            return file.column(name, rows)

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """A column, some thousand rows at a time."""
        with hdf5.File(self.table) as file:
            for place in plan.blocks(self.rows):
                self.alive()
                yield file.column(name, place)


def structure(subject: Subject) -> str:
    """Known columns of the right types and shapes, stored in the files themselves, and nothing else."""
    if subject.is_folder and not subject.table.is_file():
        raise ValueError(f"{subject.base}: holds no {shards.PLAN}, so no shards of a synthetic set")
    known = {subject.path: {selection.ROWS}} if subject.chosen is not None else {}
    known |= {subject.table: TABLE} if subject.is_folder else {}
    known |= {path: {*TABLE, tables.CRC32, hdf5.IMAGES} for path in subject.parts}
    if not subject.parts:
        raise ValueError(f"{subject.base}: holds no shard yet")
    sizes: dict[tuple[int, int], str] = {}
    images = 0
    for path, names in known.items():
        subject.alive()
        with hdf5.File(path) as file:
            if strange := file.unknown(names):
                raise ValueError(f"{path}: holds what no set holds: {some(strange)}")
        if hdf5.IMAGES in names:
            part = store.Reader(path)
            sizes.setdefault(part.size, path.name)
            images += len(part)
    if len(sizes) > 1:
        raise ValueError(f"images of several sizes: {some(f'{h}x{w} in {name}' for (h, w), name in sizes.items())}")
    [(height, width)] = sizes
    return f"{images:,} images of {height}x{width}, {_counted(subject.parts)}"


def whole(subject: Subject) -> str | None:
    """A folder has every shard of its plan, and its manifest says the same as they."""
    if not subject.is_folder:
        return None
    expected = [shards.shard_path(subject.base, shard) for shard in range(shards.shard_count(subject.rows))]
    manifest = files.read_json(subject.base / shards.MANIFEST)
    mine = {name: value for name, value in subject.attributes.items() if name not in ("schema", "start", "complete")}
    if manifest != mine | {"rows": subject.rows}:
        raise ValueError(f"{shards.MANIFEST} and {shards.PLAN} say different things")
    if missing := [path.name for path in expected if path not in subject.parts]:
        raise ValueError(f"unfinished: {len(missing):,} of {_counted(expected)} missing: {some(missing)}")
    if beyond := sorted({path.name for path in subject.base.glob("part-*")} - {path.name for path in expected}):
        raise ValueError(f"files that are no shard of the plan: {some(beyond)}")
    return f"{_counted(expected)} and the manifest"


def planned(subject: Subject) -> str:
    """The columns are the plan's, whose digest they have; of shards, the rows of it that they are."""
    if subject.is_shard and subject.table == subject.base:
        raise NotCheckedError("one shard without the plan; give the folder that it lies in")
    found = plan.digest(subject.names, subject.blocks)
    if found != subject.attributes["plan_sha256"]:
        raise ValueError(f"{subject.table}: its columns have the digest {found[:12]}..., not the one that it names")
    for path, start in subject.parts.items():
        if path != subject.table:
            subject.alive()
            _require_rows(subject, path, start)
    return f"digest {found[:12]}... of {subject.rows:,} rows"


def checksums(subject: Subject) -> str:
    """Every image can be read and has its CRC-32."""
    done, damaged = 0, []
    for path, start in subject.parts.items():
        reader = store.Reader(path)
        total = subject.rows if subject.is_folder else len(reader)
        for row in range(len(reader)):
            if row % 256 == 0:
                subject.progress(done + row, total)
            try:
                reader.image(row)
            except ValueError:
                damaged.append(start + row)
        done += len(reader)
        subject.progress(done, total)
    if damaged:
        raise ValueError(f"{len(damaged):,} of {done:,} images are damaged: {some(damaged, 'row')}")
    return f"{done:,} images"


def names(subject: Subject) -> str:
    """Source and target names are names: without control characters, and no path that leads anywhere else."""
    strange = [name for name in subject.names if not _is_name(name)]
    if strange:
        raise ValueError(f"{len(strange):,} of {len(subject.names):,} names of files are none: {some(strange)}")
    return f"{len(subject.names):,} files, {len(set(subject.names)):,} different names"


def provenance(subject: Subject) -> str:
    """All of it is there and does not contradict itself."""
    said = subject.attributes
    if missing := [name for name in PROVENANCE if not said.get(name)]:
        raise ValueError(f"does not say {some(missing)}")
    if not said["generator"].get("model"):
        raise ValueError("does not say which generator made the images")
    if not (subject.is_folder or subject.is_shard) and (said.get("rows"), said["start"]) != (subject.rows, 0):
        raise ValueError(f"says that it holds {said.get('rows')} rows from row {said['start']} on")
    trained_on = said["generator"].get("trained_on")
    foreign = any(config.get("foreign_generator") for config in configs(said))
    if trained_on not in (None, said["data_digest"]) and not foreign:
        raise ValueError("its generator was trained on other data than its sources are of, which it does not admit")
    stamp = ", made with --allow-test-identities: for image quality only" if is_stamped(subject) else ""
    return f"{said['tool']}, {said['created']}, {said['generator']['model']}{stamp}"


def scored(subject: Subject) -> str | None:
    """A file of scores beside the set is of this very content."""
    if subject.is_shard or not store.scores_path(subject.base).exists():
        return None
    path = store.scores_path(subject.base)
    with hdf5.File(path) as file:
        if strange := file.unknown({scores.GROUP}):
            raise ValueError(f"{path}: holds what no file of scores holds: {some(strange)}")
    found = store.Reader(subject.base).scores
    without = {name: int(np.isnan(score.values).sum()) for name, score in found.items()}
    return ", ".join(f"{name} ({count:,} without)" if count else name for name, count in without.items())


def selected(subject: Subject) -> str | None:
    """A selection is of the set that lies at its place now."""
    if subject.chosen is None:
        return None
    return f"{len(store.Reader(subject.path)):,} of {subject.rows:,} rows of {subject.base.name}"


def is_stamped(subject: Subject) -> bool:
    """Whether the set admits that it may show people of query and gallery."""
    return bool(subject.attributes.get(audit.TEST_IDENTITIES))


def configs(attributes: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a set, and the sets that it was merged from, were made with."""
    yield attributes["config"]
    for part in attributes.get("parts", ()):
        yield from configs(part)


def some(values: Iterable[object], what: str = "") -> str:
    """The first of some values."""
    listed = list(values)
    shown = ", ".join(value if isinstance(value, str) else str(value) for value in listed[:MOST_NAMED])
    plural = f"{what}{'s' * (len(listed) > 1)} " if what else ""
    return plural + shown + (", ..." if len(listed) > MOST_NAMED else "")


def _counted(parts: Collection[Path]) -> str:
    """So many files."""
    return f"{len(parts):,} {'file' if len(parts) == 1 else 'files'}"


def _require_rows(subject: Subject, path: Path, start: int) -> None:
    """A shard holds the very rows of the plan that it stands for."""
    with hdf5.File(path) as file:
        said, count = file.attributes(REQUIRED), file.rows(hdf5.IMAGES)
        place = slice(start, min(start + shards.SHARD_ROWS, subject.rows))
        if not shards.is_part(said, subject.attributes, start) or count != place.stop - place.start:
            raise ValueError(f"{path}: a shard of another set, or of other rows; remove it")
        for name in tables.KINDS:
            if file.column(name).tobytes() != subject.column(name, place).tobytes():
                raise ValueError(f"{path}: its {name} is not the plan's; remove it")
        if file.texts(tables.FILES) != subject.names:
            raise ValueError(f"{path}: its table of files is not the plan's; remove it")


def _is_name(name: str) -> bool:
    rooted = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
    plain = not any(unicodedata.category(character) == "Cc" for character in name)
    return bool(name) and plain and not rooted and ".." not in name.replace("\\", "/").split("/")
