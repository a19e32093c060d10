"""OpenMP threads of the engine: set for each program, and guarded against `fork`.

A process that has run OpenMP code and then forks leaves the child with a thread pool that does not exist: its next
parallel region waits for ever. The child is told so by an error instead.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from kernels.errors import UnsupportedError


class _Threads:
    setters: tuple[Callable[[int], object], ...] = ()
    forked = False
    wanted = threading.local()
    """`count`: what a Python thread has asked for, perhaps before any library was there to hear it."""


def steer_threads(setter: Callable[[int], object]) -> None:
    """Call this function of a native library whenever the threads of a Python thread are set; guard against fork."""
    if not _Threads.setters:
        os.register_at_fork(after_in_child=_mark_forked)
    _Threads.setters = (*_Threads.setters, setter)
    if (count := getattr(_Threads.wanted, "count", None)) is not None:
        setter(count)


def set_threads(count: int) -> None:
    """Threads that native calls of this Python thread use from now on.

    Raises `UnsupportedError` in a child forked from a process that had used the engine.
    """
    if not survived():
        raise UnsupportedError(
            "This process was forked from one that had already run the engine; its OpenMP threads did not survive "
            "the fork. Start processes with multiprocessing.get_context('spawn'), or fork before the engine is used."
        )
    _Threads.wanted.count = count
    for setter in _Threads.setters:
        setter(count)


def survived() -> bool:
    """Whether native calls are safe here: not in a child forked from a process that had used the engine."""
    return not _Threads.forked


def _mark_forked() -> None:
    _Threads.forked = True
