"""Both sides of the suite `sync`: job mode, and Spark's own cost of an iteration of two stages."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from pyspark import SparkContext
from pyspark.sql import SparkSession

from nnframes import init_nncontext
from nnframes.distributed import FitSettings, ReplicaSource, SampleBlock, SamplePlan, column_values, fit_on_spark
from nnframes.io.replica_file import load_replica, replica_bytes
from nnframes.nn import Layer, Linear, MSECriterion, Sequential
from nnframes.optim import SGD
from nnframes.train import Listener, MaxIteration

TASKS, ITERATIONS, WARMING, ROWS = 2, 60, 10, 64


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


def _network(width: int) -> Layer:
    if not width:
        return Linear(1, 1)
    return Sequential().add(Linear(1, width)).add(Linear(width, width)).add(Linear(width, 1))


def prepare_jobs(width: int) -> Callable[[], float]:
    """Iterations per second of job mode, the first ones of a fit left out; `width` ** 2 weights, or one."""
    session = _session()
    data = session.createDataFrame(pa.table({"features": np.arange(ROWS) / ROWS, "label": np.zeros(ROWS)})).cache()
    plan = SamplePlan(("features", "label"), make_head)
    source = ReplicaSource(load_replica, replica_bytes(_network(width), MSECriterion(), SGD(0.01)))

    def measure() -> float:
        clock = _Clock()
        settings = FitSettings(ROWS, MaxIteration(WARMING + ITERATIONS), TASKS, sync_mode="job")
        fit_on_spark(data, plan, settings, source, listener=clock)
        return ITERATIONS / (clock.times[-1] - clock.times[-1 - ITERATIONS])

    return measure


def prepare_empty() -> Callable[[], float]:
    """Iterations per second of a job of two stages whose tasks do nothing."""
    context = _session().sparkContext

    def measure() -> float:
        for _ in range(WARMING):
            _empty(context)
        start = time.perf_counter()
        for _ in range(ITERATIONS):
            _empty(context)
        return ITERATIONS / (time.perf_counter() - start)

    return measure


def _empty(context: SparkContext) -> None:
    pairs = context.parallelize(range(TASKS), TASKS).map(lambda number: (number, number))
    pairs.partitionBy(TASKS).mapPartitions(list).count()


def _session() -> SparkSession:
    conf = {"spark.master": f"local[{TASKS}]", "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
    return init_nncontext(conf, app_name="nnframes bench")
