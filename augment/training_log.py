"""What a generator's training leaves for its reader: losses.csv, validation.csv and TensorBoard events."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from augment.board import Board
from augment.journal import Journal
from generators import distributed
from generators.objective import TrainingConfig

STEPS = 20  # a row of losses.csv
PENDING = "log"  # the prefix of unfinished rows in a checkpoint
CRITERION = "ssim"  # by which validation.csv's best row is told


class TrainingLog:
    """Rows at the same steps whether or not the run was resumed in between; TensorBoard counts images."""

    def __init__(self, out: Path, images_seen: int, config: TrainingConfig, *, board: bool) -> None:
        self._config = config
        self._losses = Journal(out / "losses.csv", "images", images_seen)
        self._validation = Journal(out / "validation.csv", "images", images_seen)
        self._pending: list[dict[str, Tensor]] = []
        self._board = Board(out / "tensorboard" if board else None, images_seen)

    def add(self, images_seen: int, losses: dict[str, Tensor]) -> None:
        """Collect a step's losses; a row holds their means over the steps that had them, and over the processes."""
        self._pending.append(losses)
        if images_seen < self._config.images and images_seen // self._config.batch % STEPS:
            return
        names = dict.fromkeys(name for step in self._pending for name in step)
        means = torch.stack([torch.stack([step[n] for step in self._pending if n in step]).mean() for n in names])
        values = dict(zip(names, distributed.average(means).tolist(), strict=True))
        self._losses.add({"images": images_seen} | {name: f"{value:.6g}" for name, value in values.items()})
        self._board.scalars("loss", values, images_seen)
        self._pending.clear()

    def pending(self) -> dict[str, Tensor]:
        """The losses of the row that is not full yet, for the checkpoint."""
        return {f"{PENDING}.{i}.{name}": value for i, step in enumerate(self._pending) for name, value in step.items()}

    def restore(self, flat: dict[str, Tensor]) -> None:
        """Go on from `pending`."""
        for key, value in flat.items():
            prefix, _, rest = key.partition(".")
            if prefix == PENDING:
                step, _, name = rest.partition(".")
                while len(self._pending) <= int(step):
                    self._pending.append({})
                self._pending[int(step)][name] = value

    @contextmanager
    def kept_on_error(self) -> Iterator[None]:
        """Publish the rows when the training fails, because they show how it came to that."""
        try:
            yield
        except ValueError:
            self.write()
            raise

    def validated(self, images_seen: int, measured: dict[str, float]) -> bool:
        """Note the quality on withheld identities; whether it is the best so far."""
        rows = [row for row in self._validation.rows if int(row["images"]) != images_seen]
        self._validation.rows[:] = [*rows, {"images": images_seen} | {k: f"{v:.6g}" for k, v in measured.items()}]
        self._board.scalars("validation", measured, images_seen)
        return all(measured[CRITERION] > float(row[CRITERION]) for row in rows)

    def drawn(self, images_seen: int, sheet: Path) -> None:
        """Show a sample sheet."""
        with Image.open(sheet) as image:
            self._board.image("samples", np.asarray(image), images_seen)

    def write(self) -> None:
        """Publish the rows up to now."""
        self._losses.write()
        self._validation.write()
        self._board.flush()

    def close(self) -> None:
        self.write()
        self._board.close()
