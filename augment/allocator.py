"""Memory that stays with the process: handing large tensors back to the system takes a CPU network half of its time."""

import ctypes

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # malloc.h of the GNU C library


def keep_memory() -> bool:
    """Keep what is freed for what is needed next; whether the C library can.

    The GNU C library maps each block above 32 MB anew, and the system then clears it page by page: a batch of 64 at
    128x64 is full of such blocks. The process keeps up to the peak of what it used. Other C libraries have no such
    setting.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(set_option is not None and set_option(MMAP_MAX, 0) and set_option(TRIM_THRESHOLD, 2**31 - 1))
