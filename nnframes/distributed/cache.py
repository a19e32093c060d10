"""The folders of a host where materialised shards lie: where there is room, whose they are, when they are dead.

    <root>/nnframes-<uid>/<fit>/owners/<host>:<pid>:<start>    a process of the fit; dead owners make a dead folder
    <root>/nnframes-<uid>/<fit>/shard-00003-<token>/           one shard (`nnframes.distributed.files`)

A worker's memory does not outlive its task, so files carry the samples from the first job to the training tasks, at one
of three levels. Rows are used in the same order at all of them, so the level does not show in the result.

    DRAM            in a memory file system as long as there is room, then on disk; mapped as a whole
    DISK_AND_DRAM   on disk; of the n slices of each file one is mapped at a time, so about 1/n of the data is in memory
    DIRECT          like DISK_AND_DRAM, and the files live for one epoch: the DataFrame is evaluated again for the next
"""

from __future__ import annotations

import errno
import numbers
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nnframes.distributed.capacity import free_memory
from nnframes.errors import ArgumentError, DataError

__all__ = [
    "CacheLevel",
    "candidates",
    "existing_folders",
    "fit_folder",
    "full_disk",
    "is_full",
    "no_room",
    "remove_fit",
    "room",
    "sweep",
]

DRAM, DISK_AND_DRAM, DIRECT = LEVELS = ("DRAM", "DISK_AND_DRAM", "DIRECT")
SLICES = 4
FULL = (errno.ENOSPC, errno.EDQUOT)
MEMORY = Path("/dev/shm")
OWNERS = "owners"
RESERVE = 256 << 20
"""Bytes that stay free beside the samples."""

ORPHAN_AGE = 3600.0
"""Seconds after which a folder that nobody signed is taken for dead."""


@dataclass(frozen=True)
class CacheLevel:
    """Where samples are kept while a fit runs: one of the levels above, with the number of slices where files have any.

    Raises `ArgumentError` for other names (in any case of letters), and for slices where there are none.

    >>> CacheLevel.of("disk_and_dram", 8), CacheLevel.of("dram").on_disk
    (CacheLevel(name='DISK_AND_DRAM', slices=8), False)
    """

    name: str = DRAM
    slices: int = 1

    @classmethod
    def of(cls, level: str, slices: int | None = None) -> CacheLevel:
        """Return the level of this name; `slices` is for DISK_AND_DRAM alone, whose default is 4."""
        name = level.upper() if isinstance(level, str) else level
        if name == "PMEM":
            raise ArgumentError(
                "The data cache level must be one that this hardware has. Received: 'PMEM': persistent memory is no "
                "longer made. Hint: setDataCacheLevel('DISK_AND_DRAM', 4) keeps a quarter of the data in memory."
            )
        if name not in LEVELS:
            raise ArgumentError(f"The data cache level must be one of {', '.join(LEVELS)}. Received: {level!r}.")
        if name != DISK_AND_DRAM and slices is not None:
            raise ArgumentError(f"numSlice must be left out for the data cache level {name}. Received: {slices!r}.")
        whole = slices is None or (
            isinstance(slices, numbers.Integral) and not isinstance(slices, bool) and slices >= 1
        )
        if not whole:
            raise ArgumentError(f"numSlice must be a whole number >= 1. Received: {slices!r}.")
        return cls(name, 1 if name == DRAM else int(slices or SLICES))

    @property
    def on_disk(self) -> bool:
        """Whether memory file systems are left alone."""
        return self.name != DRAM

    @property
    def by_epoch(self) -> bool:
        """Whether files live for one epoch only."""
        return self.name == DIRECT


def candidates(folder: str | None, on_disk: bool = False) -> list[Path]:
    """Return the roots to try, best first: the folder asked for, else memory file system, then temporary folder."""
    if folder is not None:
        return [Path(folder)]
    memory = [] if on_disk or not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)) else [MEMORY]
    return [*memory, Path(tempfile.gettempdir())]


