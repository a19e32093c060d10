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

*Between cuts nothing passes the driver* but notes: tasks of the next iteration read blocks where they lie (the product
of one seed per task with all blocks). Each `CUT` iterations the parts are taken to the driver once and become the new
root of the lineage, dealt to one task per slice by a shuffle; so lost blocks are always recomputed by Spark, from at
most `CUT` iterations back, without a checkpoint folder. Blocks have a second copy where there are several executors, so
that one lost executor costs one iteration. Blocks and shuffle files are removed when the lineage is cut.

*Samples* are files on hosts, written before the first iteration. A task that cannot open its shards' files says so in
its result; the driver then evaluates the rows of these shards again (only these), prefers the host where they are now,
and repeats the job. So rows that lie on a host which is gone, or where no slot is free, cost one more evaluation.

*Validation, snapshots, histograms, early stopping, resuming* are those of group mode: the same `Course` runs, here on
the driver, a worker without shards whose replica is wherever tasks run (`job_sync`). A validation is a job over the
held-out rows, whose tasks give a few numbers per shard; a snapshot is written by one task, and training waits for it.
The driver gets weights at the end, and those of each best validation where early stopping restores them; these are
sent to the task that writes a snapshot. A run resumes from a broadcast snapshot.
At the data cache level DIRECT the course pauses at the end of each epoch: the lineage is cut, new files take the place
of the old ones, and the same course goes on.

*Failures*: a lost task or executor is Spark's to repeat. A job that fails as a whole (local masters allow no task
failure) is submitted again from the same blocks, a bounded number of times. What user code raises is told at once.
The number of tasks follows the slots at each cut; under dynamic allocation there is a task per shard, so that Spark
sees what it could use.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from kernels.version import __version__
from nnframes.distributed.course import FitCourse, Save, Spread
from nnframes.distributed.engine import check_engines
from nnframes.distributed.epochs import check_same
from nnframes.distributed.homes import Homes
from nnframes.distributed.job_graph import Graph
from nnframes.distributed.job_sync import JobSync, JobValidation, Places
from nnframes.distributed.job_tasks import Work
from nnframes.distributed.job_watch import Follower, Queued
from nnframes.distributed.jobs import SparkJob, free_slots, is_connect, is_dynamic
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import FitSettings, ReplicaSource, TrainResult
from nnframes.distributed.shards import Materialised, ShardTask
from nnframes.distributed.store import ShardStore
from nnframes.errors import UnsupportedError
from nnframes.io.checkpoint import Checkpoint
from nnframes.train import Course, Listener, Listeners, MaxEpoch, TrainSettings, TrainState

__all__ = ["Jobs", "choose_mode"]

Weights = dict[str, np.ndarray]


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


class Jobs:
    """The jobs of one fit.

    Between two epochs of the data cache level DIRECT the lineage is cut, then `renew()` removes the files of the first,
    evaluates the rows for the second, and returns the name that their files have and where they lie: so nothing is ever
    computed again from files that are gone.
    """

    def __init__(
        self,
        df: DataFrame,
        plan: SamplePlan,
        settings: FitSettings,
        replica: ReplicaSource,
        fit: str,
        course: FitCourse,
        renew: Callable[[], tuple[str, Materialised]],
    ) -> None:
        self.df, self.plan, self.settings, self.replica, self.fit = df, plan, settings, replica, fit
        self.course, self.renew = course, renew

    def run(self, data: Materialised, found: Checkpoint | None, listener: Listener) -> TrainResult:
        """Train on materialised data, from the snapshot `found` on if any; `listener` hears everything in this thread.

        Raises `TrainingError` naming task, host and cause for what user code raises and for a loss that is not finite,
        `SyncError` when jobs fail again and again or nothing moves any more, and what the evaluation for another epoch
        does: `DataError` when that gives other rows.
        """
        spark, settings = self.df.sparkSession, self.settings
        start = TrainState() if found is None else found.train_state
        train = settings.train(data.summary.rows)
        payload = spark.sparkContext.broadcast(self.replica.payload)
        work = Work(
            self.fit, self.plan, self.replica.factory, payload, settings.threads_per_shard, train, start.iteration
        )
        sync = JobSync(
            Graph(spark.sparkContext), self._places(self.fit, data), work, settings, start, self.course.checkpoint
        )
        follower = Follower(spark, settings, lambda: sync.doing, start)
        course = self._course(train, sync)
        try:
            listener.on_start(train, start)
            weights = self._followed(partial(self._begin, course, sync, found), sync, follower, listener)
            while weights is None:
                self._renew(sync, data)
                weights = self._followed(partial(self._go_on, course, sync), sync, follower, listener)
        finally:
            sync.close()
            listener.on_end(follower.state)
        return TrainResult(weights, course.state, data.summary, sync.tasks, course.history, mode="job")

    def _followed(
        self, train: Callable[[Listener], Weights | None], sync: JobSync, follower: Follower, listener: Listener
    ) -> Weights | None:
        """Train in a thread of its own whose jobs can be cancelled; `listener` hears of it in this one."""
        events: queue.Queue[Any] = queue.Queue()
        job = SparkJob(self.df.sparkSession, lambda: train(Queued(events)), events)
        try:
            return follower.follow(events, listener)
        except BaseException:
            sync.stopped = True
            job.cancel()
            raise

    def _begin(self, course: Course, sync: JobSync, found: Checkpoint | None, listener: Listener) -> Weights | None:
        if found is not None:
            course.restore(found.state, found.train_state, found.meta)
        return self._go_on(course, sync, listener)

    def _go_on(self, course: Course, sync: JobSync, listener: Listener) -> Weights | None:
        """Train to the end and return the weights, or to the end of an epoch whose files are to go: cut the lineage."""
        if self.settings.cache_level.by_epoch:
            course.pause = MaxEpoch(course.state.epoch + 1)
        when = self.course.histograms
        spread = Listener() if when is None else Spread(when, sync.histograms, listener)
        course.run(_nothing(course.settings), sync, Listeners(listener, spread))
        if course.finished():
            return course.weights()
        sync.cut()
        return None

    def _renew(self, sync: JobSync, first: Materialised) -> None:
        name, data = self.renew()
        check_same(first, data)
        check_engines(__version__, [*first.engines, *data.engines])
        sync.move(self._places(name, data))

    def _course(self, train: TrainSettings, sync: JobSync) -> Course:
        """The course of a rank of a group, on a worker that has no shards."""
        save = None if self.course.checkpoint is None else Save(sync, self.course.identity)
        return Course(train, self.course.milestones, sync, _nothing(train), save)

    def _places(self, name: str, data: Materialised) -> Places:
        """Where the rows lie, and those to validate on."""
        held, validation, seed = self.course.held, self.course.milestones.validation, self.settings.seed
        homes = Homes(self.df, self._writing(name, self.plan), replace(data, held=()), seed)
        if held is None or validation is None:
            return homes, None
        aside = replace(data, shards=data.held, held=())
        held_homes = Homes(held.df, self._writing(name, held.plan), aside, seed, "Validation")
        return homes, JobValidation(validation, held.plan, held_homes)

    def _writing(self, name: str, plan: SamplePlan) -> ShardTask:
        return ShardTask(name, plan, self.settings.cache_folder, self.settings.cache_level)


def _nothing(train: TrainSettings) -> ShardStore:
    return ShardStore({}, None, train.seed)
