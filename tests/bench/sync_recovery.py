"""What it costs that a Python worker is killed while it trains, beyond Spark's own restart of a task."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark
from nnframes.train import MaxIteration
from tests.bench.sync_ours import session
from tests.nnframes.distributed import softmax

ITERATIONS, ROWS, BATCH, NUMBERS, TASKS = 1_000, 640, 32, 100_000, 2


def prepare() -> Callable[[], float]:
    """One over the seconds that a kill costs beyond a restart."""
    spark = session(TASKS, "local[{},4]")
    data = spark.createDataFrame(softmax.rows_of(ROWS), "features array<float>, label double").cache()

    def seconds(run: Callable[[str | None], object], kills: bool) -> float:
        with tempfile.TemporaryDirectory(prefix="nnframes-bench-") as folder:
            start = time.perf_counter()
            run(f"{folder}/killed" if kills else None)
            taken = time.perf_counter() - start
            if kills and not Path(folder, "killed").exists():
                raise RuntimeError("A worker must have been killed. Received: none.")
            return taken

    def fit(once: str | None) -> None:
        fault = {"kind": "die", "shard": 1, "iteration": ITERATIONS // 2, "once": once} if once else None
        payload = json.dumps({"extra": NUMBERS, "fault": fault}).encode()
        settings = FitSettings(BATCH, MaxIteration(ITERATIONS), TASKS, sync_mode="group")
        fit_on_spark(data, softmax.plan_of(), settings, ReplicaSource(softmax.load, payload))

    def measure() -> float:
        fault, restart = (
            seconds(run, True) - seconds(run, False) for run in (fit, lambda once: _plain_job(spark, once))
        )
        return 1 / max(0.01, fault - restart)

    return measure


def _plain_job(spark: SparkSession, once: str | None) -> None:
    """Run a job of two tasks; with a file to mark it, one of them kills its worker the first time."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if once and 0 in batch.column(0).to_pylist() and not Path(once).exists():
                Path(once).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    spark.range(0, TASKS, 1, TASKS).mapInArrow(run, "id long").collect()
