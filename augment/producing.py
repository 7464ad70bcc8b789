"""Making the images of a plan: any number of processes over one folder, each shard written while the next is made.

A process takes whatever shard is missing and unclaimed, waits where the others have all of them, and takes over what a
killed one leaves. Each returns when the set is whole, whoever made it.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import UInt8

from augment import interruption, store
from augment.interruption import Flag
from augment.launch import Rank
from augment.plan import Plan

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 600.0  # on file systems without locks
Generate = Callable[[np.ndarray], UInt8[np.ndarray, "n h w 3"]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Work:
    """What is to be made: the images of `plan`, of one size, in batches of plan rows, into `out`."""

    plan: Plan
    size: tuple[int, int]
    batch: int
    generate: Generate
    provenance: dict[str, Any]
    out: Path

    @property
    def folder(self) -> Path:
        return store.shard_folder(self.out)

    @property
    def merges(self) -> bool:
        """Whether the shards become one file."""
        return self.folder != self.out

    @property
    def finished(self) -> bool:
        return self.out.exists() if self.merges else not store.missing_shards(self.folder, self.plan)

    def bytes_left(self) -> int:
        """Bytes of the disk that the rest of the set will take, shards and merged file."""
        missing = store.missing_shards(self.folder, self.plan)
        rows = sum(len(store.shard_rows(self.plan, shard)) for shard in missing)
        each = store.set_bytes(0, self.size, self.plan.files)
        shards = store.set_bytes(rows, self.size, ()) + len(missing) * each
        return shards + (store.set_bytes(len(self.plan), self.size, self.plan.files) if self.merges else 0)


@final
class _Writer:
    """Publishes shards in a thread of its own, one at a time, while the next one is made."""

    def __init__(self, work: Work, claims: store.Claims, attributes: dict[str, Any]) -> None:
        self._work, self._claims, self._attributes = work, claims, attributes
        self._thread = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None
        self.pending = 0  # rows that are being written

    def write(self, shard: int, pixels: UInt8[np.ndarray, "n h w 3"]) -> None:
        """Publish a shard as soon as the one before it is.

        Raises:
            OSError: that one could not be written.
        """
        self.flush()
        self.pending = len(pixels)
        self._written = self._thread.submit(self._publish, shard, pixels)

    def flush(self) -> None:
        """Wait until all that was given is written.

        Raises:
            OSError: it could not be written.
        """
        if self._written is not None:
            written, self._written, self.pending = self._written, None, 0
            written.result()

    def reserve(self) -> None:
        """Keep the disk's room for the rest of the set.

        Raises:
            OSError: there is no room.
        """
        work = self._work
        if not work.finished:
            store.reserve(work.folder, work.bytes_left(), self._claims)

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def _publish(self, shard: int, pixels: UInt8[np.ndarray, "n h w 3"]) -> None:
        work = self._work
        needed = store.set_bytes(len(pixels), work.size, work.plan.files)
        store.give_back(work.folder, max(work.bytes_left() - needed, 0), self._claims)
        store.write_shard(work.folder, shard, work.plan, pixels, self._attributes)
        self._claims.release(shard)


def produce(
    work: Work, rank: Rank, progress: Progress | None = None, log: Callable[[str], None] = lambda line: None
) -> None:
    """Make what is missing of a set, together with all processes that do the same, and merge it.

    Raises:
        ValueError: the folder was begun with another configuration; or others stopped on a file system without locks;
            or a shard is damaged again after it was made again.
        OSError: the disk has no room for the whole set, or is full; finished shards stay.
        Preempted: stopped by SIGTERM; finished shards stay.
    """
    if work.merges and work.out.is_dir():
        raise ValueError(f"--out {work.out}: is a folder; choose a name without .h5 for shards, or remove it")
    try:
        _produce(work, rank, progress, log)
    except FileNotFoundError:  # another process has merged the shards and removed their folder meanwhile
        if not work.finished:
            raise
    if work.merges:
        store.remove_shards(work.folder)


def _produce(work: Work, rank: Rank, progress: Progress | None, log: Callable[[str], None]) -> None:
    attributes = store.begin(work.folder, work.plan, work.provenance)
    if done := _rows_there(work):
        log(f"continuing: {done} of {len(work.plan)} images are there")
    with (
        interruption.on_sigterm() as sigterm,
        store.Claims(work.folder, rank.index, rank.world) as claims,
        closing(_Writer(work, claims, attributes)) as writer,
    ):
        writer.reserve()
        remade: set[int] = set()
        while not work.finished or _removes_damaged(work, claims, attributes, remade, log):
            _make_shards(work, rank, claims, writer, sigterm, progress)
            if not _merge(work, claims, attributes, remade, sigterm, log):
                if progress is not None:
                    progress(_rows_there(work), len(work.plan))
                _wait(work, claims, sigterm)
    if progress is not None:
        progress(len(work.plan), len(work.plan))
    store.release_space(work.folder)


def _make_shards(
    work: Work, rank: Rank, claims: store.Claims, writer: _Writer, sigterm: Flag, progress: Progress | None
) -> None:
    """Make every shard that nobody has made or claimed, and see them written."""
    for shard in _unclaimed(work, rank, claims):
        rows = store.shard_rows(work.plan, shard)
        done = _rows_there(work) + writer.pending
        pixels = np.empty((len(rows), *work.size, 3), dtype=np.uint8)
        for start in range(0, len(rows), work.batch):
            batch = np.asarray(rows[start : start + work.batch])
            pixels[start : start + len(batch)] = work.generate(batch)
            if progress is not None:
                progress(min(done + start + len(batch), len(work.plan)), len(work.plan))
            sigterm.raise_if_requested(f"{work.folder} (whole shards)")
        writer.write(shard, pixels)
    writer.flush()


def _unclaimed(work: Work, rank: Rank, claims: store.Claims) -> Iterator[int]:
    """Missing shards, each claimed when it is its turn; the processes begin at places of their own."""
    missing = store.missing_shards(work.folder, work.plan)
    first = rank.index * len(missing) // rank.world
    for shard in [*missing[first:], *missing[:first]]:
        if not claims.take(shard):
            continue
        if work.finished or store.shard_path(work.folder, shard).exists():
            claims.release(shard)
        else:
            yield shard


def _merge(
    work: Work,
    claims: store.Claims,
    attributes: dict[str, Any],
    remade: set[int],
    sigterm: Flag,
    log: Callable[[str], None],
) -> bool:
    """Merge the shards if all are there and no other process does; whether there is nothing to wait for.

    While one process merges, none that comes late may reserve the room that the merged file takes.
    """
    if work.finished:
        return True
    if store.missing_shards(work.folder, work.plan) or not claims.take(store.MERGE):
        return False
    try:
        while not claims.take(store.SPACE) and claims.locks:
            time.sleep(POLL_SECONDS)
        if not work.finished:
            stop = f"{work.folder} (whole shards)"
            store.merge(work.folder, work.plan, work.out, attributes, lambda: sigterm.raise_if_requested(stop))
    except store.DamagedShard as damaged:
        _remove(damaged, work, remade, log)
    finally:
        claims.release(store.SPACE)
        claims.release(store.MERGE)
    return True


def _removes_damaged(
    work: Work, claims: store.Claims, attributes: dict[str, Any], remade: set[int], log: Callable[[str], None]
) -> bool:
    """Whether shards that stay as they are had to be removed; of several processes one looks at them."""
    if work.merges or not claims.take(store.MERGE):
        return False
    found = False
    try:
        for shard in range(store.shard_count(len(work.plan))):
            try:
                store.check_shard(work.folder, shard, work.plan, attributes)
            except store.DamagedShard as damaged:
                found = True
                _remove(damaged, work, remade, log)
    finally:
        claims.release(store.MERGE)
    return found


def _remove(damaged: store.DamagedShard, work: Work, remade: set[int], log: Callable[[str], None]) -> None:
    """Remove a shard that is to be made again.

    Raises:
        ValueError: it has been already.
    """
    if damaged.shard in remade:
        raise ValueError(f"{damaged.complaint}, again; check the disk, and remove {work.folder} then") from None
    remade.add(damaged.shard)
    log(f"{damaged.complaint}; it is made again")
    store.shard_path(work.folder, damaged.shard).unlink(missing_ok=True)


def _wait(work: Work, claims: store.Claims, sigterm: Flag) -> None:
    """Wait until another process has done something, or died: then there is a claim to take."""
    before, since = store.missing_shards(work.folder, work.plan), time.monotonic()
    while not work.finished:
        sigterm.raise_if_requested(f"{work.folder} (whole shards)")
        time.sleep(POLL_SECONDS)
        missing = store.missing_shards(work.folder, work.plan)
        if missing != before or claims.locks:
            return
        if time.monotonic() - since > PATIENCE_SECONDS:
            names = ", ".join(store.shard_path(work.folder, shard).name for shard in missing[:5])
            raise ValueError(
                f"{work.folder}: no other process has made any of the {len(missing)} missing shards ({names}) for "
                f"{PATIENCE_SECONDS:.0f} s, and this file system has no locks to tell whether they run; run the same "
                "command again"
            )


def _rows_there(work: Work) -> int:
    missing = store.missing_shards(work.folder, work.plan)
    return len(work.plan) - sum(len(store.shard_rows(work.plan, shard)) for shard in missing)
