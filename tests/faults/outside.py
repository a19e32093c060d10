"""Harm that comes from outside a fit's own processes: killed executors, strangers at the door, other jobs, full disks.

Each is a listener of the fit, entered before it and left after it; `check` is called between the first job and the
training.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nnframes.train import Listener, TrainState
from tests.faults.harms import await_file

STATE, SESSION = 0, 3
"""Places among the fields of /proc/<pid>/stat that follow the command."""

LISTENING = "0A"
TICK = 0.02
BEGIN_SECONDS = 60.0


class Outside(Listener):
    """Nothing from outside."""

    def __init__(self, spark: Any, folder: Path) -> None:
        self.spark, self.folder = spark, folder
        self.done: list[Any] = []
        """What was done, for the test to look at."""

    def __enter__(self) -> Outside:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def check(self, summary: Any) -> None:
        """Called when the samples are written."""


class Executor(Outside):
    """SIGKILLs one of the executors' JVMs after an iteration."""

    def __init__(self, spark: Any, folder: Path, which: int, iteration: int) -> None:
        super().__init__(spark, folder)
        self.which, self.iteration = which, iteration

    def on_iteration(self, state: TrainState) -> None:
        if state.iteration == self.iteration:
            executors = sorted(pid for pid in members() if "CoarseGrainedExecutorBackend" in command(pid))
            os.kill(executors[self.which], signal.SIGKILL)
            self.done.append(executors[self.which])


class Strangers(Outside):
    """Calls every port that the driver and the ranks open: says nothing, says garbage, or comes in crowds."""

    CROWD = 300

    def __init__(self, spark: Any, folder: Path, manner: str) -> None:
        super().__init__(spark, folder)
        self.manner = manner
        self._known: set[int] = set(listening())
        self._sockets: list[socket.socket] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Strangers:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        for sock in self._sockets:
            sock.close()

    def _run(self) -> None:
        while not self._ended.wait(TICK):
            for port, pid in listening().items():
                if port not in self._known:
                    self._known.add(port)
                    self.done.append("driver" if pid == os.getpid() else "rank")
                    self._call(port)

    def _call(self, port: int) -> None:
        for _ in range(self.CROWD if self.manner == "crowd" else 3):
            with suppress(OSError):
                sock = socket.create_connection(("127.0.0.1", port), timeout=2)
                self._sockets.append(sock)
                if self.manner == "garbage":
                    sock.sendall(os.urandom(1 << 16))


class Occupied(Outside):
    """Other jobs that hold `slots` slots, from the first job's end to the fit's."""

    def __init__(self, spark: Any, folder: Path, slots: int) -> None:
        super().__init__(spark, folder)
        self.slots = slots
        self._thread: threading.Thread | None = None

    def check(self, summary: Any) -> None:
        from pyspark import InheritableThread

        folder, slots = str(self.folder), self.slots

        def hold(batches: Iterator[Any]) -> Iterator[Any]:
            for batch in batches:
                Path(folder, f"held-{batch.column(0)[0]}").touch()
                await_file(Path(folder, "released"), 600)
                yield batch

        rows = self.spark.range(0, slots, 1, slots).mapInArrow(hold, "id long")
        self._thread = InheritableThread(target=rows.count, session=self.spark, daemon=True)
        self._thread.start()
        for slot in range(slots):
            self.done.append(await_file(self.folder / f"held-{slot}", BEGIN_SECONDS))

    def __exit__(self, *error: object) -> None:
        (self.folder / "released").touch()
        if self._thread is not None:
            self._thread.join(BEGIN_SECONDS)


class Copies(Outside):
    """Nothing but a look at how many tasks run: more than ranks are there when Spark speculates."""

    def __init__(self, spark: Any, folder: Path, ranks: int) -> None:
        super().__init__(spark, folder)
        self.ranks = ranks

    def on_iteration(self, state: TrainState) -> None:
        tracker = self.spark.sparkContext.statusTracker()
        infos = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        running = sum(info.numActiveTasks for info in infos if info is not None)
        if running > self.ranks:
            self.done.append(running)


class Disk(Outside):
    """A small disk of its own at `folder/disk`."""

    def __init__(self, spark: Any, folder: Path, size: str) -> None:
        super().__init__(spark, folder)
        self.size, self.path = size, folder / "disk"

    def __enter__(self) -> Disk:
        self.path.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={self.size}", "none", str(self.path)]
        subprocess.run(["mount", *options], check=True, capture_output=True)
        return self

    def __exit__(self, *error: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True, capture_output=True)


def may_mount() -> bool:
    """Whether this user may mount a disk."""
    done = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return hasattr(os, "getuid") and os.getuid() == 0 and done.returncode == 0


KINDS = {"executor": Executor, "strangers": Strangers, "occupied": Occupied, "disk": Disk, "copies": Copies}


def made(spark: Any, folder: Path, wanted: Mapping[str, Any]) -> Outside:
    """Return what a fault wants: its "kind", and the arguments of that."""
    arguments = dict(wanted)
    return KINDS.get(arguments.pop("kind", None), Outside)(spark, folder, **arguments)


# ---------------------------------------------------------------- processes of this session


def status(pid: int) -> list[str]:
    """Return the fields after the command of /proc/<pid>/stat; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def members(session: int | None = None) -> list[int]:
    """Return the living processes of a session (default: this one's)."""
    wanted = str(os.getsid(0) if session is None else session)
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = {pid: status(pid) for pid in pids}
    return [pid for pid, fields in found.items() if fields and fields[SESSION] == wanted and fields[STATE] != "Z"]


def end_session(process: subprocess.Popen) -> None:
    """SIGKILL all processes of the session that `process` began, and see them gone."""
    while living := members(process.pid):
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.poll()
        threading.Event().wait(TICK)
    process.wait()


def command(pid: int) -> str:
    """Return a process's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def listening() -> dict[int, int]:
    """Return the TCP ports at which Python processes of this session listen, with their process."""
    ports = {}
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(name).read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                ports[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    found = {}
    for pid in members():
        if "java" in command(pid).split(" ")[0]:
            continue
        with suppress(OSError):
            inodes = [_target(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
            found.update({ports[inode]: pid for inode in inodes if inode in ports})
    return found
