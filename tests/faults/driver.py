"""A driver that is killed while a snapshot is written, in a session of its own, and the fit that resumes after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from pyarrow.fs import PyFileSystem
from pyspark import TaskContext

from nnframes.io.background import CheckpointSettings
from nnframes.io.checkpoint import CheckpointStore
from nnframes.train import SeveralIteration
from tests.faults.fault import Case, Fault
from tests.faults.outside import Outside, end_session
from tests.nnframes.io.dying_store import Counter, DyingStore

DRIVER_SECONDS = 200.0


class DeadlyCounter(Counter):
    """Kills the driver at its last operation; the store kills the process that writes."""

    def __init__(self, last: int, driver: int, mark: Path) -> None:
        super().__init__(last)
        self.driver, self.mark = driver, mark

    def step(self) -> bool:
        dies = super().step()
        if dies:
            self.mark.mkdir()
            (self.mark / "0").touch()
            os.kill(self.driver, signal.SIGKILL)
        return dies


class DeadlyCheckpoint(CheckpointSettings):
    """Snapshots whose writing, in a task, kills the driver at operation `step`."""

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__(str(folder / "snapshots"), SeveralIteration(4))
        self.folder, self.step, self.driver = folder, step, os.getpid()

    def store(self) -> CheckpointStore:
        if TaskContext.get() is None:
            return super().store()
        handler = DyingStore(None, False)
        handler.counter = DeadlyCounter(self.step, self.driver, self.folder / "harm-0")
        return CheckpointStore(self.path, self.is_overwrite, PyFileSystem(handler))


def killed(bench: Any, case: Case) -> dict:
    """Run the fit of another driver until it is killed, then resume here; returns what came of it, as `Bench.run`."""
    from tests.faults.fits import Work, made, snapshots

    quiet = bench.quiet(False)
    folder = made(bench.folder / f"driver-{case.fault().settings['step']}")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.driver", str(folder), str(case.fault().settings["step"])],
        start_new_session=True,
    )
    try:
        process.wait(DRIVER_SECONDS)
    finally:
        end_session(process)
    work = Work(Fault(), folder, checkpoint=snapshots(folder / "snapshots"))
    then = bench.resumed(work)
    strikes = len(list(folder.glob("harm-*/*")))
    left = bench.left(work, set())
    return {"quiet": quiet, "found": [], "left": left, "then": then, "said": [], "done": [], "strikes": strikes}


def main(folder: str, step: str) -> None:
    """Be the driver."""
    from tests.faults.fault import LOCAL
    from tests.faults.fits import Bench, Work, session

    with session(LOCAL, f"{folder}/spark") as spark:
        bench = Bench(spark, Path(folder))
        work = Work(Fault(), Path(folder), checkpoint=DeadlyCheckpoint(Path(folder), int(step)))
        outcome = bench.outcome(work, Outside(spark, Path(folder)))
        if outcome["error"] is not None:
            sys.exit(str(outcome["error"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
