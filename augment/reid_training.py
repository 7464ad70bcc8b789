"""What stages that train re-ID networks share: a training that lives in two files, and goes on from them.

X.safetensors   the training state after the last epoch; it knows how to rebuild the network
X.csv           loss, accuracy, learning rate, a row an epoch
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from augment import files, interruption
from augment.board import Board
from augment.data.records import Record
from augment.interruption import Preempted
from augment.journal import Journal
from reid import checkpoint, distributed, networks, torchreid_api
from reid.dataset import MixedDataset
from reid.sources import FileSource
from reid.training import ReidConfig, train


def train_in_files(
    training: ReidConfig,
    images: MixedDataset,
    path: Path,
    journal_path: Path,
    *,
    device: str,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda line: None,
    remedy: str = "start afresh with --force",
    board: Path | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Train, or go on from the checkpoint `path`; the model, and the checkpoint's header: what was done to get there.

    `board` is a folder for TensorBoard's events. Of processes that form a group the first one writes; SIGTERM to any of
    them stops all, after the same step.

    Raises:
        ValueError: `path` is no checkpoint of this training; the message ends with `remedy`.
        Preempted: stopped by SIGTERM; the epochs done are saved.
    """
    resume = path.read_bytes() if path.exists() else None
    done = _header(path, resume, remedy)
    if 0 < done["epoch"] < training.epochs:
        log(f"continuing after epoch {done['epoch']} of {training.epochs}{_change(done['processes'])}")
    journal = Journal(journal_path, "epoch", done["epoch"])
    folder = board if distributed.rank() == 0 else None

    with interruption.on_sigterm() as sigterm, Board(folder, done["images_seen"]) as events:

        def on_epoch(row: dict[str, Any]) -> None:
            journal.add(row)
            journal.write()
            shown = {name: row[name] for name in ("loss", "accuracy", "learning_rate")}
            events.scalars("epoch", shown, row["images_seen"])
            events.flush()

        def on_step(seen: int, total: int) -> None:
            if progress is not None:
                progress(seen, total)
            if distributed.anywhere(sigterm.requested):
                sigterm.requested = True
                sigterm.raise_if_requested(f"{path.parent} (whole epochs)")

        try:
            model = train(
                training,
                images,
                num_classes=images.num_classes,
                device=device,
                resume=resume,
                on_checkpoint=lambda data: _publish(path, data),
                on_epoch=on_epoch,
                on_loss=lambda seen, loss: events.scalars("step", {"loss": loss}, seen),
                progress=on_step,
            )
        except RuntimeError:  # a scheduler signals the loader's workers too, whose end the loader reports first
            sigterm.raise_if_requested(f"{path.parent} (whole epochs)")
            raise
    return model, checkpoint.from_bytes(path.read_bytes()).header


@contextmanager
def in_company(path: Path, epochs: int) -> Iterator[None]:
    """Say what is saved, in the checkpoint `path`, where another process ended and this one cannot go on alone.

    Raises:
        Preempted: the epochs done are saved.
    """
    try:
        yield
    except distributed.PeerLost as error:
        done = _header(path, path.read_bytes() if path.exists() else None, "start afresh with --force")
        raise Preempted(
            f"another process ended; {done['epoch']} of {epochs} epochs are saved in {path.parent}; the same command "
            "continues"
        ) from error


def file_source(records: Sequence[Record]) -> FileSource:
    """Images in the order of their names, which does not depend on the file system."""
    return listed_source(sorted(records, key=lambda record: (record.name, record.pid, record.camid)))


def listed_source(records: Sequence[Record]) -> FileSource:
    """Images in the order given, which labels that are taken from the same records have too."""
    return FileSource([r.path for r in records], [r.pid for r in records], [r.camid for r in records])


def init_file(training: ReidConfig) -> Path | None:
    """The file that a training starts from, if any.

    Raises:
        ValueError: it is not there.
    """
    if training.init == "random":
        return None
    path = torchreid_api.imagenet_file(training.model) if training.init == "imagenet" else Path(training.init)
    if not path.is_file():
        raise ValueError(f"init {path}: no such file; give random, imagenet or the path of a file of weights")
    return path


def require_size(training: ReidConfig) -> None:
    """Refuse a size that the network cannot take, before anything is read.

    Raises:
        ValueError: naming the option, with a size that would do.
    """
    try:
        networks.require_size(training.model, training.height, training.width)
    except ValueError as error:
        raise ValueError(f"--{error}") from None


def init_notes(training: ReidConfig, num_classes: int) -> tuple[str, ...]:
    """Which tensors of the file that a training starts from are not used, and which of the network's it lacks.

    Raises:
        ValueError: the file is not there, not readable, not finite, or of another model.
    """
    path = init_file(training)
    weights = networks.starting_weights(training, num_classes)
    if path is None or weights is None:
        return ()
    taken = f"init {path}: {len(weights.taken)} tensors taken"
    return (f"{taken}; left out: {_some(weights.left)}; at random: {_some(weights.own)}",)


def _some(names: Sequence[str], shown: int = 4) -> str:
    """The first names, and how many there are."""
    more = f", ... ({len(names)} in all)" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more or "none"


def _header(path: Path, data: bytes | None, remedy: str) -> dict[str, Any]:
    """How far a training is."""
    if data is None:
        return {"epoch": 0, "images_seen": 0, "processes": []}
    try:
        header = {"processes": [1]} | checkpoint.from_bytes(data).header
        return {name: header[name] for name in ("epoch", "images_seen", "processes")}
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: no checkpoint of this run ({error}); {remedy}") from None


def _change(before: list[int]) -> str:
    """That the number of processes is another one now, because that may change the result."""
    now = distributed.world()
    return "" if before == [now] else f" by {now} processes (before: {', '.join(map(str, before))})"


def _publish(path: Path, data: bytes) -> None:
    files.write_atomic(path, data)
