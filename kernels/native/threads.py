"""OpenMP threads of the engine: set for each program, and guarded against `fork`.

A process that has run OpenMP code and then forks leaves the child with a thread pool that does not exist: its next
parallel region waits for ever. The child is told so by an error instead.
"""

from __future__ import annotations

import ctypes
import os

from kernels.errors import UnsupportedError


class _OpenMP:
    library: ctypes.CDLL | None = None
    forked = False


def open_openmp(library: ctypes.CDLL) -> None:
    """Take `omp_set_num_threads` from a library that links OpenMP, and guard the process against fork."""
    if _OpenMP.library is None:
        library.omp_set_num_threads.argtypes = [ctypes.c_int]
        library.omp_set_num_threads.restype = None
        library.omp_get_max_threads.restype = ctypes.c_int
        _OpenMP.library = library
        os.register_at_fork(after_in_child=_mark_forked)


def set_threads(count: int) -> None:
    """Threads that native calls of this Python thread use from now on.

    Raises `UnsupportedError` in a child forked from a process that had used the engine.
    """
    if _OpenMP.forked:
        raise UnsupportedError(
            "This process was forked from one that had already run the engine; its OpenMP threads did not survive "
            "the fork. Start processes with multiprocessing.get_context('spawn'), or fork before the engine is used."
        )
    if _OpenMP.library is not None:
        _OpenMP.library.omp_set_num_threads(count)


def _mark_forked() -> None:
    _OpenMP.forked = True
