"""Freed memory stays with the process."""

import resource

import numpy as np

from augment.allocator import keep_memory
from tests.killing import in_child

BYTES, TIMES = 2**26, 20


def page_faults():
    """Of writing to a new large block, again and again."""
    np.ones(BYTES, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        np.ones(BYTES, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_large_blocks_are_used_again():
    def work():
        assert not keep_memory() or page_faults() < TIMES

    assert in_child(work) == 0


def test_a_library_without_the_setting_is_left_alone(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_memory()
