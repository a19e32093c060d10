"""The driver of a fit: materialise the data, check it, run the gang, bring back the weights, clean up."""

from __future__ import annotations

import hashlib
import logging
import queue
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from kernels.version import __version__
from nnframes.distributed.cache import remove_fit
from nnframes.distributed.connect import run_by_barrier
from nnframes.distributed.course import (
    CourseTask,
    FitCourse,
    identity_of,
    named,
    newest,
    snapshot_bytes,
    tell,
    with_held,
)
from nnframes.distributed.engine import check_engines
from nnframes.distributed.gang import GangTask, gang_rows, state_of
from nnframes.distributed.job_mode import choose_mode, fit_by_jobs
from nnframes.distributed.jobs import SparkJob, driver_host, free_slots, is_connect, is_encrypted, translated
from nnframes.distributed.link import BEAT_SECONDS
from nnframes.distributed.rendezvous import Event, Rendezvous, described
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import FitSettings, ReplicaSource, TrainResult
from nnframes.distributed.shards import Materialised, ShardTask, collect_shards, shard_rows
from nnframes.distributed.summary import DataSummary
from nnframes.distributed.tls import check_cryptography
from nnframes.distributed.wire import Secret
from nnframes.errors import SyncError, TrainingError
from nnframes.io.checkpoint import Checkpoint
from nnframes.train import Listener, TrainState

__all__ = ["fit_on_spark", "materialise"]

_LOG = logging.getLogger("nnframes")

INLINE = 1 << 20
"""Payloads up to this many bytes travel with the tasks, larger ones as a file of the session."""

GRACE_SECONDS = 2.0
"""Time in which the rank that really failed may speak, after another one has lost it."""

TICK_SECONDS = 0.25

CLEAN_SECONDS = 20.0
"""How long a failed fit waits for slots to remove its files, which others may hold."""


def fit_on_spark(
    df: DataFrame,
    plan: SamplePlan,
    settings: FitSettings,
    replica: ReplicaSource,
    *,
    check: Callable[[DataSummary], None] | None = None,
    listener: Listener | None = None,
    course: FitCourse | None = None,
) -> TrainResult:
    """Train on the rows of `df` in Spark tasks; the same bits for any partitioning of `df` and number of tasks.

    `check(summary)` may raise before training starts; `listener` gets rank 0's states in this thread;
    `course` says how to validate, to write snapshots and to resume. Raises `ColumnError` and `DataError` for the data,
    `ModelFileError` for a snapshot of another run, `SyncError` when the tasks cannot meet or lose each other,
    `TrainingError` naming rank, host and cause for everything else in a task.
    """
    spark = df.sparkSession
    fit = secrets.token_hex(8)
    cleaned, course = False, course or FitCourse()
    mode, reason = choose_mode(spark, settings, course.has_milestones)
    _LOG.info("Training in %s mode: %s.", mode, reason)
    course.check()
    if mode == "group" and is_encrypted(spark):
        check_cryptography()
    try:
        data = materialise(df, plan, settings, fit)
        check_engines(__version__, data.engines)
        if check is not None:
            check(data.summary)
        if mode == "job":
            return fit_by_jobs(df, plan, settings, replica, data, fit, listener or Listener())
        data = _with_held(data, course, settings, fit)
        identity = identity_of(course, plan, settings, data)
        found = newest(course, identity)
        held = None if course.held is None else course.held.plan
        task = CourseTask(course.milestones, held, course.checkpoint, identity, course.histograms)
        group = _Group(spark, plan, settings, replica, data, fit, (task, found))
        run = group.run_on_connect if is_connect(spark) else group.run
        result = run(listener or Listener())
        cleaned = True
        return result
    finally:
        remove_fit(fit, settings.cache_folder)
        if not cleaned:
            _clean(spark, fit, settings.cache_folder)


def materialise(df: DataFrame, plan: SamplePlan, settings: FitSettings, fit: str) -> Materialised:
    """Evaluate `df` once and leave its samples in files on the executors' hosts, under the name `fit`."""
    task = ShardTask(fit, plan, settings.cache_folder)
    rows = shard_rows(df, task, settings.shards, settings.seed)
    try:
        reports = SparkJob(df.sparkSession, rows.collect).result()
    except Exception as error:
        raise translated(error, "Preparing the data") from error
    return collect_shards([row.report for row in reports], settings.shards, plan)


def _with_held(data: Materialised, course: FitCourse, settings: FitSettings, fit: str) -> Materialised:
    """Materialise and check the rows to validate on."""
    if course.held is None:
        return data
    with named("Validation"):
        held = materialise(course.held.df, course.held.plan, settings, fit)
        check_engines(__version__, [*data.engines, *held.engines])
        if course.held.check is not None:
            course.held.check(held.summary)
    return with_held(data, held)


