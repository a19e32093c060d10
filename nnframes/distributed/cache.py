"""The folders of a host where materialised shards lie: where there is room, whose they are, when they are dead.

    <root>/nnframes-<uid>/<fit>/owners/<host>:<pid>:<start>    a process of the fit; dead owners make a dead folder
    <root>/nnframes-<uid>/<fit>/shard-00003-<token>/           one shard (`nnframes.distributed.files`)

A worker's memory does not outlive its task, so files carry the samples from the first job to the training tasks: in a
memory file system where there is room, else on disk.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

from nnframes.errors import DataError

__all__ = ["candidates", "existing_folders", "fit_folder", "remove_fit", "room", "sweep"]

MEMORY = Path("/dev/shm")
RESERVE = 256 << 20
"""Bytes that stay free beside the samples."""

ORPHAN_AGE = 3600.0
"""Seconds after which a folder that nobody signed is taken for dead."""


def candidates(folder: str | None) -> list[Path]:
    """Return the roots to try, best first: the folder asked for, else memory file system, then temporary folder."""
    if folder is not None:
        return [Path(folder)]
    roots = [MEMORY] if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else []
    return [*roots, Path(tempfile.gettempdir())]


def room(root: Path) -> int:
    """Return how many bytes may be written under `root`; in a memory file system at most half the free memory."""
    free = shutil.disk_usage(root).free - RESERVE
    if root == MEMORY:
        free = min(free, _free_memory() // 2)
    return max(0, free)


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
    return [path for root in candidates(folder) if (path := root / _home_name() / fit).is_dir()]


def remove_fit(fit: str, folder: str | None) -> None:
    """Remove what `fit` left under any root of this host; nothing there is no error."""
    for root in candidates(folder):
        shutil.rmtree(root / _home_name() / fit, ignore_errors=True)


def sweep(folder: str | None) -> None:
    """Remove the folders of fits whose processes are all gone; never one of a live fit or of another host."""
    for root in candidates(folder):
        home = root / _home_name()
        for fit in list(home.iterdir()) if home.is_dir() else []:
            if _is_dead(fit):
                shutil.rmtree(fit, ignore_errors=True)


def _home_name() -> str:
    return f"nnframes-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def _home(root: Path) -> Path:
    home = root / _home_name()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid") and (home.is_symlink() or home.stat().st_uid != os.getuid()):
        raise DataError(f"The cache folder {home} must belong to this user. Hint: choose another cache folder.")
    return home


def _sign(folder: Path) -> None:
    owners = folder / "owners"
    owners.mkdir(exist_ok=True)
    pid = _executor()
    (owners / f"{socket.gethostname()}:{pid}:{_started(pid)}").touch()


def _is_dead(fit: Path) -> bool:
    try:
        owners = [owner.name.rsplit(":", 2) for owner in (fit / "owners").iterdir()]
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


def _free_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    values = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith("kB")}
    return values.get("MemAvailable", 0)
