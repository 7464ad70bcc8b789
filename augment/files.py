"""Files that appear whole or not at all: written beside their place, synced, renamed.

A reader never sees half a file, whenever the writer is killed. Every artefact of the pipeline is published here.
"""

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling to write; publish it as `path` on a clean exit, remove it on an error.

    The name carries host and process id, so that two processes that make the same file do not write into each other's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        with naming(path):
            yield part
            sync(part)
            part.replace(path)
            sync(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


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


def write_json(path: Path, value: Any) -> Path:
    """Publish `value` as indented JSON; NaN and infinity are refused, being no JSON."""
    return write_atomic(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The parsed file.

    Raises:
        ValueError: not JSON; the message names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
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