def room(root: Path) -> int:
    """Return how many bytes may be written under `root`; in a memory file system at most half the free memory."""
    free = shutil.disk_usage(root).free - RESERVE
    if root == MEMORY:
        free = min(free, free_memory() // 2)
    return max(0, free)


def is_full(error: BaseException) -> bool:
    """Whether this is what writing to a full disk, or over a quota, raises."""
    return isinstance(error, OSError) and error.errno in FULL


def no_room(root: Path, size: int, written: int = 0) -> DataError:
    """Return the error for `size` bytes, after the `written` ones, that find no room under `root`."""
    return DataError(
        f"The cache folder {root} must have room for {size} more bytes of samples, after {written} of this shard, "
        f"beside a reserve of {RESERVE}. Received: {room(root)}. Hint: free space there, or choose another folder with "
        "setCacheFolder (by default it is the temporary folder of the executors, TMPDIR)."
    )


@contextmanager
def full_disk(root: Path, size: int) -> Iterator[None]:
    """Raise `no_room` when the disk is full, whatever had been free before."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise no_room(root, size) from error
        raise


def fit_folder(root: Path, fit: str) -> Path:
    """Return the folder of `fit` under `root`, made and signed by this process's executor when it is new."""
    folder = _home(root) / fit
    if not folder.is_dir():
        # Signed before it is visible under its name, so that no other fit sweeps it away.
        fresh = Path(tempfile.mkdtemp(prefix=f".{fit}-", dir=folder.parent))
        _sign(fresh)
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
    _sign(folder)
    return folder


def existing_folders(fit: str, folder: str | None) -> list[Path]:
    """Return the folders of `fit` that this host has, under any root."""
    return [path for home in _homes(folder) if (path := home / fit).is_dir()]


def remove_fit(fit: str, folder: str | None) -> None:
    """Remove what `fit` left under any root of this host; nothing there is no error."""
    for home in _homes(folder):
        _remove(home / fit)


def sweep(folder: str | None) -> None:
    """Remove the folders of fits whose processes are all gone, whatever level they had, also beside `folder`.

    Never one of a live fit or of another host.
    """
    for home in _homes(folder):
        for fit in list(home.iterdir()):
            if _is_dead(fit):
                _remove(fit)


def _remove(folder: Path) -> None:
    """Remove a fit's folder, its owners last: when this process is killed on the way, the next sweep goes on."""
    with suppress(OSError):
        for path in [] if folder.is_symlink() else list(folder.iterdir()):
            if path.name != OWNERS:
                shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _roots(folder: str | None) -> list[Path]:
    return list(dict.fromkeys([*candidates(folder), *candidates(None)]))


def _homes(folder: str | None) -> Iterator[Path]:
    """Yield the folders of this user that exist: what another user made under our name is not ours to remove in."""
    for root in _roots(folder):
        home = root / _home_name()
        with suppress(OSError):
            if home.is_dir() and _is_own(home):
                yield home


def _is_own(home: Path) -> bool:
    return not home.is_symlink() and (not hasattr(os, "getuid") or home.lstat().st_uid == os.getuid())


def _home_name() -> str:
    return f"nnframes-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def _home(root: Path) -> Path:
    home = root / _home_name()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if is_full(error):
            raise
        raise DataError(
            f"The cache folder {root} must be one that executors can write to. Received: {error}. "
            "Hint: choose another folder with setCacheFolder (by default it is the temporary folder, TMPDIR)."
        ) from error
    if not _is_own(home):
        raise DataError(f"The cache folder {home} must belong to this user. Hint: choose another cache folder.")
    return home


def _sign(folder: Path) -> None:
    owners = folder / OWNERS
    owners.mkdir(exist_ok=True)
    pid = _executor()
    (owners / f"{socket.gethostname()}:{pid}:{_started(pid)}").touch()


def _is_dead(fit: Path) -> bool:
    try:
        owners = [owner.name.rsplit(":", 2) for owner in (fit / OWNERS).iterdir()]
    except OSError:
        owners = []
    if not owners:
        try:
            return time.time() - fit.stat().st_mtime > ORPHAN_AGE
        except OSError:
            return False
    return not any(host != socket.gethostname() or _is_alive(int(pid), started) for host, pid, started in owners)


def _is_alive(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it lives under another user
    status = _status(pid)
    if status is not None and status[1][0] in "ZX":  # dead, though nobody has asked for its end yet
        return False
    return _started(pid) == started


def _executor() -> int:
    """Return the process that lives as long as this task's executor: its JVM, where /proc shows it."""
    pid = os.getppid()
    seen = pid
    while seen > 1:
        status = _status(seen)
        if status is None:
            return pid
        if status[0] == "java":
            return seen
        seen = int(status[1][1])
    return pid


def _started(pid: int) -> str:
    status = _status(pid)
    return status[1][19] if status else ""


def _status(pid: int) -> tuple[str, list[str]] | None:
    """Return the command and the fields after it of /proc/<pid>/stat; None where there is none."""
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
    except OSError:
        return None
    return head.partition("(")[2], tail.split()
