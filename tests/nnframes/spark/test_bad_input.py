"""Input that cannot work is refused in words, on the driver, before training; the estimator stays usable."""

from __future__ import annotations

import numpy as np
import pyspark
import pytest
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F

from featurelib.errors import FeatureError
from featurelib.image import ImageBytesToMat, ImageMatToTensor, RowToImageFeature
from nnframes import NNClassifier, NNClassifierModel, NNEstimator, NNModel
from nnframes.errors import ArgumentError, ColumnError, DataError, ShapeError
from nnframes.nn import ClassNLLCriterion, ConcatTable, Linear, MSECriterion, Reshape, Sequential
from nnframes.optim import SGD
from nnframes.train import MaxEpoch, MaxScore, MinLoss, TriggerOr
from tests.conformance.stages_table import network


def nan():
    return F.array(F.lit(float("nan")), *[F.lit(0.0)] * 3)


# Known from schema and params alone: {case: (change of the data, change of the estimator, error, message)}.
BEFORE = {
    "features missing": (
        lambda d: d.drop("features"),
        None,
        ColumnError,
        r"Column 'features' \(featuresCol\) must exist",
    ),
    "label missing": (lambda d: d.drop("label"), None, ColumnError, r"'label' \(labelCol\) must exist. Received the"),
    "features twice": (lambda d: d.select("*", "features"), None, ColumnError, "must be unique. Received: 2"),
    "features are text": (
        lambda d: d.withColumn("features", F.lit("x")),
        None,
        ColumnError,
        "Column 'features' of texts must have a feature_preprocessing .* Received: none",
    ),
    "features are a map": (
        lambda d: d.withColumn("features", F.create_map(F.lit("a"), F.lit(1.0))),
        None,
        ColumnError,
        r"Received: map<string,double>",
    ),
    "features are arrays of text": (
        lambda d: d.withColumn("features", F.array(F.lit("a"))),
        None,
        ColumnError,
        "Column 'features' of words must have a feature_preprocessing .* Received: none",
    ),
    "images without a chain": (
        lambda d: d.withColumn("features", F.lit(b"x")),
        None,
        ColumnError,
        r"must have a feature_preprocessing .* from ImageBytesToMat\(\) to ImageMatToTensor\(\)",
    ),
    "images into numbers": (
        lambda d: d.withColumn("features", F.lit(b"x")),
        lambda e: NNClassifier(e.model, e.criterion, [4]),
        ColumnError,
        r"must have a feature_preprocessing that makes tensors of them. Received: SeqToTensor. Hint",
    ),
    "files' bytes expected": (
        lambda d: d,
        lambda e: NNClassifier(e.model, e.criterion, ImageBytesToMat() >> ImageMatToTensor()),
        ColumnError,
        r"Column 'features' must be binary \(encoded images\) to be opened by ImageBytesToMat. Received: vector.",
    ),
    "image structs expected": (
        lambda d: d.withColumn("features", F.lit(b"x")),
        lambda e: NNClassifier(e.model, e.criterion, RowToImageFeature() >> ImageMatToTensor()),
        ColumnError,
        r"must be Spark's image struct to be opened by RowToImageFeature. Received: binary. Hint: ImageBytesToMat",
    ),
    "labels are text": (
        lambda d: d.withColumn("label", F.col("label").cast("string")),
        None,
        ColumnError,
        r"Received: string. Hint: StringIndexer\(inputCol='label', outputCol='label_number'\) .* setLabelCol\('label_n",
    ),
    "labels are vectors": (
        lambda d: d.withColumn("label", F.col("features")),
        None,
        ColumnError,
        r"'label' must be a number \(a class, counted from 0\). Received: vector",
    ),
    "one column for both": (lambda d: d, lambda e: e.setLabelCol("features"), ColumnError, "must be different columns"),
    "a name with a dot": (
        lambda d: d.withColumnRenamed("features", "a.b"),
        lambda e: e.setFeaturesCol("a.b"),
        ColumnError,
        "must have names without dots and backticks. Received: 'a.b'. Hint: df.withColumnRenamed",
    ),
    "prediction exists": (
        lambda d: d.withColumn("prediction", F.lit(1)),
        None,
        ColumnError,
        "predictionCol 'prediction' must not exist yet. Hint: drop the column",
    ),
    "prediction exists in another case": (
        lambda d: d.withColumn("PREDICTION", F.lit(1)),
        None,
        ColumnError,
        "predictionCol 'prediction' must not exist yet",
    ),
    "two outputs of one name": (
        lambda d: d,
        lambda e: e.setProbabilityCol("prediction"),
        ColumnError,
        "probabilityCol and predictionCol must be different columns. Received: 'prediction' for both",
    ),
    "size that the network does not take": (
        lambda d: d,
        lambda e: NNClassifier(e.model, e.criterion, [5]),
        ShapeError,
        r"Linear 'linear_1' expects \(batch, 4\), received \(32, 5\)",
    ),
    "sizes of several inputs": (
        lambda d: d,
        lambda e: NNClassifier(e.model, e.criterion, [[1], [3]]),
        ShapeError,
        "expects a tensor",
    ),
    "criterion that does not take the output": (
        lambda d: d,
        lambda e: NNClassifier(Sequential().add(Linear(4, 3)).add(Reshape([3, 1])), ClassNLLCriterion(), [4]),
        ShapeError,
        r"ClassNLLCriterion expects an output \(batch, classes\), received \(32, 3, 1\)",
    ),
    "labels of another length": (
        lambda d: d,
        lambda e: NNClassifier(Linear(4, 3), MSECriterion(), [4]),
        ShapeError,
        r"Column 'label' must hold 3 numbers a row, as MSECriterion compares .* output \(32, 3\). Received: 1. "
        "Hint: class numbers take a criterion such as ClassNLLCriterion",
    ),
    "label_preprocessing of another length": (
        lambda d: d,
        lambda e: NNEstimator(Linear(4, 3), MSECriterion(), [4], [2]).setLabelCol("array"),
        ShapeError,
        r"Column 'array' must hold 3 numbers a row, .* Received: 2.$",
    ),
    "one output for a class criterion": (
        lambda d: d,
        lambda e: NNClassifier(Linear(4, 1), ClassNLLCriterion(), [4]),
        ShapeError,
        r"ClassNLLCriterion expects an output for each class, received \(32, 1\). Hint: .* BCECriterion",
    ),
    "network with several outputs": (
        lambda d: d,
        lambda e: NNEstimator(ConcatTable().add(Linear(4, 1)).add(Linear(4, 1)), MSECriterion(), [4]),
        ShapeError,
        "must have one output to be used in a stage. Received: 2",
    ),
    "two ends": (lambda d: d, lambda e: e.setEndWhen(MinLoss(0.1)), ArgumentError, "Received: both"),
    "weights of other classes": (
        lambda d: d,
        lambda e: NNClassifier(network(), ClassNLLCriterion(weights=np.ones(9, np.float32)), [4]),
        ShapeError,
        r"ClassNLLCriterion expects class weights of shape \(\d+,\), received \(9,\)",
    ),
    "rates for another network": (
        lambda d: d,
        lambda e: e.setOptimMethod(SGD(learningrates=[0.1] * 9)),
        ShapeError,
        r"SGD learningrates must hold one number for each of the network's \d+ dense weights, received 9",
    ),
    "a score that nobody gives": (
        lambda d: d,
        lambda e: NNClassifier(network(), ClassNLLCriterion()).setEndWhen(TriggerOr(MaxScore(0.9), MaxEpoch(5))),
        ArgumentError,
        r"endWhen must have a validation for MaxScore. Received: none. Hint: setValidation\(...\)",
    ),
}


