"""Our side of the Spark suite: the public stages on local[2]."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nnframes import NNClassifier, init_nncontext
from nnframes.models import LeNet5
from nnframes.nn import ClassNLLCriterion
from nnframes.optim import SGD
from tests.bench.images import chain, files

EPOCHS = 20


def prepare_fit(rows: int, batch: int, shards: int) -> Callable[[], float]:
    """Rows per second of the epochs after the first: the time of 21 epochs less that of one."""
    data = _data(_session(shards), rows)
    estimator = (
        NNClassifier(LeNet5(), ClassNLLCriterion())
        .setBatchSize(batch)
        .setOptimMethod(SGD(0.01, momentum=0.9, dampening=0.0))
        .setNumShards(shards)
        .setShowProgress(False)
    )

    def seconds(epochs: int) -> float:
        start = time.perf_counter()
        estimator.setMaxEpoch(epochs).fit(data)
        return time.perf_counter() - start

    return lambda: EPOCHS * rows / (seconds(1 + EPOCHS) - seconds(1))


def prepare_arrays(rows: int, batch: int, shards: int) -> Callable[[], float]:
    """Rows per second of scoring a cached column array<float>, results thrown away."""
    return _scoring(_data(_session(shards), 4 * rows), None, batch)


def prepare_images(rows: int, batch: int, shards: int) -> Callable[[], float]:
    """Rows per second of scoring a cached column of PNG files, results thrown away."""
    table = pa.table({"features": files(4 * rows), "label": np.arange(4.0 * rows) % 10})
    return _scoring(_cached(_session(shards), table), chain(), batch)


def _scoring(data: DataFrame, preprocessing: Any, batch: int) -> Callable[[], float]:
    rows = data.count()
    estimator = NNClassifier(LeNet5(), ClassNLLCriterion(), preprocessing).setMaxEpoch(1).setShowProgress(False)
    return _writing(estimator.fit(data.limit(512)).setBatchSize(batch).transform(data), rows)


def prepare_nothing(rows: int, shards: int) -> Callable[[], float]:
    """Rows per second of the same column through an Arrow function that ignores it."""
    data = _data(_session(shards), 4 * rows)

    def nothing(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            yield pa.array(np.zeros(len(batch)))

    nothing.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    function = F.arrow_udf(nothing, "double").asNondeterministic()
    return _writing(data.withColumn("prediction", function("features")), 4 * rows)


def _writing(scored: DataFrame, rows: int) -> Callable[[], float]:
    def measure() -> float:
        start = time.perf_counter()
        scored.write.format("noop").mode("overwrite").save()
        return rows / (time.perf_counter() - start)

    measure()
    return measure


def _session(slots: int) -> SparkSession:
    conf = {"spark.master": f"local[{slots}]", "spark.ui.enabled": "false", "spark.driver.memory": "4g"}
    return init_nncontext(conf, app_name="nnframes bench")


def _data(spark: SparkSession, rows: int) -> DataFrame:
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((rows, 784), np.float32)
    table = pa.table(
        {
            "features": pa.ListArray.from_arrays(np.arange(0, rows * 784 + 1, 784, np.int32), pixels.reshape(-1)),
            "label": rng.integers(0, 10, rows).astype(np.float64),
        }
    )
    return _cached(spark, table)


def _cached(spark: SparkSession, table: pa.Table) -> DataFrame:
    data = spark.createDataFrame(table).repartition(2 * spark.sparkContext.defaultParallelism).cache()
    data.count()
    return data
