"""Fits, quiet and faulty, in a process that has one Spark, and what came of them."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nnframes.distributed import FitSettings, fit_on_spark
from nnframes.distributed.course import FitCourse, HeldOut
from nnframes.distributed.jobs import is_connect
from nnframes.io.background import CheckpointSettings
from nnframes.train import EveryEpoch, Listener, Loss, MaxEpoch, Milestones, SeveralIteration, Top1Accuracy
from nnframes.train.evaluation import ValidationSettings
from tests.faults import network, outside
from tests.faults.cases import all_cases
from tests.faults.driver import killed
from tests.faults.fault import CLUSTER, CONNECT, ENCRYPTED, TWO_HOSTS, Case, Fault
from tests.faults.hosts import on_two_hosts
from tests.nnframes.distributed import softmax
from tests.nnframes.distributed.cluster import digest, own_spark
from tests.nnframes.spark.remote import remote_session

ROWS, SCHEMA = 37, "features array<float>, label double"
SPARK = {"spark.python.unix.domain.socket.enabled": "true", "spark.sql.shuffle.partitions": "2"}
ENCRYPTION = {
    "spark.authenticate": "true",
    "spark.authenticate.secret": "known to this test alone",
    "spark.network.crypto.enabled": "true",
}
SNAPSHOT_BYTES = 2 << 20
SETTLE_SECONDS = 30.0


@dataclass(frozen=True)
class Work:
    """One fit: a fault to suffer, a folder to do it in, what it does beside iterations."""

    fault: Fault
    folder: Path
    validates: bool = False
    checkpoint: CheckpointSettings | None = None
    resume: bool = False

    def settings(self) -> FitSettings:
        changes = {name: value for name, value in self.fault.settings.items() if name != "checkpoint"}
        values = {"batch_size": 8, "end_when": MaxEpoch(2), "shards": 2, "seed": 3}
        cache = {"cache_folder": str(self.folder / changes.pop("cache_folder", "cache"))}
        return FitSettings(**{**values, **cache, **changes})

    def course(self, frame: Any) -> FitCourse:
        held, validation = None, None
        if self.validates:
            validation = ValidationSettings(EveryEpoch(), [Loss(), Top1Accuracy()], 16)
            held = HeldOut(frame, network.plan(()))
        trigger = None if self.checkpoint is None else self.checkpoint.trigger
        milestones = Milestones(validation, None, trigger)
        return FitCourse(milestones, held, self.checkpoint, self.resume, snapshot_size=SNAPSHOT_BYTES)


@dataclass
class Heard(Listener):
    """What a listener is told, in order, handed on to what harms from outside."""

    other: outside.Outside
    calls: list[Any] = field(default_factory=list)

    def on_iteration(self, state: Any) -> None:
        self.calls.append(["iteration", state.iteration, state.loss])
        self.other.on_iteration(state)

    def on_validation(self, state: Any, validation: Any) -> None:
        self.calls.append(["validation", state.iteration])


class Bench:
    """One Spark, its data, and the quiet runs so far."""

    def __init__(self, spark: Any, folder: Path) -> None:
        self.spark, self.folder = spark, folder
        self.frame = spark.createDataFrame(softmax.rows_of(ROWS), SCHEMA).coalesce(1)
        self._quiet: dict[tuple[bool, str], dict] = {}

    def quiet(self, validates: bool, compression: str = "none") -> dict:
        """Return what a fit gives that nobody disturbs."""
        key = validates, compression
        if key not in self._quiet:
            folder = made(self.folder / f"quiet-{validates}-{compression}")
            work = Work(Fault(settings={"gradient_compression": compression}), folder, validates)
            self._quiet[key] = self.outcome(work, outside.Outside(self.spark, folder))
        return self._quiet[key]

    def run(self, case: Case) -> dict:
        """Return what came of the quiet fit, of the faulty one or ones, and what those left."""
        compression = case.fault().settings.get("gradient_compression", "none")
        quiet, folder = self.quiet(case.validates, compression), made(self.folder / re.sub(r"\W+", "-", case.id))
        work = Work(placed(case.fault(), folder), folder, case.validates)
        if case.snapshots:
            work = replace(work, checkpoint=snapshots(folder / work.fault.settings.get("checkpoint", "snapshots")))
        threads = ports()
        with heard_logs() as said, outside.made(self.spark, folder, work.fault.outside) as other:
            with ThreadPoolExecutor(case.fits) as pool:
                found = list(pool.map(lambda number: self.outcome(work, other), range(case.fits)))
            left = self.left(work, threads)
            (folder / "disk" / "filler").unlink(missing_ok=True)
            then = self.resumed(work) if case.then else None
        strikes = len(list(folder.glob("harm-*/*")))
        return {**vars_of(quiet, found, left, then), "said": said, "done": other.done, "strikes": strikes}

    def resumed(self, work: Work) -> dict:
        """Return what a quiet fit gives that goes on from the snapshots of another one."""
        calm = replace(work, fault=Fault(), resume=True)
        return self.outcome(calm, outside.Outside(self.spark, work.folder))

    def outcome(self, work: Work, other: outside.Outside) -> dict:
        """Return the digest of the weights and all figures of a fit, or its error."""
        heard, begun = Heard(other), time.monotonic()
        harms = work.fault.harms
        try:
            result = fit_on_spark(
                self.frame,
                network.plan(harms),
                work.settings(),
                network.source([harm for harm in harms if harm.at != "write"], work.fault.way, work.fault.near),
                check=other.check,
                listener=heard,
                course=work.course(self.frame),
            )
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            return {"error": [kinds, str(error)], "seconds": time.monotonic() - begun}
        history = [validation.to_json() for validation in result.history]
        figures = {"weights": digest(result.weights), "state": result.state.to_json(), "history": history}
        return {**figures, "heard": heard.calls, "error": None, "seconds": time.monotonic() - begun}

    def left(self, work: Work, before: set[int]) -> dict:
        """Return what is still there of a fit, once it has had time to go."""
        end = time.monotonic() + SETTLE_SECONDS
        while any((found := self._remains(work, before)).values()) and time.monotonic() < end:
            threading.Event().wait(0.1)
        return found

    def _remains(self, work: Work, before: set[int]) -> dict:
        cache = Path(work.settings().cache_folder or "")
        tracker = None if is_connect(self.spark) else self.spark.sparkContext.statusTracker()
        return {
            "files": sorted(path.name for path in cache.glob("nnframes-*/*")),
            "threads": [each.name for each in threading.enumerate() if each.name.startswith("nnframes")],
            "ports": sorted(ports() - before),
            "jobs": list(tracker.getActiveJobsIds()) if tracker and not work.fault.outside else [],
            "stopped": [pid for pid in outside.members() if outside.status(pid)[:1] == ["T"]],
        }


def vars_of(quiet: dict, found: list[dict], left: dict, then: dict | None) -> dict:
    return {"quiet": quiet, "found": found, "left": left, "then": then}


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def placed(fault: Fault, folder: Path) -> Fault:
    """Give each harm the place where it counts."""
    harms = [replace(harm, marks=str(folder / f"harm-{number}")) for number, harm in enumerate(fault.harms)]
    return replace(fault, harms=tuple(harms))


def snapshots(path: Path) -> CheckpointSettings:
    return CheckpointSettings(str(path), SeveralIteration(4))


def ports() -> set[int]:
    """Return the ports at which this process listens."""
    return {port for port, pid in outside.listening().items() if pid == os.getpid()}


@contextmanager
def heard_logs() -> Iterator[list[str]]:
    """Give what the project says meanwhile."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("nnframes")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def session(master: str, folder: str) -> Any:
    if master == TWO_HOSTS:
        return on_two_hosts(folder, SPARK)
    if master == ENCRYPTED:
        return own_spark(CLUSTER, folder, {**SPARK, **ENCRYPTION})
    return remote_session(folder) if master == CONNECT else own_spark(master, folder, SPARK)


def serve(master: str, folder: str, descriptor: str) -> None:
    """Run the cases whose ids come through a pipe; say what came of each."""
    pipe = Connection(int(descriptor))
    cases = {case.id: case for case in all_cases()}
    with session(master, folder) as spark:
        bench = Bench(spark, Path(folder))
        runners: dict[str, Callable[[Bench, Case], dict]] = {"fits": Bench.run, "driver": killed}
        while wanted := pipe.recv_bytes().decode():
            case = cases[wanted]
            try:
                answer = runners[case.runner](bench, case)
            except Exception:
                answer = {"broken": traceback.format_exc()}
            pipe.send_bytes(json.dumps(answer).encode())


if __name__ == "__main__":
    serve(*sys.argv[1:])
