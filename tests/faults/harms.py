"""What a task's process can do to itself and its connections, all of it real: signals, sockets, limits, full disks."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from kernels.native.processes import read_memory
from nnframes.distributed import neighbours
from nnframes.distributed.link import DriverLink

WATCH_SECONDS = 60.0
TICK = 0.01
BYTES_ACKED, BYTES_RECEIVED = 120, 128  # places in Linux's struct tcp_info


def counted(marks: Path, times: int) -> bool:
    """Count one more time under `marks`; False when it was `times` already."""
    marks.mkdir(parents=True, exist_ok=True)
    for number in range(times):
        with suppress(FileExistsError):
            (marks / str(number)).touch(exist_ok=False)
            return True
    return False


# ---------------------------------------------------------------- kinds


def kill(harm: Any) -> None:
    """End as the kernel ends a process that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop(harm: Any) -> None:
    """Fall silent, with all connections open."""
    os.kill(os.getpid(), signal.SIGSTOP)


def fail(harm: Any) -> None:
    raise ValueError("this network has a fault")


def hang(harm: Any) -> None:
    """Compute for `amount` seconds; the heartbeat goes on."""
    threading.Event().wait(harm.amount)


def starve(harm: Any) -> None:
    """Allocate under a limit of `amount` bytes more than there are now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + int(harm.amount)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    kept = []
    while True:
        kept.append(np.ones(1 << 20))


def cut(harm: Any) -> None:
    """Cut the connections to the other ranks."""
    for sock in connections():
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def cut_driver(harm: Any) -> None:
    """Cut the connection to the driver."""
    for descriptor in driver_descriptors():
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            sock.shutdown(socket.SHUT_RDWR)


def stall(harm: Any) -> None:
    """Put a black hole in the place of the connections to the other ranks, which stay open and silent."""
    for descriptor in rank_descriptors():
        ours, theirs = socket.socketpair()
        KEPT.extend([theirs, os.dup(descriptor)])
        ours.setblocking(False)
        os.dup2(ours.fileno(), descriptor)
        ours.close()


KEPT: list[Any] = []


def fill(harm: Any) -> None:
    """Fill the disk that is mounted beside the marks."""
    disk = Path(harm.marks).with_name("disk")
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))


def spoil(harm: Any, out: np.ndarray) -> None:
    """Put into the sums what a diverging network would: at the loss ("nan"), or at the first layer's gradient."""
    if counted(Path(harm.marks), harm.times):
        if harm.kind == "nan":
            out[-3] = np.nan
        else:
            out[0] = np.inf


# ---------------------------------------------------------------- moments


def await_file(path: Path, seconds: float) -> bool:
    """Wait until another process has made the file, a bounded time; returns whether it has."""
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        threading.Event().wait(TICK)
    return path.exists()


def when_there(path: Path, action: Callable[[], None]) -> None:
    """Act, in a thread, when another process has made the file."""

    def watch() -> None:
        if await_file(path, WATCH_SECONDS):
            action()

    threading.Thread(target=watch, daemon=True).start()


def when_moved(amount: float, action: Callable[[], None]) -> threading.Thread:
    """Act, in the thread returned, when so many bytes more have passed between this rank and the others."""
    sockets = connections()
    start = moved(sockets)

    def watch() -> None:
        end = time.monotonic() + WATCH_SECONDS
        while moved(sockets) - start < amount:
            if time.monotonic() >= end:
                return
            time.sleep(0)  # lets the other threads run
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def watch_reads(least: int) -> None:
    """Let ranks read each other's arrays from `least` bytes on, piece by piece, and count what they have read."""

    def read(pid: int, address: int, out: np.ndarray) -> None:
        flat = out.view(np.uint8)
        for place in range(0, len(flat), PIECE):
            piece = flat[place : place + PIECE]
            read_memory(pid, address + place, piece)
            READ[0] += len(piece)
            time.sleep(0)  # lets the watch run

    neighbours.LEAST, neighbours.read_memory = least, read


READ = [0]
PIECE = 1 << 12


def moved(sockets: list[socket.socket]) -> int:
    """Return the bytes that the kernel has brought from and to the other ends, or from their memory."""
    total = READ[0]
    for sock in sockets:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
        total += sum(struct.unpack_from("Q", info, place)[0] for place in (BYTES_ACKED, BYTES_RECEIVED))
    return total


# ---------------------------------------------------------------- sockets


def driver_descriptors() -> list[int]:
    """Return the descriptors of open links to the driver; a worker that served before may keep closed ones."""
    return [each.fileno() for each in gc.get_objects() if type(each) is DriverLink and each.fileno() >= 0]


def rank_descriptors() -> list[int]:
    """Return the TCP connections of this process but the one to the driver; Spark's are Unix sockets here."""
    numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    return [number for number in numbers if _is_connected(number)]


def connections() -> list[socket.socket]:
    """Return the connections to the other ranks, as sockets of their own."""
    return [socket.socket(fileno=os.dup(descriptor)) for descriptor in rank_descriptors()]


def _is_connected(descriptor: int) -> bool:
    if descriptor in driver_descriptors():
        return False
    try:
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            sock.getpeername()
            return sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
    except OSError:
        return False
