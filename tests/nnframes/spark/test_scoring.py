from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import functions as F

import nnframes.spark.functions
import nnframes.spark.model
from nnframes import NNClassifierModel, NNModel, as_udf, register
from nnframes.errors import ArgumentError
from nnframes.nn import ConcatTable, JoinTable, Linear, Reshape, Sequential, SoftMax, Transpose
from nnframes.spark.scoring import rechunked


def by_id(frame, column="prediction"):
    return {row.id: row[column] for row in frame.select("id", column).collect()}


@pytest.fixture(scope="module")
def wanted(fitted, points, numbers):
    """What the network says locally, by id."""
    scores = fitted.model.evaluate().forward(np.float32(numbers[0]))
    return dict(enumerate(scores.argmax(axis=1).astype(float)))


# ---------------------------------------------------------------- chunks


@pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
@pytest.mark.parametrize("lengths", [[], [0], [5], [4, 4], [1, 0, 9, 2], [7, 7, 1], [100, 1]])
def test_chunks_keep_order_and_size(lengths, size):
    total = sum(lengths)
    ends = np.cumsum(lengths)
    batches = [pa.array(range(end - n, end), pa.int64()) for n, end in zip(lengths, ends, strict=True)]
    found = list(rechunked(batches, size))
    assert [value for chunk, _ in found for value in chunk.to_pylist()] == list(range(total))
    assert all(len(chunk) == size for chunk, _ in found[:-1])
    assert not found or 1 <= len(found[-1][0]) <= size
    assert not found or found[-1][1]


# ---------------------------------------------------------------- transform


@pytest.mark.parametrize("column", ["features", "mixed", "array"])
@pytest.mark.parametrize("batch", [1, 7, 256])
def test_columns_and_batch_sizes_change_nothing(column, batch, fitted, points, wanted):
    model = fitted.copy().setFeaturesCol(column).setBatchSize(batch)
    assert by_id(model.transform(points)) == wanted


def test_batches_go_across_arrow_batches(fitted, points, wanted, spark):
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 5)
    try:
        assert by_id(fitted.copy().setBatchSize(32).transform(points)) == wanted
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def test_nested_arrays_keep_their_shape(spark, points, numbers):
    """(2, 2) per row, without any preprocessing."""
    network = Sequential().add(Transpose([(1, 2)])).add(Reshape([4])).add(Linear(4, 2))
    scored = by_id(NNModel(network).setFeaturesCol("nested").transform(points))
    expected = network.evaluate().forward(np.float32(numbers[0]).reshape(-1, 2, 2))
    np.testing.assert_allclose([scored[i] for i in range(len(scored))], expected, rtol=1e-5, atol=1e-6)


def test_several_branches_in_one_output(points, numbers):
    network = Sequential().add(ConcatTable().add(Linear(4, 2)).add(Linear(4, 3))).add(JoinTable(1))
    scored = by_id(NNModel(network, [4]).transform(points))
    np.testing.assert_allclose(
        [scored[i] for i in range(240)], network.evaluate().forward(np.float32(numbers[0])), rtol=1e-5, atol=1e-6
    )


def test_other_columns_stay_and_doubles_do_not_disturb(fitted, points):
    doubled = points.select("*", F.col("id").alias("x.y"), F.col("name").alias("dup"), F.col("name").alias("dup"))
    scored = fitted.transform(doubled)
    assert scored.columns == [*doubled.columns, "prediction"]
    assert fitted.copy().setFeaturesCol("a b.c").transform(points.withColumn("a b.c", F.col("array"))).count() == 240


def test_names_with_dots_and_spaces(fitted, points):
    data = points.select("id", F.col("array").alias("a.b"))
    model = fitted.copy().setFeaturesCol("a.b").setPredictionCol("p.q").setProbabilityCol("p r")
    scored = model.setHandleInvalid("skip").transform(data)
    assert scored.columns == ["id", "a.b", "p.q", "p r"]
    assert scored.count() == 240


def test_an_empty_frame_and_empty_partitions(fitted, points):
    assert fitted.transform(points.where("id < 0")).count() == 0
    assert fitted.transform(points.where("id < 2").repartition(6)).count() == 2


def test_only_the_features_are_shipped_and_once(fitted, points):
    """Three outputs come of one evaluation, also under a filter on one of them."""
    model = fitted.copy().setProbabilityCol("q").setRawPredictionCol("r")
    frame = model.transform(points).where("prediction = 1").select("id", "prediction", "q", "r")
    plan = frame._jdf.queryExecution().executedPlan().toString()
    assert plan.count("ArrowEvalPython") == 1
    assert "score(features#" in plan


def test_probabilities_of_softmax_networks_are_their_outputs(points):
    network = Sequential().add(Linear(4, 3)).add(SoftMax())
    model = NNClassifierModel(network).setProbabilityCol("q").setRawPredictionCol("r")
    row = model.transform(points).first()
    assert row.q == row.r
    assert sum(row.q) == pytest.approx(1.0, abs=1e-6)


def test_the_threshold_moves_two_classes(points, numbers):
    network = Sequential().add(Linear(4, 2))
    model = NNClassifierModel(network).setProbabilityCol("q")
    for threshold in (0.2, 0.8):
        rows = model.setThreshold(threshold).transform(points).collect()
        assert {(row.q[1] > threshold) == (row.prediction == 1.0) for row in rows} == {True}