def _clean(spark: SparkSession, fit: str, folder: str | None) -> None:
    """Remove the fit's files from the executors' hosts; after a success the ranks have done so already."""

    def remove(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches
        remove_fit(fit, folder)

    # Best effort: what stays on a host that no task reaches is swept by the next fit there.
    with suppress(Exception):
        # A client may lie on another host than a local server.
        if not is_connect(spark) and str(spark.conf.get("spark.master", "")).startswith("local["):
            return
        tasks = 2 * max(1, free_slots(spark))
        rows = spark.range(0, tasks, 1, tasks).mapInArrow(remove, "id long")
        SparkJob(spark, rows.count).result(CLEAN_SECONDS)


class _Failure(Exception):
    """The gang has failed; carries what to tell the user."""

    def __init__(self, error: TrainingError) -> None:
        super().__init__(str(error))
        self.error = error


class _Group:
    """One gang job and the driver's side of it."""

    def __init__(
        self,
        spark: SparkSession,
        plan: SamplePlan,
        settings: FitSettings,
        replica: ReplicaSource,
        data: Materialised,
        fit: str,
        course: tuple[CourseTask, Checkpoint | None],
    ) -> None:
        self.course, self.found = course
        self.spark, self.plan, self.settings, self.replica, self.data, self.fit = (
            spark,
            plan,
            settings,
            replica,
            data,
            fit,
        )
        slots = free_slots(spark)
        self.tasks = max(1, min(settings.shards, slots, settings.max_tasks or settings.shards))
        self.train = settings.train(data.summary.rows)
        self._last = TrainState() if self.found is None else self.found.train_state

    def run(self, listener: Listener) -> TrainResult:
        """Run the job to its end; whatever ends it early also ends its tasks."""
        secret = Secret.fresh(is_encrypted(self.spark))
        host, bind = driver_host(self.spark)
        silence = max(self.settings.deadline, 4 * BEAT_SECONDS)
        meeting = Rendezvous(bind, secret, self.tasks, self.data.pieces, silence)
        job = None
        try:
            snapshot = snapshot_bytes(self.found)
            with _shipped(self.spark, self.replica.payload) as payload, _shipped(self.spark, snapshot) as start:
                rows = gang_rows(self.spark, self._task((host, meeting.port), secret, payload, start))
                job = SparkJob(self.spark, rows.toArrow, meeting.events)
                weights, state, history = state_of(self._follow(meeting, listener))
        except BaseException as error:
            meeting.stop(f"{type(error).__name__}: {error}")
            if job is not None:
                job.cancel()
            if isinstance(error, _Failure):
                raise error.error from error.__cause__
            raise
        finally:
            meeting.close()
            listener.on_end(self._last)
        return TrainResult(weights, state, self.data.summary, self.tasks, history)

    def run_on_connect(self, listener: Listener) -> TrainResult:
        """Run the job to its end where no task can call the driver."""
        snapshot, patience = snapshot_bytes(self.found), self.settings.arrival_timeout
        with _shipped(self.spark, self.replica.payload) as payload, _shipped(self.spark, snapshot) as start:
            task = self._task(None, Secret.fresh(is_encrypted(self.spark)), payload, start)
            weights, state, history = run_by_barrier(self.spark, task, patience, listener, self._last)
        return TrainResult(weights, state, self.data.summary, self.tasks, history)

    def _task(
        self, address: tuple[str, int] | None, secret: Secret, payload: bytes | str | None, snapshot: bytes | str | None
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
            payload=payload or b"",
            threads=self.settings.threads_per_shard,
            settings=self.train,
            deadline=self.settings.deadline,
            folder=self.settings.cache_folder,
            course=replace(self.course, snapshot=snapshot),
        )

    def _follow(self, meeting: Rendezvous, listener: Listener) -> pa.Table:
        """Hand progress to the listener until the job has ended and all ranks were heard; returns its rows."""
        listener.on_start(self.train, self._last)
        last_arrival = time.monotonic()
        rows, finished = None, 0
        while rows is None or finished < self.tasks:
            try:
                event = meeting.events.get(timeout=TICK_SECONDS)
            except queue.Empty:
                if rows is not None:
                    break
                self._check_arrivals(meeting, last_arrival)
                continue
            if isinstance(event, tuple):
                rows, error = event
                if error is not None:
                    raise _Failure(self._cause(meeting, None, error)) from error
            elif event.kind == "arrived":
                last_arrival = time.monotonic()
            elif event.kind == "progress":
                for self._last in tell(listener, event.data):
                    pass
            elif event.kind == "done":
                finished += 1
            elif rows is None:
                raise _Failure(self._cause(meeting, event, None))
        return rows

    def _check_arrivals(self, meeting: Rendezvous, last_arrival: float) -> None:
        patience = self.settings.arrival_timeout
        if meeting.arrived < self.tasks and time.monotonic() - last_arrival > patience:
            raise _Failure(
                SyncError(
                    f"All {self.tasks} training tasks must run at once. Received: {meeting.arrived} of {self.tasks} "
                    f"within {patience:g} s of the last one. Hint: other jobs hold the slots: wait for them, give the "
                    "application more cores, or train with fewer tasks."
                )
            )

    def _cause(self, meeting: Rendezvous, event: Event | None, error: BaseException | None) -> TrainingError:
        """Find the rank that failed first among all that complain: one that lost a peer is only a witness."""
        events = [] if event is None else [event]
        end = time.monotonic() + GRACE_SECONDS
        while not any(_is_root(each) for each in events):
            try:
                heard = meeting.events.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(heard, tuple):
                error = error or heard[1]
            elif heard.kind in ("failed", "lost", "silent"):
                events.append(heard)
        root = min(events, key=lambda each: not _is_root(each), default=None)
        if root is None:
            failure = translated(error or RuntimeError("it ended without a result"), "The training job")
            return failure if isinstance(failure, TrainingError) else TrainingError(str(failure))
        return described(root, self.tasks)


def _is_root(event: Event) -> bool:
    return event.kind == "lost" or (event.kind == "failed" and not event.data.get("sync"))


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