@pytest.fixture
def estimator():
    return NNClassifier(network(), ClassNLLCriterion()).setMaxEpoch(1).setNumShards(2).setShowProgress(False)


def count_jobs(spark):
    return len(spark.sparkContext.statusTracker().getJobIdsForGroup())


@pytest.mark.parametrize("case", BEFORE)
def test_before_any_job(case, estimator, points, spark):
    change, configure, error, message = BEFORE[case]
    data = change(points)
    stage = configure(estimator) if configure else estimator
    jobs = count_jobs(spark)
    with pytest.raises(error, match=message):
        stage.fit(data)
    assert count_jobs(spark) == jobs


def test_the_size_of_an_assembled_vector_is_known_before_any_job(estimator, points, spark):
    from pyspark.ml.feature import VectorAssembler

    wide = VectorAssembler(inputCols=["features", "label"], outputCol="wide").transform(points)
    jobs = count_jobs(spark)
    with pytest.raises(ShapeError, match=r"Linear 'linear_1' expects \(batch, 4\), received \(32, 5\)"):
        estimator.setFeaturesCol("wide").fit(wide)
    with pytest.raises(FeatureError, match=r"SeqToTensor\(size=\[4\]\) expects 4 numbers, the column has 5"):
        NNClassifier(estimator.model, estimator.criterion, [4]).setFeaturesCol("wide").fit(wide)
    assert count_jobs(spark) == jobs


