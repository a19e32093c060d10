"""Scoring what Spark reads as column batches: files, cached frames and streams, with vectors in every place."""

from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from nnframes import NNClassifierModel, as_udf, register
from nnframes.nn import Linear
from nnframes.spark.functions import COLUMNAR_INPUT

ROWS = 240
PASSED = "a vector passed through"
CASES = ["vector features", "probability", PASSED]


@pytest.fixture(autouse=True)
def as_spark_is(spark):
    """Each test starts with Spark's own default: registering a function changes it for the session."""
    spark.conf.unset(COLUMNAR_INPUT)
    yield
    spark.conf.unset(COLUMNAR_INPUT)


@pytest.fixture(scope="module")
def files(points, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("columns") / "points.parquet")
    points.select("id", "features", "array").write.parquet(path)
    return path


def scored(model, case, frame):
    """(model, frame) of one case: where the vector is."""
    if case == "vector features":
        return model.setFeaturesCol("features"), frame
    if case == "probability":
        return model.setFeaturesCol("array").setProbabilityCol("q"), frame.drop("features")
    return model.setFeaturesCol("array"), frame


@pytest.fixture(scope="module")
def wanted(fitted, points):
    return {row.id: row.prediction for row in fitted.transform(points).collect()}


def followed(spark, path):
    return spark.readStream.schema(spark.read.parquet(path).schema).parquet(path)


def drained(spark, frame, name):
    query = frame.writeStream.format("memory").queryName(name).trigger(availableNow=True).start()
    try:
        assert query.awaitTermination(120)
    finally:
        query.stop()
    return spark.table(name).collect()


@pytest.mark.parametrize("case", CASES)
def test_transform(case, spark, files, fitted, wanted):
    model, frame = scored(fitted.copy(), case, spark.read.parquet(files))
    assert {row.id: row.prediction for row in model.transform(frame).collect()} == wanted


@pytest.mark.parametrize("case", CASES)
def test_a_stream(case, spark, files, fitted, wanted):
    model, frame = scored(fitted.copy(), case, followed(spark, files))
    rows = drained(spark, model.transform(frame), f"columnar_{CASES.index(case)}")
    assert {row.id: row.prediction for row in rows} == wanted


@pytest.mark.parametrize("features", ["features", "array"])
def test_sql_functions(features, spark, files, fitted, wanted):
    register(spark, "columnar_class", fitted)
    spark.read.parquet(files).createOrReplaceTempView("columnar_rows")
    rows = spark.sql(f"SELECT *, columnar_class({features}) AS prediction FROM columnar_rows").collect()
    assert {row.id: row.prediction for row in rows} == wanted


@pytest.mark.parametrize("features", ["features", "array"])
def test_sql_functions_on_a_stream(features, spark, files, fitted, wanted):
    scored = followed(spark, files).select("*", as_udf(fitted, spark)(features).alias("prediction"))
    rows = drained(spark, scored, f"columnar_{features}")
    assert {row.id: row.prediction for row in rows} == wanted


def test_a_cached_frame_of_numbers(spark, points):
    """Spark keeps such a frame as column batches; the outputs are vectors."""
    numbers = points.select("id", "label").cache()
    try:
        assert numbers.count() == ROWS
        model = NNClassifierModel(Linear(1, 3)).setFeaturesCol("label").setProbabilityCol("q")
        rows = model.setRawPredictionCol("r").transform(numbers).collect()
        assert len(rows) == ROWS
        assert {len(row.q) for row in rows} == {3}
    finally:
        numbers.unpersist()


def test_filters_and_counts_behind_it(spark, files, fitted, wanted):
    frame = spark.read.parquet(files)
    appended = fitted.copy().setProbabilityCol("q").transform(frame)
    assert appended.where("prediction = 1").count() == sum(value == 1 for value in wanted.values())
    assert appended.select("q").where(F.col("q").isNotNull()).count() == ROWS
