"""Our side of the suite `sync`, and Spark's own cost of an iteration of two stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession

from nnframes import NNClassifier, init_nncontext
from nnframes.distributed import FitSettings, ReplicaSource, SampleBlock, SamplePlan, column_values, fit_on_spark
from nnframes.io.replica_file import load_replica, replica_bytes
from nnframes.nn import ClassNLLCriterion, Layer, Linear, MSECriterion, Sequential
from nnframes.optim import SGD
from nnframes.train import Listener, MaxIteration
from tests.bench.pictures import network, table

TASKS, ITERATIONS, WARMING, ROWS = 2, 30, 10, 64
GROUP_ITERATIONS, GROUP_BATCH, GROUP_EPOCH = 4_000, 32, 1_000


class _Clock(Listener):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_iteration(self, state: object) -> None:
        self.times.append(time.perf_counter())


def make_head(settings: str) -> Callable[[pa.RecordBatch], SampleBlock]:
    """One number in, one out."""

    def head(batch: pa.RecordBatch) -> SampleBlock:
        return SampleBlock((column_values(batch.column(0))[:, None],), column_values(batch.column(1))[:, None])

    return head


def make_class_head(settings: str) -> Callable[[pa.RecordBatch], SampleBlock]:
    """Many numbers in, a class out."""

    def head(batch: pa.RecordBatch) -> SampleBlock:
        return SampleBlock((column_values(batch.column(0)),), column_values(batch.column(1)).astype(np.int32))

    return head


NUMBERS = SamplePlan(("features", "label"), make_head)
CLASSES = SamplePlan(("features", "label"), make_class_head)


def _network(width: int) -> Layer:
    if not width:
        return Linear(1, 1)
    return Sequential().add(Linear(1, width)).add(Linear(width, width)).add(Linear(width, 1))


def prepare_jobs(width: int) -> Callable[[], float]:
    """Iterations per second of job mode, the first ones of a fit left out; `width` ** 2 weights, or one."""
    data = _numbers(session(TASKS), ROWS)
    source = ReplicaSource(load_replica, replica_bytes(_network(width), MSECriterion(), SGD(0.01)))
    settings = FitSettings(ROWS, MaxIteration(WARMING + ITERATIONS), TASKS, sync_mode="job")
    return lambda: 1 / _iteration_seconds(data, NUMBERS, settings, source, ITERATIONS)


def prepare_empty() -> Callable[[], float]:
    """Iterations per second of a job of two stages whose tasks do nothing."""
    context = session(TASKS).sparkContext

    def measure() -> float:
        for _ in range(WARMING):
            _empty(context)
        start = time.perf_counter()
        for _ in range(ITERATIONS):
            _empty(context)
        return ITERATIONS / (time.perf_counter() - start)

    return measure


def prepare_group() -> Callable[[], float]:
    """One over the milliseconds that an iteration of two tasks takes beyond that of one task with half the rows."""
    spark = session(TASKS)
    source = ReplicaSource(load_replica, replica_bytes(_network(0), MSECriterion(), SGD(0.01)))
    frames = {tasks: _numbers(spark, tasks * GROUP_BATCH * GROUP_EPOCH) for tasks in (1, TASKS)}

    def milliseconds(tasks: int) -> float:
        end = MaxIteration(GROUP_EPOCH + GROUP_ITERATIONS)
        settings = FitSettings(tasks * GROUP_BATCH, end, tasks, sync_mode="group")
        return 1000 * _iteration_seconds(frames[tasks], NUMBERS, settings, source, GROUP_ITERATIONS)

    return lambda: 1 / max(0.001, milliseconds(TASKS) - milliseconds(1))


def prepare_rate(name: str, shards: int, rows: int, batch: int, epochs: int) -> Callable[[], float]:
    """Rows per second of the epochs after the first, with as many tasks as shards."""
    data = session(shards).createDataFrame(table(name, rows)).cache()
    source = ReplicaSource(
        load_replica, replica_bytes(network(name), ClassNLLCriterion(), SGD(0.01, momentum=0.9, dampening=0.0))
    )
    iterations = epochs * (rows // batch)
    settings = FitSettings(batch, MaxIteration(rows // batch + iterations), shards, sync_mode="group")
    return lambda: batch / _iteration_seconds(data, CLASSES, settings, source, iterations)


def prepare_fit(name: str, shards: int, rows: int, batch: int, epochs: int) -> Callable[[], float]:
    """Rows per second from the call of `fit` to its result."""
    data = session(shards).createDataFrame(table(name, rows)).cache()
    data.count()
    estimator: Any = NNClassifier(network(name), ClassNLLCriterion())
    estimator.setBatchSize(batch).setMaxEpoch(epochs).setNumShards(shards).setShowProgress(False)
    estimator.setOptimMethod(SGD(0.01, momentum=0.9, dampening=0.0))

    def measure() -> float:
        start = time.perf_counter()
        estimator.fit(data)
        return epochs * rows / (time.perf_counter() - start)

    return measure


def _iteration_seconds(
    data: DataFrame, plan: SamplePlan, settings: FitSettings, source: ReplicaSource, last: int
) -> float:
    """Fit, and return the mean of its last iterations; they must start after an epoch, where the driver is told."""
    clock = _Clock()
    fit_on_spark(data, plan, settings, source, listener=clock)
    return (clock.times[-1] - clock.times[-1 - last]) / last


def _empty(context: SparkContext) -> None:
    pairs = context.parallelize(range(TASKS), TASKS).map(lambda number: (number, number))
    pairs.partitionBy(TASKS).mapPartitions(list).count()


def _numbers(spark: SparkSession, rows: int) -> DataFrame:
    return spark.createDataFrame(pa.table({"features": np.arange(rows) / rows, "label": np.zeros(rows)})).cache()


def session(slots: int, master: str = "local[{}]") -> SparkSession:
    """Start Spark with so many slots on this machine."""
    conf = {
        "spark.master": master.format(slots),
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "2g",
    }
    return init_nncontext(conf, app_name="nnframes bench")