@pytest.mark.parametrize("given", [[1, 2], "x", None])
def test_only_dataframes_of_spark_are_taken(given, estimator, fitted):
    with pytest.raises(ArgumentError, match=r"fit must be given a Spark DataFrame. Received: \w+. Hint: spark.create"):
        estimator.fit(given)
    with pytest.raises(ArgumentError, match="transform must be given a Spark DataFrame"):
        fitted.transform(given)


def test_streams_are_not_fitted(estimator, spark):
    stream = spark.readStream.format("rate").load().selectExpr("array(1D, 2D, 3D, 4D) AS features", "0 AS label")
    with pytest.raises(ArgumentError, match=r"fit must be given a DataFrame that ends. Received: a stream."):
        estimator.fit(stream)


# Known once the data has been looked at: {case: (change of the data, error, message)}.
DATA = {
    "empty": (lambda d: d.where("id < 0"), DataError, "must have at least one row. Received: none"),
    "null features": (
        lambda d: d.withColumn("features", F.when(F.col("id") > 3, F.col("features"))),
        DataError,
        "rows with nulls: 4 in 'features'. Hint: df.na.drop",
    ),
    "null labels": (
        lambda d: d.withColumn("label", F.when(F.col("id") > 1, F.col("label"))),
        DataError,
        "rows with nulls: 2 in 'label'",
    ),
    "null in an array": (
        lambda d: d.withColumn("features", F.when(F.col("id") > 0, F.col("array")).otherwise(F.array(F.lit(None)))),
        DataError,
        "rows with nulls: 1 in 'features'",
    ),
    "NaN features": (
        lambda d: d.withColumn("features", F.when(F.col("id") > 4, F.col("array")).otherwise(nan())),
        DataError,
        r"Column 'features' must hold finite numbers. Received: NaN or infinity in 5 of 240 rows. Hint: .*'skip'",
    ),
    "infinite features": (
        lambda d: d.withColumn("features", F.transform("array", lambda x: x * 1e300)),
        DataError,
        "NaN or infinity in 240 of 240 rows",
    ),
    "NaN labels": (
        lambda d: d.withColumn("label", F.when(F.col("id") > 2, F.col("label")).otherwise(F.lit(float("nan")))),
        DataError,
        "Column 'label' must hold finite numbers. Received: NaN or infinity in 3 of 240 rows",
    ),
    "labels from 1": (
        lambda d: d.withColumn("label", F.col("label") + 1),
        DataError,
        r"Column 'label' must hold whole numbers in \[0, 2\] for a network of 3 classes. Received: 1 to 3. "
        r"Hint: classes count from 0; StringIndexer\(inputCol='label'",
    ),
    "negative labels": (
        lambda d: d.withColumn("label", F.col("label") - 1),
        DataError,
        r"whole numbers in \[0, 2\] for a network of 3 classes. Received: -1 to 1",
    ),
    "fractional labels": (
        lambda d: d.withColumn("label", F.col("label") / 4),
        DataError,
        r"must hold whole numbers in \[0, 2\] .* rows with other numbers, in 0 to 0.5. Hint",
    ),
    "arrays of another length": (
        lambda d: d.withColumn("features", F.slice("array", 1, 3)),
        ShapeError,
        r"Linear 'linear_1' expects \(batch, 4\), received \(32, 3\)",
    ),
    "arrays of different lengths": (
        lambda d: d.withColumn("features", F.slice(F.col("array"), F.lit(1), F.lit(3) + F.col("whole") % 2)),
        DataError,
        r"must give tensors of one shape. Received: \(3,\), \(4,\). Hint",
    ),
    "arrays of arrays of different lengths": (
        lambda d: d.withColumn("features", F.array("array", F.slice("array", 1, 2))),
        DataError,
        "240 that do not: .* features must be numbers. Received: arrays of arrays of unequal lengths; row with",
    ),
    "vectors of another length": (
        lambda d: d.withColumn("features", array_to_vector(F.concat("array", F.array(F.lit(1.0))))),
        ShapeError,
        r"expects \(batch, 4\), received \(32, 5\)",
    ),
}


@pytest.mark.parametrize("case", DATA)
def test_when_the_data_has_been_looked_at(case, estimator, points):
    change, error, message = DATA[case]
    with pytest.raises(error, match=message):
        estimator.fit(change(points))


