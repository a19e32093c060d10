"""The test's end: a process with a Spark for each master, asked for one case after the other, killed when it hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path

from tests.faults.fault import Case
from tests.faults.outside import command, end_session, members
from tests.nnframes.distributed.cluster import ROOT

END_SECONDS = 60.0
LOG_CHARACTERS = 4000


class Hung(AssertionError):
    """A case took longer than it may; all processes of its Spark are killed."""


class Watched:
    """A session of processes for one master: the driver, its JVM, executors, workers."""

    def __init__(self, master: str, folder: Path) -> None:
        self.master = master
        scratch = tempfile.mkdtemp(dir=folder)
        self._pipe, theirs = Pipe()
        self._log = Path(scratch, "log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.fits", master, scratch, str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()

    def ask(self, case: Case, seconds: float) -> dict:
        """Return what came of a case; raises `Hung` when nothing did within `seconds`, or the driver died."""
        self._pipe.send_bytes(case.id.encode())
        if not self._pipe.poll(seconds):
            self.kill()
            raise Hung(f"{case.id} did not end within {seconds:g} s:\n{self.log()}")
        try:
            return json.loads(self._pipe.recv_bytes())
        except EOFError:
            self.kill()
            raise Hung(f"the driver died in {case.id}:\n{self.log()}") from None

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def close(self) -> list[str]:
        """End the driver as a user's program ends; returns what lives on in its session, and kills that."""
        with suppress(OSError):
            self._pipe.send_bytes(b"")
        end = time.monotonic() + END_SECONDS
        while (living := self._living()) and time.monotonic() < end:
            self._process.poll()
            threading.Event().wait(0.1)
        found = [f"{pid}: {command(pid)[:200]}" for pid in living]
        self.kill()
        return found

    def kill(self) -> None:
        """SIGKILL all processes of the session."""
        end_session(self._process)
        self._pipe.close()

    def log(self) -> str:
        """Return the end of what its processes wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARACTERS:]

    def _living(self) -> list[int]:
        return members(self._process.pid)
