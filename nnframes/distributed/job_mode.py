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
the iteration. So rows that lie on a host which is gone, or where no slot is free, cost one more evaluation.

*Failures*: a lost task or executor is Spark's to repeat. A job that fails as a whole (local masters allow no task
failure) is submitted again from the same blocks, a bounded number of times. What user code raises is told at once.
The number of tasks follows the slots at each cut; under dynamic allocation there is a task per shard, so that Spark
sees what it could use.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from pyspark.sql import DataFrame, SparkSession

from nnframes.distributed.homes import Homes
from nnframes.distributed.job_graph import Graph
from nnframes.distributed.job_tasks import Turn, Work
from nnframes.distributed.jobs import SparkJob, free_slots, is_connect, told_by_python, translated
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import FitSettings, ReplicaSource, TrainResult
from nnframes.distributed.shards import Materialised, ShardTask
from nnframes.errors import SyncError, TrainingError, UnsupportedError
from nnframes.optim import BLOCK
from nnframes.train import Listener, TrainSettings, TrainState
from nnframes.train.loop import advanced

__all__ = ["choose_mode", "fit_by_jobs"]

_LOG = logging.getLogger("nnframes")
T = TypeVar("T")

CUT = 32
"""Iterations after which the lineage is cut: cutting costs about an iteration, each link a little in every job."""

RETRIES = 3
WRITES = 8
TICK_SECONDS = 0.25
SLICE_BYTES = 512 << 10
"""Bytes of messages per slice below which another task costs more than it saves."""

MOST_SLICE_BYTES = 64 << 20
FIRST_PATIENCE, PATIENCE = 10, 20
"""An iteration may take this many times the deadline, later the longest one so far, before it counts as hanging."""


def choose_mode(spark: SparkSession, settings: FitSettings, milestones: bool = False) -> tuple[str, str]:
    """Return "group" or "job", and why: what was asked for, or what suits the cluster.

    Raises `UnsupportedError` for job mode on Spark Connect, which has no RDDs, for job mode with `milestones`:
    validation and snapshots are the work of tasks that live through the training, and with files of one epoch.
    """
    if settings.cache_level.by_epoch:
        if settings.sync_mode == "job":
            raise UnsupportedError(
                "sync_mode 'job' trains from files that live as long as the fit. Received: data cache level DIRECT. "
                "Hint: use 'group', or setDataCacheLevel('DISK_AND_DRAM', 8)."
            )
        return "group", "the data cache level DIRECT trains in groups of an epoch"
    if milestones:
        if settings.sync_mode == "job":
            raise UnsupportedError(
                "sync_mode 'job' trains without validation, snapshots, resuming and histograms. "
                "Received: some of them. Hint: use 'group'."
            )
        return "group", "validation and snapshots are the work of a gang"
    if is_connect(spark):
        if settings.sync_mode == "job":
            raise UnsupportedError(
                "sync_mode 'job' needs a classic Spark session. Received: a Spark Connect session. Hint: use 'auto'."
            )
        return "group", "Spark Connect knows no other"
    if settings.sync_mode != "auto":
        return settings.sync_mode, "it was asked for"
    if _is_dynamic(spark):
        return "job", "executors come and go (spark.dynamicAllocation.enabled)"
    slots = free_slots(spark)
    if slots < 1:
        return "job", "there is no free task slot yet for a gang"
    return "group", f"{slots} task slots stay for the whole training"


def _is_dynamic(spark: SparkSession) -> bool:
    return str(spark.conf.get("spark.dynamicAllocation.enabled", "false")).lower() == "true"


class _Stopped(Exception):
    """The fit was given up by the thread that waits for it."""