def test_a_label_of_the_wrong_length(points):
    estimator = NNEstimator(Linear(4, 2), MSECriterion(), [4]).setLabelCol("nested").setMaxEpoch(1)
    with pytest.raises(DataError, match=r"Every row must give a sample. .*a label must have 2 numbers"):
        estimator.setLabelCol("array").setFeaturesCol("features").setShowProgress(False).fit(points)


@pytest.mark.parametrize("seed", [7, 2**63 + 7])
@pytest.mark.parametrize("column", ["array", "features", "mixed"])
def test_sizes_that_the_rows_do_not_have(column, seed, points):
    """The error ends with a query that finds the rows."""
    estimator = NNClassifier(Linear(5, 3).set_name("fc"), ClassNLLCriterion(), [5]).setFeaturesCol(column).setSeed(seed)
    with pytest.raises(DataError, match=r"SeqToTensor expects 5 numbers for size .*, received 4") as caught:
        estimator.setShowProgress(False).fit(points)
    query = str(caught.value).split("To see them: ")[1]
    names = {"df": points, "F": F, "pyspark": pyspark}
    assert eval(query, names).count() == 5


# ---------------------------------------------------------------- scoring


SCORING = {
    "features missing": (lambda d: d.drop("features"), None, ColumnError, "Column 'features' .* must exist"),
    "features are text": (lambda d: d.withColumn("features", F.lit("a")), None, ColumnError, "of texts must have"),
    "prediction exists": (lambda d: d.withColumn("prediction", F.lit(1)), None, ColumnError, "must not exist yet"),
    "size": (lambda d: d, lambda m: NNModel(m.model, [5]), ShapeError, r"expects \(batch, 4\), received \(256, 5\)"),
    "output of three dimensions": (
        lambda d: d,
        lambda m: NNModel(Sequential().add(Linear(4, 4)).add(Reshape([2, 2])), [4]),
        ShapeError,
        r"an output \(batch, k\), received \(256, 2, 2\). Hint: end the network with Reshape",
    ),
    "labels for some classes": (
        lambda d: d,
        lambda m: NNClassifierModel(m.model, [4]).setLabels(["x", "y"]),
        ArgumentError,
        "labels must name all 3 classes of the network. Received: 2.",
    ),
    "batch size": (
        lambda d: d,
        lambda m: m.copy().setBatchSize(0),
        ArgumentError,
        "batchSize must be a whole number >= 1. Received: 0.",
    ),
}


@pytest.mark.parametrize("case", SCORING)
def test_scoring_is_checked_on_the_driver(case, fitted, points, spark):
    change, configure, error, message = SCORING[case]
    jobs = count_jobs(spark)
    with pytest.raises(error, match=message):
        (configure(fitted) if configure else fitted).transform(change(points))
    assert count_jobs(spark) == jobs


BAD_ROWS = {
    "null": lambda: F.lit(None).cast("array<double>"),
    "null element": lambda: F.array(F.lit(1.0), F.lit(None), F.lit(1.0), F.lit(1.0)),
    "NaN": nan,
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_rows_that_cannot_be_scored(case, fitted, points):
    model = fitted.copy().setFeaturesCol("array").setProbabilityCol("q").setBatchSize(16)
    data = points.select("id", F.when(F.col("id") % 7 == 0, BAD_ROWS[case]()).otherwise(F.col("array")).alias("array"))
    bad = points.where("id % 7 = 0").count()
    with pytest.raises(Exception, match=r"Features of column 'array' must be usable in every row. Received in row \d+"):
        model.transform(data).collect()
    kept = model.setHandleInvalid("keep").transform(data).collect()
    assert len(kept) == 240
    assert sorted(row.id for row in kept if row.prediction is None) == [i for i in range(240) if i % 7 == 0]
    assert all((row.prediction is None) == (row.q is None) for row in kept)
    skipped = model.setHandleInvalid("skip").transform(data).collect()
    assert len(skipped) == 240 - bad
    wanted = {row.id: row.prediction for row in fitted.copy().setFeaturesCol("array").transform(points).collect()}
    assert all(row.prediction == wanted[row.id] for row in skipped)


def test_an_array_of_another_length_when_scoring(fitted, points):
    model = fitted.copy().setFeaturesCol("array")
    with pytest.raises(Exception, match=r"Linear 'linear_1' expects \(batch, 4\), received \(256, 2\)"):
        model.transform(points.withColumn("array", F.slice("array", 1, 2))).collect()
