"""The driver's side of group mode: run the gang, hear it, and run it again when it was lost as a whole.

A rank that is lost is Spark's to replace, and the others wait for it (`nnframes.distributed.rendezvous`). Where Spark
does not (a local master, Connect, too many failures of one task) the job fails, and another one goes on from the
newest state that a host keeps, a bounded number of times without progress (on Connect, which tells of none, in all).
Rows that no rank can open are evaluated again before that. A gang that does not get its slots gives them back, and
tries again after a random time with as many ranks as came: so two fits at once both finish.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from nnframes.distributed.connect import barrier_rows
from nnframes.distributed.course import CourseTask, Told, snapshot_bytes
from nnframes.distributed.faults import GroupLost, TooFewSlots
from nnframes.distributed.gang import gang_rows
from nnframes.distributed.jobs import (
    SparkJob,
    driver_host,
    free_slots,
    is_connect,
    is_encrypted,
    is_lasting,
    translated,
)
from nnframes.distributed.link import BEAT_SECONDS
from nnframes.distributed.rank import GangTask
from nnframes.distributed.rendezvous import Event, Rendezvous, described
from nnframes.distributed.result import history_of, hosts_of, missing_of, state_of
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import FitSettings, ReplicaSource, TrainResult
from nnframes.distributed.shards import Materialised
from nnframes.distributed.wire import Secret
from nnframes.errors import SyncError, TrainingError
from nnframes.io.checkpoint import Checkpoint
from nnframes.train import Listener, TrainState

__all__ = ["Group"]

_LOG = logging.getLogger("nnframes")

INLINE = 1 << 20
"""Payloads up to this many bytes travel with the tasks, larger ones as a file of the session."""

GRACE_SECONDS = 2.0
"""Time in which the rank that really failed may speak, after another one has lost it."""

TICK_SECONDS = 0.25
STOP_SECONDS = 5.0
"""Time in which ranks may say their last words, and keep their state for another group, when the driver stops them."""

RESTARTS = 2
"""How often ranks may meet again, and jobs start again, without an iteration gained since the last time."""

REPAIRS = 8
"""How often rows may be evaluated again for hosts that run a rank."""

ENDED = re.compile(r"cancelled|SparkContext was shut down|stopped SparkContext")
"""What Spark says of a job that somebody ended on purpose."""

ARRIVALS = 10
"""How often a gang tries to get its slots."""


class Group:
    """The training job of one fit, run until it has a result.

    `repair(data, sources)` writes the rows of provisional shards that no host has any more.
    """

    def __init__(
        self,
        spark: SparkSession,
        plan: SamplePlan,
        settings: FitSettings,
        replica: ReplicaSource,
        data: Materialised,
        fit: str,
        course: tuple[CourseTask, Checkpoint | None],
        repair: Callable[[Materialised, Sequence[int]], Materialised],
    ) -> None:
        self.course, self.found = course
        self.spark, self.plan, self.settings, self.replica = spark, plan, settings, replica
        self.data, self.fit, self._repair = data, fit, repair
        self.tasks = self._wanted()
        self.train = settings.train(data.summary.rows)

    def run(self, listener: Listener) -> TrainResult:
        """Train to the end; whatever ends it early also ends its tasks."""
        told = Told(listener, TrainState() if self.found is None else self.found.train_state)
        listener.on_start(self.train, told.state)
        snapshot = snapshot_bytes(self.found)
        try:
            with _shipped(self.spark, self.replica.payload) as payload, _shipped(self.spark, snapshot) as start:
                rows = self._until_done(payload or b"", start, told)
            for message in history_of(rows):
                told.hear(message)
            weights, state, history = state_of(rows)
        finally:
            listener.on_end(told.state)
        return TrainResult(weights, state, self.data.summary, self.tasks, history, hosts=hosts_of(rows))

    def _until_done(self, payload: bytes | str, start: bytes | str | None, told: Told) -> pa.Table:
        restarts, arrivals, repairs, reached = 0, 0, 0, told.state.iteration
        while True:
            try:
                rows = self._attempt(payload, start, told)
            except TooFewSlots as short:
                arrivals += 1
                if arrivals >= ARRIVALS:
                    raise SyncError(str(short)) from short.__cause__
                self._give_way(short)
                continue
            except GroupLost as error:
                restarts = 1 if told.state.iteration > reached else restarts + 1
                reached = told.state.iteration
                if restarts > RESTARTS:
                    raise SyncError(str(error)) from error.__cause__
                _LOG.warning("%s Training starts again from the last state kept (%d of %d).", error, restarts, RESTARTS)
                continue
            missing = missing_of(rows)
            if not missing:
                return rows
            repairs += 1
            if repairs > REPAIRS:
                raise self._unreachable(missing)
            _LOG.warning("No training task can open the rows of shards %s: evaluating them again.", missing)
            self.data = self._repair(self.data, missing)

    def _unreachable(self, missing: Sequence[int]) -> SyncError:
        hosts = ", ".join(sorted({self.data.sources[source].host for source in missing}))
        return SyncError(
            f"Every shard must lie where a training task runs. Received: shards {missing} on {hosts}, where none "
            f"started, after they were written {REPAIRS} times. Hint: setSyncMode('job'), as many shards as task "
            "slots, or a cache folder that all hosts share."
        )

    def _give_way(self, short: TooFewSlots) -> None:
        """Wait a random time, so that of two fits one comes first, and ask for no more than there was."""
        self.tasks = min(self.tasks, short.arrived) or self.tasks
        _LOG.warning("%s Trying again with %d tasks.", short, self.tasks)
        time.sleep(random.uniform(0, self.settings.arrival_timeout))

    def _wanted(self) -> int:
        most = self.settings.max_tasks or self.settings.shards
        return max(1, min(self.settings.shards, free_slots(self.spark), most))

    def _attempt(self, payload: bytes | str, start: bytes | str | None, told: Told) -> pa.Table:
        """Run one job to its end; raises `GroupLost` when another one may do better."""
        secret = Secret.fresh(is_encrypted(self.spark))
        if is_connect(self.spark):
            task = self._task(None, secret, payload, start)
            return barrier_rows(self.spark, task, self.settings.arrival_timeout)
        host, bind = driver_host(self.spark)
        silence = max(self.settings.deadline, 4 * BEAT_SECONDS)
        meeting = Rendezvous(bind, secret, self.tasks, self.data.pieces, silence)
        job = None
        try:
            rows = gang_rows(self.spark, self._task((host, meeting.port), secret, payload, start))
            job = SparkJob(self.spark, rows.toArrow, meeting.events)
            return _Follower(meeting, self.settings, self.tasks, told).follow()
        except BaseException as error:
            meeting.stop(f"{type(error).__name__}: {error}", resume=isinstance(error, GroupLost))
            if isinstance(error, TrainingError):
                meeting.await_ends(STOP_SECONDS)
            if job is not None:
                job.cancel()
            if isinstance(error, TrainingError):
                _hear_rest(meeting, told)
            raise
        finally:
            meeting.close()

    def _task(
        self, address: tuple[str, int] | None, secret: Secret, payload: bytes | str, snapshot: bytes | str | None
    ) -> GangTask:
        return GangTask(
            address=address,
            secret=secret,
            ranks=self.tasks,
            fit=self.fit,
            plan=self.plan,
            shards=self.data.sources,
            pieces=tuple(tuple(parts) for parts in self.data.pieces),
            factory=self.replica.factory,
            payload=payload,
            threads=self.settings.threads_per_shard,
            settings=self.train,
            deadline=self.settings.deadline,
            keep_seconds=self.settings.keep_seconds,
            folder=self.settings.cache_folder,
            course=replace(self.course, snapshot=snapshot),
        )


class _Follower:
    """Hears the ranks of one job until it has ended."""

    def __init__(self, meeting: Rendezvous, settings: FitSettings, tasks: int, told: Told) -> None:
        self._meeting, self._settings, self._tasks, self._told = meeting, settings, tasks, told
        self._complaints: list[Event] = []
        self._changed = time.monotonic()
        """When a rank last came or went."""

        self._position: list[int] = []
        self._meetings = 0
        """How often the ranks have met at that position."""

        self._delivering = False
        """Whether rank 0 has the result: nothing that happens to the others matters any more."""

    def follow(self) -> pa.Table:
        """Hand on progress until the job has ended and all ranks were heard; returns its rows."""
        rows, finished = None, 0
        while rows is None or finished < self._tasks:
            try:
                event = self._meeting.events.get(timeout=TICK_SECONDS)
            except queue.Empty:
                if rows is not None:
                    break
                self._check()
                continue
            if isinstance(event, tuple):
                rows, error = event
                if error is not None:
                    raise self._cause(error) from error
            elif event.kind == "progress":
                self._told.hear(event.data)
            elif event.kind == "delivering":
                self._delivering = True
            elif event.kind == "done":
                finished += 1
            else:
                self._note(event)
        return rows

    def _note(self, event: Event) -> None:
        """Remember who came, went, and complained."""
        self._changed = time.monotonic()
        if event.kind == "started":
            self._delivering = False
            self._meet(event.data["position"])
        elif event.kind != "arrived":
            self._complaints.append(event)
            if event.kind == "failed" and not event.data.get("sync"):
                failure = described(event, self._tasks)
                raise failure from failure.__cause__
            if event.kind in ("lost", "silent"):
                _LOG.warning("Rank %d on %s is lost; the others wait for Spark to replace it.", event.rank, event.host)

    def _meet(self, position: list[int]) -> None:
        """Raise when the ranks meet again and again and get nowhere: what parts them is no passing fault."""
        self._meetings = self._meetings + 1 if position == self._position else 1
        self._position = position
        if self._meetings > RESTARTS + 1:
            raise SyncError(str(self._cause(None)))
        self._complaints = []

    def _check(self) -> None:
        """Raise when ranks are awaited too long."""
        if self._delivering:
            return
        waited = time.monotonic() - self._changed
        arrived, patience = self._meeting.arrived, self._settings.arrival_timeout
        if arrived < self._tasks and waited > patience:
            if self._meetings:
                raise self._cause(None)
            raise TooFewSlots(
                f"All {self._tasks} training tasks must run at once. Received: {arrived} of {self._tasks} within "
                f"{patience:g} s of the last one. Hint: other jobs hold the slots: wait for them, give the "
                "application more cores, or train with fewer tasks.",
                arrived,
            )
        if not self._meeting.complete and waited > max(patience, self._settings.deadline):
            raise SyncError(str(self._cause(None)))

    def _cause(self, error: BaseException | None) -> TrainingError:
        """Find the rank that failed first among all that complain: one that lost a peer is only a witness."""
        if error is not None and ENDED.search(str(error)):
            return TrainingError(str(translated(error, "The training job")))
        end = time.monotonic() + GRACE_SECONDS
        while not any(map(_is_root, self._complaints)):
            try:
                heard = self._meeting.events.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(heard, tuple):
                error = error or heard[1]
            elif heard.kind == "progress":
                self._told.hear(heard.data)
            elif heard.kind in ("failed", "left", "lost", "silent"):
                self._complaints.append(heard)
        root = min(self._complaints, key=lambda each: not _is_root(each), default=None)
        if root is not None:
            failure = described(root, self._tasks)
            return GroupLost(str(failure)) if isinstance(failure, SyncError) else failure
        if error is None:
            arrived = self._meeting.arrived
            return GroupLost(f"All ranks must meet again after one was lost. Received: {arrived} of {self._tasks}.")
        text = str(translated(error, "The training job"))
        return TrainingError(text) if is_lasting(error) else GroupLost(text)


def _hear_rest(meeting: Rendezvous, told: Told) -> None:
    """Hand on what rank 0 said before all ended: another rank's failure may have come first."""
    try:
        while True:
            event = meeting.events.get_nowait()
            if isinstance(event, Event) and event.kind == "progress":
                told.hear(event.data)
    except queue.Empty:
        return
    except Exception as error:  # the failure that ended the training is what the caller must hear of
        _LOG.warning("The last progress before a failure could not be taken: %s: %s", type(error).__name__, error)


def _is_root(event: Event) -> bool:
    return event.kind in ("lost", "silent") or (event.kind == "failed" and not event.data.get("sync"))


@contextmanager
def _shipped(spark: SparkSession, payload: bytes | None) -> Iterator[bytes | str | None]:
    """Give the payload as it travels: itself when small, else the name of a file that every executor gets."""
    if payload is None or len(payload) <= INLINE:
        yield payload
        return
    name = f"nnframes-{hashlib.sha256(payload).hexdigest()[:32]}"
    folder = Path(tempfile.mkdtemp(prefix="nnframes-"))
    try:
        (folder / name).write_bytes(payload)
        spark.addArtifacts(str(folder / name), file=True)
        yield name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