class _Iterations:
    """The loop over iterations, in a thread whose Spark jobs can be cancelled together."""

    def __init__(self, graph: Graph, homes: Homes, work: Work, settings: FitSettings, events: queue.Queue[Any]) -> None:
        self.graph, self.homes, self.work, self.settings, self.events = graph, homes, work, settings, events
        self.stopped = False
        self.tasks = 0
        self._attempts = 0
        self._spark = homes.spark
        self._limit = min(settings.shards, settings.max_tasks or settings.shards)

    def run(self) -> tuple[dict, TrainState]:
        """Train from the start to the end; returns the final arrays and counters."""
        train, plan, state = self.work.settings, self.work.settings.plan(), TrainState()
        size, total = self._again("starting", lambda: self.graph.sizes(self.work))
        self._deal()
        while not train.end_when(state):
            loss = self._iteration(state, size, total)
            state = advanced(state, plan, loss)
            self.events.put(state)
            if state.iteration % CUT == 0:
                self._again("cutting the lineage", lambda: self.graph.cut(self._slices(size, total)))
                self._deal()
        arrays = self._again("handing back the weights", lambda: self.graph.arrays(self.work, state))
        return arrays, state

    def _iteration(self, state: TrainState, size: int, total: int) -> float:
        slices = self._slices(size, total)
        for _ in range(WRITES):
            parts, notes = self._again(f"iteration {state.iteration + 1}", lambda: self._attempt(state, size, slices))
            remarks = {task: remark for note in notes for task, remark in note["remarks"].items()}
            losses = [note["loss"] for note in notes if "loss" in note]
            if not remarks:
                self.graph.accept(parts)
                return losses[-1]
            self.graph.drop()
            self._raise(remarks, state)
            missing = sorted({shard for remark in remarks.values() for shard in remark["missing"]})
            _LOG.warning(
                "Shards %s are missing on %s: writing them again.",
                missing,
                ", ".join(sorted({remark["host"] for remark in remarks.values()})),
            )
            self.homes.write(missing)
            self._deal()
        raise TrainingError(
            f"Every shard must lie where its task runs. Received: shards {missing} missing after they were written "
            f"{WRITES} times. Hint: set cache_folder to a folder that all hosts share."
        )

    def _attempt(self, state: TrainState, size: int, slices: int) -> tuple[Any, list[dict]]:
        self._attempts += 1
        parts, notes = self.graph.iterate(self.work, Turn(state, self._attempts, size, slices))
        heard = {note["slice"] for note in notes}
        if len(heard) != slices:
            raise SyncError(f"Each of {slices} tasks must say what came of it. Received: {len(heard)}.")
        return parts, notes

    def _again(self, what: str, action: Callable[[], T]) -> T:
        """Run Spark jobs; again when they failed for what may have passed: a worker that died, an executor lost."""
        attempt = 0
        while True:
            attempt += 1
            if self.stopped:
                raise _Stopped
            try:
                return action()
            except Exception as error:
                if self.stopped:
                    raise _Stopped from error
                self.graph.drop()
                if told_by_python(error) is not None or "cancelled" in str(error):
                    raise translated(error, "Training") from error
                if attempt > RETRIES:
                    raise SyncError(
                        f"Training failed: {what} was tried {attempt} times, and each time a worker ended without a "
                        f"word or its executor was lost. {translated(error, 'The last job')} Hint: it was killed, "
                        "often for memory: raise spark.executor.memoryOverhead; its executor's log says more."
                    ) from error
                _LOG.warning("%s failed, trying again (%d of %d).", what.capitalize(), attempt, RETRIES)
                self._deal()

    def _raise(self, remarks: dict[int, dict], state: TrainState) -> None:
        """Tell the first error of a task's user code."""
        for task, remark in sorted(remarks.items()):
            if "error" in remark:
                if remark["error"] == TrainingError.__name__:
                    raise TrainingError(remark["text"]) from RuntimeError(remark["trace"])
                failure = TrainingError(
                    f"Training failed on task {task} of {self.tasks} on {remark['host']} in iteration "
                    f"{state.iteration + 1}: {remark['error']}: {remark['text']}"
                )
                raise failure from RuntimeError(remark["trace"])

    def _deal(self) -> None:
        """Deal the shards to as many tasks as run at once now."""
        limit = self._limit
        self.tasks = limit if _is_dynamic(self._spark) else max(1, min(limit, free_slots(self._spark)))
        self.graph.seed(self.homes.seeds(self.tasks))

    def _slices(self, size: int, total: int) -> int:
        wanted = min(self.tasks, -(-4 * size // SLICE_BYTES), size // BLOCK)
        return max(1, wanted, -(-max(4 * size, total) // MOST_SLICE_BYTES))


def fit_by_jobs(
    df: DataFrame,
    plan: SamplePlan,
    settings: FitSettings,
    replica: ReplicaSource,
    data: Materialised,
    fit: str,
    listener: Listener,
) -> TrainResult:
    """Train on materialised data with one job per iteration; `listener` hears every iteration in this thread.

    Raises `TrainingError` naming task, host and cause for what user code raises and for a loss that is not finite,
    `SyncError` when jobs fail again and again or nothing moves any more.
    """
    spark = df.sparkSession
    train = TrainSettings(data.summary.rows, settings.batch_size, settings.end_when, settings.shards, settings.seed)
    homes = Homes(df, ShardTask(fit, plan, settings.cache_folder, settings.cache_level), data, settings.seed)
    graph = Graph(spark.sparkContext)
    payload = spark.sparkContext.broadcast(replica.payload)
    work = Work(fit, plan, replica.factory, payload, settings.threads_per_shard, train)
    events: queue.Queue[Any] = queue.Queue()
    iterations = _Iterations(graph, homes, work, settings, events)
    job = SparkJob(spark, iterations.run, events)
    follower = _Follower(spark, settings, listener)
    try:
        listener.on_start(train, follower.state)
        weights, state = follower.follow(events)
    except BaseException:
        iterations.stopped = True
        job.cancel()
        raise
    finally:
        graph.close()
        with suppress(Exception):  # a context that is gone holds none
            payload.destroy()
        listener.on_end(follower.state)
    return TrainResult(weights, state, data.summary, iterations.tasks, mode="job")


class _Follower:
    """The thread that called fit: tells the listener, and notices when nothing moves."""

    def __init__(self, spark: SparkSession, settings: FitSettings, listener: Listener) -> None:
        self.state = TrainState()
        self._spark, self._settings, self._listener = spark, settings, listener
        self._longest = 0.0

    def follow(self, events: queue.Queue[Any]) -> tuple[dict, TrainState]:
        """Return what the iterations gave at their end, or raise what ended them."""
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
            self._longest = max(self._longest, time.monotonic() - moved) if self.state.iteration else 0.0
            moved = busy = time.monotonic()
            self._tell(event)

    def _tell(self, state: TrainState) -> None:
        self.state = state
        self._listener.on_iteration(state)
        if state.epoch_finished:
            self._listener.on_epoch(state)

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
                f"A training task must start within {patience:g} s. Received: none in iteration "
                f"{self.state.iteration + 1}. Hint: no executor gives a task slot: wait for other jobs, or give the "
                "application cores."
            )
        limit = max(FIRST_PATIENCE * self._settings.deadline, PATIENCE * self._longest)
        if now - moved > limit:
            raise SyncError(
                f"Iteration {self.state.iteration + 1} must end within {limit:g} s. Received: no end. Hint: a task "
                "hangs or computes too long (a longer deadline allows for it), or other jobs hold all slots."
            )
        return busy
