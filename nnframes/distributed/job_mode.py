"""Job mode: one short Spark job per iteration, nothing that lives between jobs, the bits of group mode.

An iteration is a job of two stages over RDDs (`job_graph`), whose tasks are in `job_tasks`:

1. *run_shards*, a task per range of shards: reads the state and the sums of the iteration before, makes the update (as
   every rank of a group does), computes the messages of its shards, sums them as far as the fixed tree goes within the
   task, and sends each slice (whole blocks of 4096 numbers) to its task of stage 2. Each task also sends its share of
   the state on, so that every byte of it travels once.
2. *sum_slice*, a task per slice: completes the tree, and keeps sums and state of its slice as a block of a persisted
   RDD. The loss follows from the last slice. The driver gets a note of a few bytes per task.

Why the update is made at the start of stage 1, by every task on the whole vector: norms for clipping, LARS, averages of
batch norm and tables need all of it, and `Replica.update` is then the same call as in group mode, hence the same bits.
The price is bytes. With m bytes of messages, s of state (weights, averages, tables, optim state; Adam: s = 3 m) and T
tasks, every task reads m + s; all together write n m + s to the shuffle (n nodes of the tree, at least T) and m + s of
blocks, twice where there are several executors. Group mode needs 2 m per task and no s: state is handed on because any
task may land in a process that has none.

*Nothing passes the driver* but notes: tasks of the next iteration read blocks where they lie (the product of one seed
per task with all blocks). Each `CUT` iterations the parts are taken to the driver once and become the new root of the
lineage, dealt to one task per slice by a shuffle; so lost blocks are always recomputed by Spark, from at most `CUT`
iterations back, without a checkpoint folder. Blocks have a second copy where there are several executors, so that one
lost executor costs one iteration. Blocks and shuffle files are removed when the lineage is cut.

*Samples* are files on hosts, written by the first job. A task that cannot open its shards' files says so in its result;
the driver then evaluates the rows of these shards again (only these), prefers the host where they are now, and repeats
the job. So rows that lie on a host which is gone, or where no slot is free, cost one more evaluation.

*Validation, snapshots, histograms, early stopping, resuming* are those of group mode: the same `Course` runs, here on
the driver, a worker without shards whose replica is wherever tasks run (`job_sync`). A validation is a job over the
held-out rows, whose tasks give a few numbers per shard; a snapshot is written by one task, and training waits for it.
The driver gets weights at the end, and those of each best validation where early stopping restores them; these are
sent to the task that writes a snapshot, all else of it never leaves the tasks. A run resumes from a broadcast snapshot.

*Failures*: a lost task or executor is Spark's to repeat. A job that fails as a whole (local masters allow no task
failure) is submitted again from the same blocks, a bounded number of times. What user code raises is told at once.
The number of tasks follows the slots at each cut; under dynamic allocation there is a task per shard, so that Spark
sees what it could use.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import methodcaller
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from nnframes.distributed.course import FitCourse, Save, Spread
from nnframes.distributed.homes import Homes
from nnframes.distributed.job_graph import Graph
from nnframes.distributed.job_sync import JobSync, JobValidation, capital
from nnframes.distributed.job_tasks import Work
from nnframes.distributed.jobs import SparkJob, free_slots, is_connect, is_dynamic
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import FitSettings, ReplicaSource, TrainResult
from nnframes.distributed.shards import Materialised, ShardTask
from nnframes.distributed.store import ShardStore
from nnframes.errors import SyncError, UnsupportedError
from nnframes.io.checkpoint import Checkpoint
from nnframes.train import Course, Listener, Listeners, TrainSettings, TrainState, Validation

__all__ = ["choose_mode", "fit_by_jobs"]

TICK_SECONDS = 0.25
FIRST_PATIENCE, PATIENCE = 10, 20
"""An iteration may take this many times the deadline, later the longest one so far, before it counts as hanging."""


def choose_mode(spark: SparkSession, settings: FitSettings) -> tuple[str, str]:
    """Return "group" or "job", and why: what was asked for, or what suits the cluster.

    Raises `UnsupportedError` for job mode on Spark Connect, which has no RDDs.
    """
    if is_connect(spark):
        if settings.sync_mode == "job":
            raise UnsupportedError(
                "sync_mode 'job' needs a classic Spark session. Received: a Spark Connect session. Hint: use 'auto'."
            )
        return "group", "Spark Connect knows no other"
    if settings.sync_mode != "auto":
        return settings.sync_mode, "it was asked for"
    if is_dynamic(spark):
        return "job", "executors come and go (spark.dynamicAllocation.enabled)"
    slots = free_slots(spark)
    if slots < 1:
        return "job", "there is no free task slot yet for a gang"
    return "group", f"{slots} task slots stay for the whole training"


def fit_by_jobs(
    df: DataFrame,
    plan: SamplePlan,
    settings: FitSettings,
    replica: ReplicaSource,
    data: Materialised,
    fit: str,
    listener: Listener,
    course: tuple[FitCourse, Checkpoint | None],
) -> TrainResult:
    """Train on materialised data with one job per iteration; `course` has the snapshot to begin with, if any.

    `listener` hears everything in this thread. Raises `TrainingError` naming task, host and cause for what user code
    raises and for a loss that is not finite, `SyncError` when jobs fail again and again or nothing moves any more.
    """
    spark, (whole, found) = df.sparkSession, course
    start = TrainState() if found is None else found.train_state
    train = settings.train(data.summary.rows)
    payload = spark.sparkContext.broadcast(replica.payload)
    work = Work(fit, plan, replica.factory, payload, settings.threads_per_shard, train, start.iteration)
    homes = Homes(
        df, ShardTask(fit, plan, settings.cache_folder, settings.cache_level), replace(data, held=()), settings.seed
    )
    held = _held(whole, data, fit, settings)
    sync = JobSync(Graph(spark.sparkContext), homes, work, settings, start, held, whole.checkpoint)
    events: queue.Queue[Any] = queue.Queue()
    job = SparkJob(spark, lambda: _run(sync, train, whole, found, _Queued(events)), events)
    follower = _Follower(spark, settings, lambda: sync.doing, start)
    try:
        listener.on_start(train, start)
        weights, state, history = follower.follow(events, listener)
    except BaseException:
        sync.stopped = True
        job.cancel()
        raise
    finally:
        sync.close()
        listener.on_end(follower.state)
    return TrainResult(weights, state, data.summary, sync.tasks, history, mode="job")


def _held(course: FitCourse, data: Materialised, fit: str, settings: FitSettings) -> JobValidation | None:
    """Where the rows to validate on lie."""
    held, validation = course.held, course.milestones.validation
    if held is None or validation is None:
        return None
    task, rows = (
        ShardTask(fit, held.plan, settings.cache_folder, settings.cache_level),
        replace(data, shards=data.held, held=()),
    )
    return JobValidation(validation, held.plan, Homes(held.df, task, rows, settings.seed, "Validation"))


def _run(
    sync: JobSync, train: TrainSettings, course: FitCourse, found: Checkpoint | None, listener: Listener
) -> tuple[dict[str, np.ndarray], TrainState, tuple[Validation, ...]]:
    """Train to the end or the pause: the course of a rank of a group, on a worker that has no shards."""
    nothing = ShardStore({}, None, train.seed)
    save = None if course.checkpoint is None else Save(sync, course.identity)
    run = Course(train, course.milestones, sync, nothing, save, course.pause)
    if found is not None:
        run.restore(found.state, found.train_state, found.meta)
    spread = Listener() if course.histograms is None else Spread(course.histograms, sync.histograms, listener)
    run.run(nothing, sync, Listeners(listener, spread))
    arrays = run.weights() if run.finished() else {**run.snapshot()[0], **sync.whole_state()}
    return arrays, run.state, run.history


class _Queued(Listener):
    """Leaves calls for the thread that waits for the fit."""

    def __init__(self, events: queue.Queue[Any]) -> None:
        self._events = events

    def on_iteration(self, state: TrainState) -> None:
        """Leave it, and the end of the epoch before anything else at this state."""
        self._events.put(methodcaller("on_iteration", state))
        if state.epoch_finished:
            self._events.put(methodcaller("on_epoch", state))

    def on_validation(self, state: TrainState, validation: Validation) -> None:
        """Leave it."""
        self._events.put(methodcaller("on_validation", state, validation))

    def on_histograms(self, state: TrainState, histograms: Mapping[str, bytes]) -> None:
        """Leave it."""
        self._events.put(methodcaller("on_histograms", state, histograms))


class _Follower(Listener):
    """The thread that called fit: tells the listener, and notices when nothing moves."""

    def __init__(self, spark: SparkSession, settings: FitSettings, doing: Callable[[], str], state: TrainState) -> None:
        self.state = state
        self._spark, self._settings, self._doing = spark, settings, doing
        self._longest: float | None = None
        """Seconds, None before the first event: that one starts workers and compiles."""

    def on_iteration(self, state: TrainState) -> None:
        """Keep the state."""
        self.state = state

    def on_validation(self, state: TrainState, validation: Validation) -> None:
        """Keep the state."""
        self.state = state

    def follow(self, events: queue.Queue[Any], listener: Listener) -> Any:
        """Return what the job gave at its end, or raise what ended it; `listener` hears of all on the way."""
        moved = busy = time.monotonic()
        while True:
            try:
                event = events.get(timeout=TICK_SECONDS)
            except queue.Empty:
                busy = self._check(moved, busy)
                continue
            if isinstance(event, tuple):
                value, error = event
                if error is not None:
                    raise error
                return value
            self._longest = 0.0 if self._longest is None else max(self._longest, time.monotonic() - moved)
            event(Listeners(self, listener))
            moved = busy = time.monotonic()

    def _check(self, moved: float, busy: float) -> float:
        """Raise `SyncError` when no task runs, or none ends; returns when a task was last seen running."""
        now = time.monotonic()
        if now - moved < self._settings.arrival_timeout:
            return now
        tracker = self._spark.sparkContext.statusTracker()
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        if any(stage is not None and stage.numActiveTasks for stage in stages):
            busy = now
        patience = self._settings.arrival_timeout
        if now - busy > patience:
            raise SyncError(
                f"A training task must start within {patience:g} s. Received: none in {self._doing()}. Hint: no "
                "executor gives a task slot: wait for other jobs, or give the application cores."
            )
        limit = max(FIRST_PATIENCE * self._settings.deadline, PATIENCE * (self._longest or 0.0))
        if now - moved > limit:
            raise SyncError(
                f"{capital(self._doing())} must end within {limit:g} s. Received: no end. Hint: a task "
                "hangs or computes too long (a longer deadline allows for it), or other jobs hold all slots."
            )
        return busy
