"""Small data for all tests of the stages: four numbers and three classes that a small network learns at once."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors

from nnframes import NNClassifier
from nnframes.nn import ClassNLLCriterion, Linear, LogSoftMax, ReLU, Sequential
from nnframes.optim import Adam

ROWS = 240


@pytest.fixture(scope="session")
def numbers():
    """Features (n, 4) float64 and labels 0, 1, 2 (n,)."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(ROWS, 4))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


@pytest.fixture(scope="session")
def points(spark, numbers):
    """The same as a DataFrame, with the features in every form that works."""
    rows = [
        (
            number,
            Vectors.dense(row),
            Vectors.sparse(4, [(i, float(v)) for i, v in enumerate(row)]) if number % 3 else Vectors.dense(row),
            row.tolist(),
            [row[:2].tolist(), row[2:].tolist()],
            float(label),
            int(label),
            "abc"[label],
        )
        for number, (row, label) in enumerate(zip(*numbers, strict=True))
    ]
    names = "id long, features vector, mixed vector, array array<double>, nested array<array<double>>"
    schema = names.replace("vector", "string") + ", label double, whole int, name string"
    frame = spark.createDataFrame(rows, _schema(schema)).repartition(3, "id").cache()
    assert frame.count() == ROWS
    return frame


def _schema(text):
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql.types import StructField, StructType

    schema = StructType.fromDDL(text)
    vectors = {"features", "mixed"}
    return StructType([StructField(f.name, VectorUDT()) if f.name in vectors else f for f in schema])


def small_network(classes=3):
    return Sequential().add(Linear(4, 16)).add(ReLU()).add(Linear(16, classes)).add(LogSoftMax())


@pytest.fixture
def classifier():
    """A classifier that learns `points` in about a second."""
    return (
        NNClassifier(small_network(), ClassNLLCriterion())
        .setOptimMethod(Adam(0.03))
        .setBatchSize(48)
        .setMaxEpoch(8)
        .setNumShards(2)
        .setShowProgress(False)
    )


@pytest.fixture(scope="session")
def fitted(points):
    """A model that was fitted once, for the tests that only score."""
    estimator = NNClassifier(small_network(), ClassNLLCriterion()).setOptimMethod(Adam(0.03))
    return estimator.setBatchSize(48).setMaxEpoch(12).setNumShards(2).setShowProgress(False).fit(points)
