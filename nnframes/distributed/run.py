"""The driver of a fit: materialise the data, check it, train in one of the two modes, clean up."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from kernels.version import __version__
from nnframes.distributed.again import written_again
from nnframes.distributed.cache import remove_fit
from nnframes.distributed.course import CourseTask, FitCourse, identity_of, named, newest, with_held
from nnframes.distributed.engine import check_engines
from nnframes.distributed.epochs import by_epochs
from nnframes.distributed.forecast import Forecast
from nnframes.distributed.group import Group
from nnframes.distributed.job_mode import Jobs, choose_mode
from nnframes.distributed.jobs import SparkJob, free_slots, is_connect, is_encrypted, translated
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import FitSettings, ReplicaSource, TrainResult
from nnframes.distributed.shards import Materialised, ShardTask, collect_shards, shard_rows
from nnframes.distributed.summary import DataSummary
from nnframes.distributed.tls import check_cryptography
from nnframes.io.checkpoint import Checkpoint
from nnframes.train import Listener, Trigger

__all__ = ["fit_on_spark", "materialise"]

_LOG = logging.getLogger("nnframes")

CLEAN_SECONDS = 20.0
"""How long a fit waits for slots, which others may hold, to remove its files."""


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
    names = [fit]  # that files have
    cleaned, course = False, course or FitCourse()
    mode, reason = choose_mode(spark, settings)
    _LOG.info("Training in %s mode: %s.", mode, reason)
    course.check()
    if mode == "group" and is_encrypted(spark):
        check_cryptography()
    try:
        data = _with_forecast(df, plan, settings, fit, len(replica.payload))
        check_engines(__version__, data.engines)
        if check is not None:
            check(data.summary)
        data = _with_held(data, course, settings, fit)
        identity = identity_of(course, plan, settings, data)
        found = newest(course, identity)
        if mode == "job":
            renew = partial(_renewed, df, plan, course, settings, names)
            jobs = Jobs(df, plan, settings, replica, fit, replace(course, identity=identity), renew)
            return replace(jobs.run(data, found, listener or Listener()), reason=reason)
        held = None if course.held is None else course.held.plan
        task = CourseTask(course.milestones, held, course.checkpoint, identity, course.histograms)
        groups = _Groups(df, plan, settings, replica, fit, (course, task))
        result = groups.run(data, found, listener or Listener())
        cleaned = {shard.host for shard in data.sources if shard.path} <= result.hosts
        return replace(result, reason=reason)
    finally:
        _remove(spark, names, settings.cache_folder, everywhere=not cleaned)


def _with_forecast(df: DataFrame, plan: SamplePlan, settings: FitSettings, fit: str, network: int) -> Materialised:
    """Materialise, and say before and after it where memory will be short."""
    forecast = Forecast(df.sparkSession, settings, network)
    forecast.before(df)
    data = materialise(df, plan, settings, fit)
    forecast.after(data)
    return data


def materialise(df: DataFrame, plan: SamplePlan, settings: FitSettings, fit: str) -> Materialised:
    """Evaluate `df` once and leave its samples in files on the executors' hosts, under the name `fit`."""
    task = ShardTask(fit, plan, settings.cache_folder, settings.cache_level)
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


def _repaired(
    df: DataFrame,
    plan: SamplePlan,
    course: FitCourse,
    settings: FitSettings,
    fit: str,
    data: Materialised,
    sources: Sequence[int],
) -> Materialised:
    """Evaluate again the rows of these provisional shards, those to validate on among them."""
    count = len(data.shards)
    task = ShardTask(fit, plan, settings.cache_folder, settings.cache_level)
    data = written_again(df, task, data, settings.seed, [source for source in sources if source < count])
    held = [source - count for source in sources if source >= count]
    if not held or course.held is None:
        return data
    with named("Validation"):
        task = ShardTask(fit, course.held.plan, settings.cache_folder, settings.cache_level)
        aside = replace(data, shards=data.held, held=())
        return replace(data, held=written_again(course.held.df, task, aside, settings.seed, held).shards)


def _renewed(
    df: DataFrame, plan: SamplePlan, course: FitCourse, settings: FitSettings, names: list[str]
) -> tuple[str, Materialised]:
    """Evaluate all rows again, those to validate on too, under a new name; the files of all names before are removed.

    A task of another epoch that comes late, to write or to remove, then harms nothing.
    """
    _remove(df.sparkSession, names, settings.cache_folder)
    names.append(f"{names[0]}-{len(names)}")
    return names[-1], _with_held(materialise(df, plan, settings, names[-1]), course, settings, names[-1])


class _Groups:
    """The groups of a fit: one, or at the data cache level DIRECT one for each epoch."""

    def __init__(
        self,
        df: DataFrame,
        plan: SamplePlan,
        settings: FitSettings,
        replica: ReplicaSource,
        fit: str,
        course: tuple[FitCourse, CourseTask],
    ) -> None:
        self.df, self.plan, self.settings, self.replica, self.fit = df, plan, settings, replica, fit
        self.course, self.task = course

    def run(self, data: Materialised, found: Checkpoint | None, listener: Listener) -> TrainResult:
        """Train to the end."""
        if not self.settings.cache_level.by_epoch:
            return self._train(data, found, None, listener)
        return by_epochs(self._train, self._evaluate, self._finished, (data, found), listener)

    def _train(
        self, data: Materialised, found: Checkpoint | None, pause: Trigger | None, listener: Listener
    ) -> TrainResult:
        spark, task = self.df.sparkSession, replace(self.task, pause=pause)
        repair = partial(_repaired, self.df, self.plan, self.course, self.settings, self.fit)
        group = Group(spark, self.plan, self.settings, self.replica, data, self.fit, (task, found), repair)
        return group.run(listener)

    def _evaluate(self) -> Materialised:
        data = materialise(self.df, self.plan, self.settings, self.fit)
        return _with_held(data, self.course, self.settings, self.fit)

    def _finished(self, result: TrainResult) -> bool:
        stopping = self.course.milestones.stopping
        return self.settings.end_when(result.state) or (stopping is not None and stopping.should_stop(result.history))


def _remove(spark: SparkSession, fits: Sequence[str], folder: str | None, everywhere: bool = True) -> None:
    """Remove the files of these names, from the executors' hosts too where ranks have not done so already."""

    def remove() -> None:
        for fit in fits:
            remove_fit(fit, folder)

    def on_host(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches
        remove()

    remove()
    # Best effort: what stays on a host that no task reaches is swept by the next fit there.
    with suppress(Exception):
        # A client may lie on another host than a local server.
        local = not is_connect(spark) and str(spark.conf.get("spark.master", "")).startswith("local[")
        if local or not everywhere:
            return
        tasks = 2 * max(1, free_slots(spark))
        rows = spark.range(0, tasks, 1, tasks).mapInArrow(on_host, "id long")
        SparkJob(spark, rows.count).result(CLEAN_SECONDS)
