"""Ranks on one host read each other's arrays where they are, when those are long: one copy, no buffers of the kernel's.

Whether that goes is tried when ranks meet, because a container, a user or a security module may be between them; what
cannot be read travels through the socket. Only addresses are told, and only to ranks that proved the secret; a process
that is not the one that told them, for instance one of another host, does not show the same probe.
"""

from __future__ import annotations

import os
import secrets
import select
from collections.abc import Sequence

import numpy as np

from kernels.native.processes import let_read, read_memory
from nnframes.errors import SyncError

__all__ = ["Card", "Neighbour", "are_long", "table_of", "table_room"]

LEAST = 1 << 20
"""Bytes below which the socket, whose buffers are then in the processor's cache, is as fast."""

MOST = 1 << 20
"""Arrays of one exchange with one rank."""


def are_long(arrays: Sequence[np.ndarray]) -> bool:
    """Return whether a neighbour reads these sooner than a socket brings them."""
    return sum(array.nbytes for array in arrays) >= LEAST


def table_of(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return what a neighbour must know to read these: how many there are; the address and size of each."""
    rows = [(part.ctypes.data, part.nbytes) for part in map(_flat, arrays) if part.size]
    return [np.array([len(rows)], np.int64), np.array(rows, np.int64)]


def table_room(count: int) -> np.ndarray:
    """Return room for a table of so many arrays; raises `SyncError` for a number that nobody has."""
    if not 0 < count <= MOST:
        raise SyncError(f"A rank must show 1 to {MOST} arrays. Received: {count}.")
    return np.empty((count, 2), np.int64)


def _flat(array: np.ndarray) -> np.ndarray:
    """The bytes of an array, in place."""
    if not array.flags.c_contiguous:
        raise TypeError(f"An array to exchange must be C-contiguous. Received: {array.shape}, strides {array.strides}.")
    return np.frombuffer(array.data.cast("B") if array.size else b"", np.uint8)


class Card:
    """What a rank shows to those that may be its neighbours: a process, an address in it, and what is there.

    It lets the other children of the process's parent, where Spark's tasks of one executor are, read its memory.
    """

    SIZE = 6

    def __init__(self) -> None:
        self._probe = np.frombuffer(secrets.token_bytes(32), np.int64)
        self.numbers = np.array([os.getpid(), self._probe.ctypes.data, *self._probe], np.int64)
        parent = os.getppid()
        if parent > 1:  # else everybody
            let_read(parent)

    def withdraw(self) -> None:
        """Let nobody but parents read this process again."""
        let_read(0)


class Neighbour:
    """Another rank's process on this host, by its card."""

    def __init__(self, card: np.ndarray) -> None:
        """Raises `OSError` where that process cannot be read, or is another one."""
        self._pid = int(card[0])
        if not hasattr(os, "pidfd_open"):
            raise OSError("this system has no pidfd_open")
        self._descriptor = os.pidfd_open(self._pid)
        probe = np.empty_like(card[2:])
        try:
            self.read([(int(card[1]), probe.nbytes)], [probe])
            if not np.array_equal(probe, card[2:]):
                raise OSError("another process has this number here")
        except OSError:
            self.close()
            raise

    def read(self, table: Sequence[Sequence[int]], places: Sequence[np.ndarray]) -> None:
        """Fill `places` (C-contiguous) from the addresses and sizes of a table, in order, wherever those begin anew.

        Raises `OSError` when the neighbour is gone, `SyncError` where it does not show as much as there is room for.
        """
        rooms = [part for part in map(_flat, places) if part.size]
        shown, room = sum(size for _, size in table), sum(map(len, rooms))
        if shown != room or min(size for _, size in table) <= 0:
            raise SyncError(
                f"A rank must show as many bytes as another expects, {room}. Received: {shown} in {len(table)} arrays "
                f"of process {self._pid}. Hint: all must train the same network at the same iteration."
            )
        for address, size in table:
            while size:
                part = rooms[0][:size]
                read_memory(self._pid, address, part)
                address, size = address + len(part), size - len(part)
                rooms[:1] = [rooms[0][len(part) :]] if len(part) < len(rooms[0]) else []
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        if poller.poll(0):  # else nobody had its number meanwhile
            raise ProcessLookupError("the process has ended")

    def close(self) -> None:
        """Forget the process."""
        os.close(self._descriptor)
