"""Run a function in a process of its own that may be killed at any statement."""

import os
import signal
from collections.abc import Callable


def die() -> None:
    """End this process as `kill -9` does: nothing is flushed, no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def start(function: Callable[[], object]) -> int:
    """A forked process that calls `function`; its exit status is 0, or 1 after an exception."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    return process


def in_child(function: Callable[[], object]) -> int:
    """The exit status of a forked process that calls `function`: 0, 1 after an exception, -9 after `die`."""
    process = start(function)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
