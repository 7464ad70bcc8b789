"""SIGTERM as schedulers send it: finish the step, save, leave with an exit code that means "requeue me"."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PREEMPTED_EXIT_CODE = 75  # EX_TEMPFAIL


class Preempted(Exception):
    """The stage saved its state on SIGTERM; the same command continues it."""


class Flag:
    """Whether SIGTERM has arrived."""

    requested = False

    def raise_if_requested(self, saved: str) -> None:
        """Raise `Preempted`; call it where everything is saved, and say where."""
        if self.requested:
            raise Preempted(f"stopped by SIGTERM, saved in {saved}; the same command continues")


@contextmanager
def on_sigterm() -> Iterator[Flag]:
    """Collect SIGTERM into a flag while the block runs (main thread only; elsewhere the flag stays down)."""
    flag = Flag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def request(number: int, frame: FrameType | None) -> None:
        flag.requested = True

    previous = signal.signal(signal.SIGTERM, request)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGTERM, previous)