def test_a_model_is_shipped_once(fitted, points, spark):
    files = len(spark.sparkContext.listFiles)
    for _ in range(2):
        fitted.transform(points).limit(1).collect()
        NNClassifierModel(fitted.model).transform(points).limit(1).collect()
    assert len(spark.sparkContext.listFiles) <= files + 1


def test_changed_weights_are_used(points):
    network = Linear(4, 2)
    model = NNModel(network)
    before = by_id(model.transform(points))
    network.set_weights([array * 2 for array in network.get_weights()])
    after = by_id(model.transform(points))
    np.testing.assert_allclose(after[3], 2 * np.array(before[3]), rtol=1e-5)


# ---------------------------------------------------------------- SQL and streams


def test_sql(fitted, points, wanted, spark):
    register(spark, "kind", fitted)
    points.createOrReplaceTempView("points")
    rows = spark.sql(
        "SELECT id, kind(features) AS kind, kind(array) AS other FROM points WHERE kind(features) >= 0"
    ).collect()
    assert {row.id: row.kind for row in rows} == wanted == {row.id: row.other for row in rows}
    register(spark, "scores", NNModel(fitted.model))
    assert spark.sql("SELECT scores(features) AS s FROM points").schema["s"].dataType.simpleString() == "array<float>"


def test_a_function_gives_null_where_the_model_keeps_or_skips(fitted, points):
    data = points.withColumn("array", F.when(F.col("id") > 2, F.col("array")))
    for policy in ("keep", "skip"):
        rows = data.select("id", as_udf(fitted.copy().setHandleInvalid(policy))("array").alias("p")).collect()
        assert sorted(row.id for row in rows if row.p is None) == [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("kind(name)", r"or Spark's image struct. Received: string."),
        ("kind(current_date())", r"or Spark's image struct. Received: date32"),
        ("kind(features, label)", r"The function takes one argument, the features. Received: 2."),
        ("kind(array('a'))", r"without a preprocessing, features must be numbers. Received: list."),
    ],
)
def test_what_a_query_may_not_give(call, message, fitted, points, spark):
    """Also where rows that cannot be used give null: this is the query's mistake."""
    register(spark, "kind", fitted.copy().setHandleInvalid("error"))
    with pytest.raises(Exception, match=message):
        points.selectExpr(call).collect()


def test_sql_numbers_are_taken(fitted, points, spark):
    register(spark, "kind", fitted)
    rows = points.limit(1).selectExpr("kind(array(1.5, 2, 3, 4)) AS a", "kind(array(1.5D, 2D, 3D, 4D)) AS b").collect()
    assert rows[0].a == rows[0].b


def test_functions_are_made_of_models(fitted, spark):
    with pytest.raises(ArgumentError, match=r"must be an NNModel or NNClassifierModel. Received: PipelineModel. Hint"):
        as_udf(PipelineModel([fitted]))
    with pytest.raises(ArgumentError, match=r"Received: Linear."):
        register(spark, "f", Linear(4, 3))
    with pytest.raises(ArgumentError, match=r"spark must be a SparkSession. Received: str. Hint: register"):
        register("f", spark, fitted)
    for name in ("a b", "", "1a", "a.b", None):
        with pytest.raises(ArgumentError, match=r"name must be a name of letters, digits and _. Received: "):
            register(spark, name, fitted)


def test_streams(fitted, points, wanted, spark, tmp_path):
    """A stream of files through transform and through the SQL function."""
    source = tmp_path / "source"
    points.select("id", "array").write.json(str(source))
    register(spark, "kind", fitted)
    stream = spark.readStream.schema("id long, array array<double>").json(str(source))
    scored = fitted.copy().setFeaturesCol("array").setHandleInvalid("skip").transform(stream)
    scored = scored.withColumn("other", F.expr("kind(array)"))
    query = (
        scored.writeStream.format("memory")
        .queryName("scored_stream")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    assert query.awaitTermination(120)
    assert by_id(spark.table("scored_stream")) == wanted == by_id(spark.table("scored_stream"), "other")


# ---------------------------------------------------------------- the pandas way (Spark 4.0)


@pytest.fixture
def without_arrow_functions(monkeypatch):
    for module in (nnframes.spark.functions, nnframes.spark.model):
        monkeypatch.setattr(module, "has_arrow_functions", lambda: False)


@pytest.mark.parametrize("column", ["features", "mixed", "array"])
def test_pandas_functions_do_the_same(column, without_arrow_functions, fitted, points, wanted):
    data = points.withColumn(column, F.when(F.col("id") > 0, F.col(column)))
    model = fitted.copy().setFeaturesCol(column).setProbabilityCol("q").setHandleInvalid("keep")
    scored = model.transform(data)
    assert scored.schema["q"].dataType.simpleString() == "vector"
    rows = scored.collect()
    assert {row.id: row.prediction for row in rows} == {**wanted, 0: None}
    assert all(row.q is None if row.id == 0 else row.prediction == np.argmax(row.q) for row in rows)
    assert by_id(model.setHandleInvalid("skip").transform(data)) == {i: p for i, p in wanted.items() if i}


def test_pandas_functions_in_sql(without_arrow_functions, fitted, points, wanted, spark):
    register(spark, "kind", fitted)
    points.createOrReplaceTempView("points")
    assert by_id(spark.sql("SELECT id, kind(array) AS prediction FROM points")) == wanted
    vectors = NNModel(fitted.model).transform(points)
    assert vectors.schema["prediction"].dataType.simpleString() == "array<float>"
    assert len(vectors.first().prediction) == 3
