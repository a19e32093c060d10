"""Memory for native calls: aligned to cache lines, shared by the programs of a thread."""

from __future__ import annotations

import threading

import numpy as np

ALIGNMENT = 64


def aligned_bytes(size: int) -> np.ndarray:
    """An uninitialised byte array whose address is a multiple of 64.

    >>> aligned_bytes(100).ctypes.data % 64
    0
    """
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def aligned_floats(count: int) -> np.ndarray:
    """An aligned float32 vector of zeros.

    >>> aligned_floats(3)
    array([0., 0., 0.], dtype=float32)
    """
    array = aligned_bytes(4 * count).view(np.float32)
    array[:] = 0
    return array


class Arena(threading.local):
    """Scratch memory of one thread, as large as its largest program: only one program of a thread runs at a time."""

    def __init__(self) -> None:
        self.memory = aligned_bytes(0)

    def reserve(self, size: int) -> np.ndarray:
        """The arena's memory, grown to at least `size` bytes; its contents last only as long as one run."""
        if self.memory.size < size:
            self.memory = aligned_bytes(size)
        return self.memory


ARENA = Arena()
