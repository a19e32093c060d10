"""Memory for native calls: aligned to cache lines, shared by the programs of a thread."""

from __future__ import annotations

import math
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

SHAPES = 8
"""How many shapes of scratch arrays a thread remembers: blocks, what is left behind the last one, rows of tables."""


class Scratch(threading.local):
    """Float32 arrays of one thread, to be overwritten: of a shape always the same, so that they are known again.

    >>> scratch = Scratch(2)
    >>> first, second = scratch.arrays((3, 4))
    >>> first.shape, scratch.arrays((3, 4))[1] is second
    ((3, 4), True)
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._memory = np.empty(0, np.float32)
        self._arrays: dict[tuple[int, ...], tuple[np.ndarray, ...]] = {}

    def arrays(self, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """As many arrays of `shape` as this gives; arrays of other shapes share their memory."""
        size = self._count * math.prod(shape)
        if self._memory.size < size:
            self._memory = aligned_bytes(4 * size).view(np.float32)
            self._arrays.clear()
        if shape not in self._arrays:
            if len(self._arrays) >= SHAPES:
                self._arrays.clear()
            self._arrays[shape] = tuple(self._memory[:size].reshape(self._count, *shape))
        return self._arrays[shape]
