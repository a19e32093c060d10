"""The training job of group mode: tasks that exchange gradients directly, over an input that is never run twice.

One Spark job over `spark.range(N)`: its input is never the data and never a shuffle, so that Spark does not run live
ranks a second time when an executor is lost. Job mode, one stateless job per iteration, is another caller of the same
replica, store and tree.

Ranks learn of each other from the driver, or, where it cannot be called (Spark Connect), from a barrier.

A task gives Spark no row before it ends: `spark.python.worker.killOnIdleTimeout` must not be shorter than a training.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from nnframes.distributed.barrier import BarrierLink
from nnframes.distributed.link import DriverLink, Link
from nnframes.distributed.rank import GangTask, Rank
from nnframes.distributed.recovery import HostState
from nnframes.distributed.result import SCHEMA_TEXT

__all__ = ["gang_rows"]


def gang_rows(spark: SparkSession, task: GangTask) -> DataFrame:
    """Return the DataFrame whose evaluation trains; it holds the final weights in binary chunks."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return run_task(task, batches)

    return spark.range(0, task.ranks, 1, task.ranks).mapInArrow(run, SCHEMA_TEXT, barrier=task.address is None)


def run_task(task: GangTask, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Train as one rank of the gang; yields rows on rank 0 only."""
    partitions = [row for batch in batches for row in batch.column(0).to_pylist()]
    for partition in partitions:
        # Before the driver is called, which waits for the first word only a moment.
        kept = HostState(task.fit, task.folder, task.keep_seconds)
        found = kept.newest()
        link = _link(task)
        try:
            # Done once Spark has taken the rows: a process lost before that is one that the driver must hear of.
            yield from Rank(task, partition, link, kept, found).train()
            link.done()
        except GeneratorExit:  # Spark takes no more rows: the end of the connection says so, and others may go on
            raise
        except BaseException as error:
            link.failed(error, traceback.format_exc(limit=-8))
            raise
        finally:
            link.close()


def _link(task: GangTask) -> Link:
    if task.address is None:
        return BarrierLink(task.ranks, task.pieces)
    return DriverLink(task.address, task.secret)
