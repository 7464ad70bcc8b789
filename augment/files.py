"""Files that appear whole or not at all: written beside their place, synced, renamed.

A reader never sees half a file, whenever the writer is killed. Every artefact of the pipeline is published here.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling to write; publish it as `path` on a clean exit, remove it on an error.

    The name carries host and process id, so that two processes that make the same file do not write into each other's.
    """
    _make_folder(path.parent)
    part = _part(path)
    try:
        with naming(path):
            yield part
            sync(part)
            part.replace(path)
            sync(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _make_folder(path: Path) -> None:
    """Make a folder and those above it, each of which then survives a power loss, as what is put into it shall."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let the disk's complaints name `path`: a full disk is reported without any name."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def sync(path: Path) -> None:
    """fsync a file, or the folder that holds its name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> Path:
    """Publish `data` as `path`."""
    with appearing(path) as part:
        part.write_bytes(data)
    return path


def write_new(path: Path, data: bytes) -> bool:
    """Publish `data` as `path` unless something is there already; whether this process did.

    Of several processes one succeeds, and the others find its whole file.
    """
    if path.exists():
        return False
    _make_folder(path.parent)
    part = _part(path)
    try:
        with naming(path):
            part.write_bytes(data)
            sync(part)
            os.link(part, path)
            sync(path.parent)
    except FileExistsError:
        return False
    finally:
        part.unlink(missing_ok=True)
    return True


def reserve(path: Path, size: int) -> None:
    """Let the file at `path` take `size` bytes of the disk, whatever it holds.

    Raises:
        OSError: the disk has no room for them; nothing is tried then, which would fill it for others, nothing is left.
    """
    held = path.stat().st_blocks * 512 if path.exists() else 0
    if size - held > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    try:
        with path.open("ab") as file:
            file.truncate(size)
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> Path:
    """Publish `value` as indented JSON."""
    return write_atomic(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """`value` as indented JSON; NaN and infinity are refused, being no JSON."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """The parsed file.

    Raises:
        ValueError: not JSON; the message names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise ValueError(f"{path}: not a JSON file ({error}); remove it or restore it from a backup") from None


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_parts(folder: Path) -> None:
    """Remove temporary files that killed processes of this machine left in `folder`; those of living ones stay."""
    for part in folder.glob(f".*.{socket.gethostname()}.*.part"):
        process = part.name.split(".")[-2]
        if process.isdigit() and not alive(int(process)):
            part.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Whether a process of this machine is running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
