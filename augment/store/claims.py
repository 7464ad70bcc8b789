"""Which process makes which shard, and the space that they will need.

A claim is a lock on one byte of a file in the folder of shards (POSIX record locks, which NFS and Lustre carry between
nodes): the system frees it when its holder dies, however it dies, and another process takes the shard over. On a file
system without locks each process makes the shards of its rank.
"""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import final

from augment import files

LOCK, RESERVE = ".claims", ".reserve"
MERGE, SPACE, PRESENT = 2**30, 2**30 + 1, 2**30 + 2  # bytes of the lock file, past those of any shard
TAKEN = (errno.EACCES, errno.EAGAIN)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@final
class Claims:
    """This process's claims on the shards of a folder. A process holds one of these for a folder at a time."""

    def __init__(self, folder: Path, rank: int = 0, world: int = 1) -> None:
        """`rank` of `world` processes divide the shards where there are no locks."""
        self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        self._held: set[int] = set()
        self._rank, self._world = rank, world
        self.locks = True  # whether the file system has them
        with contextlib.suppress(OSError):  # a process that has no shard in hand is seen as well
            fcntl.lockf(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, PRESENT)

    def take(self, place: int) -> bool:
        """Claim a shard (or MERGE, or SPACE) unless it is claimed, by whomever."""
        if place in self._held:
            return False
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError as error:
            if error.errno in TAKEN:
                return False
            if error.errno not in NO_LOCKS:
                raise
            self.locks = False
            if place % self._world != self._rank % self._world:
                return False
        self._held.add(place)
        return True

    def release(self, place: int) -> None:
        if self.locks:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)
        self._held.discard(place)

    def close(self) -> None:
        """Give up all claims."""
        os.close(self._descriptor)
        self._held.clear()

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def is_claimed(folder: Path) -> bool:
    """Whether another process is at work in a folder, as far as the file system tells."""
    if not (folder / LOCK).exists():
        return False
    with (folder / LOCK).open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in TAKEN
    return False


def reserve(folder: Path, size: int, claims: Claims) -> None:
    """Keep `size` bytes of the disk free for this set, unless another process is about to say how many it needs.

    Raises:
        OSError: the disk has no room for them; nothing is reserved then.
    """
    if claims.take(SPACE):
        try:
            with files.naming(folder):
                files.reserve(folder / RESERVE, size)
        finally:
            claims.release(SPACE)


def give_back(folder: Path, size: int, claims: Claims) -> None:
    """Keep `size` of the reserved bytes, if there are more; never take any again, which another one has given back."""
    path = folder / RESERVE
    if claims.take(SPACE):
        try:
            if path.exists() and path.stat().st_size > size:
                os.truncate(path, size)
        finally:
            claims.release(SPACE)


def release_space(folder: Path) -> None:
    """Give the reserved space back."""
    (folder / RESERVE).unlink(missing_ok=True)
