"""TensorBoard events of a training that may be stopped and continued: curves over the images seen."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import UInt8


class Board:
    """Without a folder it writes nothing. What a killed run wrote past `images_seen`, TensorBoard leaves out."""

    def __init__(self, folder: Path | None, images_seen: int) -> None:
        self._writer: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter  # here, because it takes a second to import

            self._writer = SummaryWriter(str(folder), purge_step=images_seen + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def scalars(self, kind: str, values: dict[str, float], images_seen: int) -> None:
        """A point on the curve kind/name of each value."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{kind}/{name}", value, images_seen)

    def image(self, name: str, pixels: UInt8[np.ndarray, "h w 3"], images_seen: int) -> None:
        if self._writer is not None:
            self._writer.add_image(name, pixels, images_seen, dataformats="HWC")

    def flush(self) -> None:
        """Make everything visible to readers."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
