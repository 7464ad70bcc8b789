"""A small synthetic set in all its forms, its files damaged at random, and what reading everything of one comes to."""

import json
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augment import store
from augment.integrity import Subject
from augment.plan import COLUMNS, Plan
from augment.verification import WRONG, examine

ROWS, SIZE, SHARD_ROWS = 10, (16, 8), 4
SET, SCORES, SELECTION, SHARDS = "set.h5", "set.scores.h5", "chosen.h5", "parts"
# each kind of file, and what is opened when it is damaged
TARGETS = {
    SET: SET,
    SCORES: SET,
    SELECTION: SELECTION,
    f"{SHARDS}/part-00001.h5": SHARDS,
    f"{SHARDS}/plan.h5": SHARDS,
    f"{SHARDS}/manifest.json": SHARDS,
}
PROVENANCE = {
    "tool": "test",
    "created": "2020-01-01T00:00:00+00:00",
    "config": {"seed": 0, "poses": "random"},
    "generator": {"model": "dptn", "preset": "tiny", "weights_sha256": "1" * 64},
    "versions": {"python": "3"},
    "data_digest": "0" * 64,
    "points_digest": "2" * 64,
    "pose_estimator": "annotation file",
}
SECONDS = 20


def small_plan(rows: int = ROWS) -> Plan:
    rng = np.random.default_rng(0)
    poses = rng.uniform(0, 60, (3, 18, 2)).astype(np.float32)
    poses[0, 3] = np.nan
    of_row = np.arange(rows)
    return Plan(
        files=("0002_c1.jpg", "0004_c2.jpg", "ähnlich.jpg"),
        poses=poses,
        pid=np.asarray([2, 4])[of_row % 2],
        camid=np.asarray([1, 2])[of_row % 2],
        source_index=of_row % 2,
        target_index=of_row % 3,
        seed=of_row.astype(np.uint64) + np.uint64(2**63),
    )


def small_images(rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (rows, *SIZE, 3), dtype=np.uint8)


def make_forms(folder: Path) -> Path:
    """The same images as a file with scores and a selection, and as a folder of shards."""
    plan, images = small_plan(), small_images()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.shards, "SHARD_ROWS", SHARD_ROWS)
        attributes = store.begin(folder / SHARDS, plan, PROVENANCE)
        for shard in range(store.shard_count(ROWS)):
            rows = store.shard_rows(plan, shard)
            store.write_shard(folder / SHARDS, shard, plan, images[rows.start : rows.stop], attributes)
    reader = store.Reader(store.write_set(folder / SET, plan, PROVENANCE, iter([images[:7], images[7:]])))
    values = np.linspace(-1, 1, ROWS).astype(np.float32)
    values[3] = np.nan
    scores = {name: store.Score(values, {"by": name}) for name in ("sharpness", "margin")}
    store.write_scores(reader, scores)
    store.write_selection(folder / SELECTION, reader, np.asarray([1, 4, 7]), {"keep": "margin > 0"})
    return folder


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """1 to 8 bytes changed; or, once in five times, what is left of the file after a random place."""
    if rng.random() < 0.2:
        return data[: rng.integers(len(data))]
    changed = bytearray(data)
    for place in rng.integers(len(data), size=rng.integers(1, 9)):
        changed[place] ^= int(rng.integers(1, 256))
    return bytes(changed)


def read_all(path: Path) -> dict[str, str]:
    """All that a reader gives of a set, one text each.

    Raises:
        ValueError: the set is refused, or an image of it is damaged.
    """
    reader = store.Reader(path)
    found = {name: getattr(reader, name).tobytes().hex() for name in (*COLUMNS, "crc32")}
    found |= {f"score {name}": score.values.tobytes().hex() for name, score in reader.scores.items()}
    found["rows"] = repr(None if reader.rows is None else reader.rows.tolist())
    found["names"] = repr([(reader.source_name(row), reader.target_name(row)) for row in range(len(reader))])
    found["provenance"] = json.dumps(
        [reader.attributes, {name: score.provenance for name, score in reader.scores.items()}], sort_keys=True
    )
    found["images"] = "".join(reader.image(row).tobytes().hex() for row in range(len(reader)))
    return found


def answer(function: Callable[[], object], seconds: float = SECONDS) -> tuple[str, object]:
    """What a function comes to in a forked process, and a value.

    returned: its own, as JSON. refused: the text of a ValueError. raised: another exception. hang: None. crash: the
    negative number of a signal.
    """
    receiving, sending = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(receiving)
        try:
            said = ("returned", function())
        except ValueError as error:
            said = ("refused", str(error))
        except BaseException as error:
            said = ("raised", repr(error))
        with os.fdopen(sending, "w", encoding="utf-8", errors="backslashreplace") as pipe:
            json.dump(said, pipe)
        os._exit(0)
    os.close(sending)
    parts, hang = [], False
    with os.fdopen(receiving, "rb") as pipe:
        while not hang:
            hang = not select.select([pipe], [], [], seconds)[0]
            if hang or not (part := os.read(pipe.fileno(), 2**16)):
                break
            parts.append(part)
    if hang:
        os.kill(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if hang:
        return "hang", None
    if status:
        return "crash", status
    kind, value = json.loads(b"".join(parts))
    return kind, value


def try_damaged(folder: Path, name: str, rng: np.random.Generator, whole: dict[str, str]) -> tuple[str, str]:
    """Damage a file for a moment; what reading all of its set comes to, and what verifying it does.

    Reading: identical, refused (by a ValueError that names a file of the set), other columns, other provenance, other
    pixels, refused without a name, raised, hang or crash. Verifying: holds, wrong, raised, hang or crash.
    """
    path, opened = folder / name, folder / TARGETS[name]
    held = path.read_bytes()
    try:
        path.write_bytes(damage(held, rng))
        read, value = answer(lambda: read_all(opened))
        verified, found = answer(lambda: [check.name for check in examine(Subject(opened)) if check.state == WRONG])
    finally:
        path.write_bytes(held)
    if verified == "returned":
        verified = "wrong" if found else "holds"
    if read == "refused":
        return "refused" if str(folder) in str(value) else f"refused without a name: {value}", verified
    if read == "returned":
        assert isinstance(value, dict)
        different = {key for key in whole.keys() | value.keys() if whole.get(key) != value.get(key)}
        return _reading(different), verified
    return read if read in ("hang", "crash") else f"{read}: {value}", verified


def _reading(different: set[str]) -> str:
    if "images" in different:
        return "other pixels"
    if different - {"provenance"}:
        return "other columns"
    return "other provenance" if different else "identical"


def is_safe(read: str, verified: str) -> bool:
    """Whether nothing was let through: a hang or crash counts where `augment verify` is there to meet it."""
    if read == "other columns":
        return verified == "wrong"
    return read in ("identical", "refused", "other provenance", "hang", "crash") and not verified.startswith("raised")


# What may become of a process that reads a set for `augment verify`, by the arguments of its own function


def hang(sending: Any, *_: object) -> None:
    _begin(sending)
    time.sleep(1000)


def crash(sending: Any, *_: object) -> None:
    _begin(sending)
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(sending: Any, *_: object) -> None:
    _begin(sending)
    os._exit(3)


def _begin(sending: Any) -> None:
    for message in (["check", {"name": "structure", "state": "ok", "said": "fine"}], ["doing", "checksums"]):
        sending.send_bytes(json.dumps(message).encode())
