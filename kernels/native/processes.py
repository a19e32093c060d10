"""The memory of another process of this host: read with one copy, where a socket takes two and waits between them."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

PR_SET_PTRACER = 0x59616D61
"""Of Yama, a Linux security module that many hosts have and others do without."""


class _Stretch(ctypes.Structure):
    """Linux's struct iovec."""

    _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is not None:
        function.restype, function.argtypes = result, arguments
    return function


_STRETCH = ctypes.POINTER(_Stretch)
_READ = _function(
    "process_vm_readv",
    ctypes.c_ssize_t,
    ctypes.c_int,
    _STRETCH,
    ctypes.c_ulong,
    _STRETCH,
    ctypes.c_ulong,
    ctypes.c_ulong,
)
_PRCTL = _function("prctl", ctypes.c_int, ctypes.c_int, *4 * [ctypes.c_ulong])


def let_read(pid: int) -> None:
    """Let process `pid` and its children read this process's memory where only parents may; 0: nobody any more.

    A system call that fails here changes nothing: whoever wants to read finds out whether it can.
    """
    if _PRCTL is not None:
        _PRCTL(PR_SET_PTRACER, pid, 0, 0, 0)


def read_memory(pid: int, address: int, out: np.ndarray) -> None:
    """Fill `out` (writeable, C-contiguous) from an address of process `pid`; `OSError` where that cannot be read.

    >>> numbers, out = np.arange(3), np.zeros(3, int)
    >>> read_memory(os.getpid(), numbers.ctypes.data, out)
    >>> out
    array([0, 1, 2])
    """
    if _READ is None:
        raise OSError("this system has no process_vm_readv")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise TypeError(f"Memory to fill must be C-contiguous and writeable. Received:\n{out.flags}")
    done, place = 0, out.ctypes.data
    while done < out.nbytes:
        left = out.nbytes - done
        count = _READ(pid, _Stretch(place + done, left), 1, _Stretch(address + done, left), 1, 0)
        if count <= 0:
            raise OSError(ctypes.get_errno(), f"process {pid} cannot be read: {os.strerror(ctypes.get_errno())}")
        done += count
