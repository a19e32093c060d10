"""The client's side of a group on Spark Connect: it cannot be called, so it waits for the job and its rows.

Progress comes with them, so a listener hears of all iterations after the last one.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from nnframes.distributed.faults import GroupLost, TooFewSlots
from nnframes.distributed.gang import gang_rows
from nnframes.distributed.jobs import SparkJob, translated
from nnframes.distributed.rank import GangTask
from nnframes.distributed.rendezvous import Event, described
from nnframes.errors import NNFramesError, SyncError, TrainingError

__all__ = ["barrier_rows"]

PROBE_SECONDS = 5.0
"""How long the probe computes: longer than Spark's interval between reports of progress, which is 2 s."""

_SAID = re.compile(r"(TrainingError|SyncError): (Training failed on .*?)(?=\n SQLSTATE|\n\s+at |\n\n|\Z)", re.DOTALL)
_TASK = re.compile(r"barrier task ResultTask\(\d+, (\d+)\)")


def barrier_rows(spark: SparkSession, task: GangTask, patience: float) -> pa.Table:
    """Run the gang as one barrier stage and return the rows of rank 0.

    Raises `TooFewSlots` when its tasks do not start within `patience` seconds, `GroupLost` when they lose each other,
    `TrainingError` naming rank, host and cause for everything else in a task.
    """
    with _watch(spark) as watch:
        job = SparkJob(spark, gang_rows(spark, task).toArrow)
        try:
            while True:
                try:
                    rows, error = job.ends.get(timeout=patience)
                except queue.Empty:
                    watch.check_started(job, task.ranks, patience)
                    continue
                if error is not None:
                    cause = _cause(error, task.ranks)
                    lost = isinstance(cause, SyncError) and not isinstance(cause, TooFewSlots)
                    raise (GroupLost(str(cause)) if lost else cause) from error
                return rows
        except BaseException:
            job.cancel()
            raise


class _Watch:
    """Hears Spark's reports of progress, each in the thread whose job it is about."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._heard: set[threading.Thread] = set()
        self._running: set[threading.Thread] = set()

    def hear(self, stages: Iterable[Any], inflight_tasks: int, operation_id: str, done: bool) -> None:
        if done:
            return
        thread = threading.current_thread()
        self._heard.add(thread)
        if inflight_tasks or any(stage.num_completed_tasks for stage in stages):
            self._running.add(thread)

    def check_started(self, job: SparkJob, ranks: int, patience: float) -> None:
        """Raise `SyncError` when no task of `job` runs, on a server that would have said so."""
        if job.thread in self._running or not self._server_reports() or job.thread in self._running:
            return
        raise TooFewSlots(
            f"All {ranks} training tasks must run at once. Received: none of {ranks} within {patience:g} s. Hint: the "
            "application has fewer slots, or other jobs hold them: wait for them, give it more cores, or train with "
            "fewer shards."
        )

    def _server_reports(self) -> bool:
        """Whether this server reports progress at all, which can be switched off: one small job shows it."""

        def pause(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            time.sleep(PROBE_SECONDS)
            yield from batches

        probe = SparkJob(self._spark, self._spark.range(0, 1, 1, 1).mapInArrow(pause, "id long").collect)
        try:
            probe.ends.get(timeout=2 * PROBE_SECONDS)
        except queue.Empty:
            pass  # no slot for it either; what is heard counts
        finally:
            probe.cancel()
        return probe.thread in self._heard


@contextmanager
def _watch(spark: Any) -> Iterator[_Watch]:
    watch = _Watch(spark)
    spark.registerProgressHandler(watch.hear)
    try:
        yield watch
    finally:
        spark.removeProgressHandler(watch.hear)


def _cause(error: BaseException, ranks: int) -> NNFramesError:
    """Return what a rank said, else what Spark says of the task, in our words."""
    text = str(error)
    said = _SAID.findall(text)
    if said:
        kind, sentence = said[-1]
        return (SyncError if kind == "SyncError" else TrainingError)(sentence.strip())
    if "SPARK-24819" in text:
        return TooFewSlots(
            f"All {ranks} training tasks must run at once. Received: fewer slots. Hint: give the application more "
            "cores, or train with fewer shards."
        )
    if "SPARK-24942" in text:
        return TrainingError(
            "Training on Spark Connect needs executors that stay. Received: dynamic allocation. Hint: set "
            "spark.dynamicAllocation.enabled to false on the server."
        )
    if "Python worker exited unexpectedly" in text or "ExecutorLostFailure" in text:
        found = _TASK.search(text)
        where = f"task {found[1]} of {ranks}" if found else "a task"
        return described(Event("lost", -1, "", {"where": where}), ranks)
    return translated(error, "The training job")
