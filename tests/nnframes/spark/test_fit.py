from __future__ import annotations

import logging

import numpy as np
import pytest
from pyspark.ml.evaluation import BinaryClassificationEvaluator, MulticlassClassificationEvaluator
from pyspark.sql import functions as F

from nnframes import NNClassifier, NNClassifierModel, NNEstimator, NNModel
from nnframes.errors import ArgumentError, DataError
from nnframes.nn import (
    BCECriterion,
    CAddTable,
    ClassNLLCriterion,
    CrossEntropyCriterion,
    Dropout,
    Input,
    Linear,
    Model,
    MSECriterion,
    ReLU,
    Sequential,
    Sigmoid,
)
from nnframes.optim import SGD, Adam, Step
from nnframes.train import MaxIteration


def accuracy(frame, label="label"):
    return MulticlassClassificationEvaluator(labelCol=label, metricName="accuracy").evaluate(frame)


def weights(model):
    return np.concatenate([array.ravel() for array in model.model.get_weights()])


def test_a_classifier_learns(classifier, points, fitted):
    assert isinstance(fitted, NNClassifierModel)
    scored = fitted.transform(points)
    assert scored.columns == [*points.columns, "prediction"]
    assert scored.schema["prediction"].dataType.simpleString() == "double"
    assert {row.prediction for row in scored.select("prediction").distinct().collect()} == {0.0, 1.0, 2.0}
    assert accuracy(scored) > 0.95
    assert (fitted.summary.rows, fitted.summary.dropped, fitted.summary.epochs) == (240, 0, 12)
    assert fitted.summary.loss < 0.2


def test_the_estimator_keeps_its_model(classifier, points):
    before = [array.copy() for array in classifier.model.get_weights()]
    model = classifier.setMaxEpoch(1).fit(points)
    assert model.model is not classifier.model
    assert model.uid == classifier.uid
    for one, other in zip(before, classifier.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((a != b).any() for a, b in zip(before, model.model.get_weights(), strict=True))
    assert classifier.model.is_training()


def test_a_trained_network_is_to_be_used(points, tmp_path):
    """Dropout is off in what a fit returns, and in what is loaded."""
    network = Sequential().add(Linear(4, 8)).add(Dropout(0.5)).add(Linear(8, 3))
    estimator = NNClassifier(network, CrossEntropyCriterion()).setMaxEpoch(1).setShowProgress(False)
    model = estimator.fit(points)
    model.save(str(tmp_path / "model"))
    estimator.save(str(tmp_path / "estimator"))
    row = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(model.model.forward(row), model.model.forward(row))
    loaded = NNClassifierModel.load(str(tmp_path / "model")).model
    np.testing.assert_array_equal(loaded.forward(row), model.model.forward(row))
    assert NNClassifier.load(str(tmp_path / "estimator")).model.is_training()


def test_what_a_model_takes_over(classifier, points):
    classifier.setFeaturesCol("array").setPredictionCol("p").setProbabilityCol("q").setRawPredictionCol("r")
    model = classifier.setThreshold(0.25).setHandleInvalid("keep").setMaxEpoch(1).fit(points)
    assert (model.getFeaturesCol(), model.getPredictionCol(), model.getHandleInvalid()) == ("array", "p", "keep")
    assert (model.getProbabilityCol(), model.getRawPredictionCol(), model.getThreshold()) == ("q", "r", 0.25)
    assert model.getBatchSize() == 256


@pytest.mark.parametrize(
    ("column", "label"),
    [("mixed", "label"), ("array", "whole"), ("nested", "label"), ("decimals", "decimal")],
    ids=["sparse", "array", "nested", "decimals"],
)
def test_every_form_of_numbers_gives_the_same_model(column, label, classifier, points):
    """Vectors and arrays of the same numbers, labels of any number type."""
    more = {
        "nested": F.flatten("nested"),
        "decimals": F.col("array").cast("array<decimal(38,18)>"),
        "decimal": F.col("label").cast("decimal(4,1)"),
    }
    prepared = points.withColumns(more).where("id < 60").select("id", column, label)
    prepared = prepared.withColumnsRenamed({column: "features", label: "label"})
    direct = points.where("id < 60").select("id", "features", "label")
    models = [classifier.setMaxEpoch(1).setBatchSize(60).setNumShards(1).fit(frame) for frame in (prepared, direct)]
    np.testing.assert_allclose(weights(models[0]), weights(models[1]), rtol=1e-5, atol=1e-6)


def test_regression_on_a_number(spark):
    """y = 3x - 1 from a scalar column; the label is a scalar, the output (batch, 1)."""
    rng = np.random.default_rng(1)
    frame = spark.createDataFrame(
        [(float(x), float(3 * x - 1)) for x in rng.uniform(-1, 1, 64)], "features float, label float"
    )
    estimator = NNEstimator(Linear(1, 1), MSECriterion()).setOptimMethod(SGD(0.3)).setBatchSize(16).setMaxEpoch(20)
    model = estimator.setShowProgress(False).setNumShards(2).fit(frame)
    assert isinstance(model, NNModel)
    weight, bias = model.model.get_weights()
    assert weight.item() == pytest.approx(3, abs=0.05)
    assert bias.item() == pytest.approx(-1, abs=0.05)
    scored = model.transform(frame)
    assert scored.schema["prediction"].dataType.simpleString() == "array<float>"
    row = scored.first()
    assert row.prediction == pytest.approx([row.label], abs=0.1)


def test_several_inputs_and_array_labels(spark):
    """One column cut into the inputs of a graph model; the peers' list of lists."""
    left, right = Input((1,)), Input((2,))
    model = Model([left, right], CAddTable()([Linear(1, 2)(left), Linear(2, 2)(right)]))
    rng = np.random.default_rng(2)
    x = rng.normal(size=(64, 3))
    y = np.stack([x[:, 0] + x[:, 1], x[:, 2] - x[:, 0]], axis=1)
    frame = spark.createDataFrame([(a.tolist(), b.tolist()) for a, b in zip(x, y, strict=True)], ["features", "label"])
    estimator = NNEstimator(model, MSECriterion(), [[1], [2]], [2]).setOptimMethod(SGD(0.3)).setBatchSize(16)
    fitted = estimator.setMaxEpoch(30).setShowProgress(False).setNumShards(1).fit(frame)
    row = fitted.transform(frame).first()
    assert row.prediction == pytest.approx(row.label, abs=0.05)


def test_one_output_is_a_binary_classifier(points):
    binary = points.withColumn("label", (F.col("whole") > 0).cast("int"))
    network = Sequential().add(Linear(4, 8)).add(ReLU()).add(Linear(8, 1)).add(Sigmoid())
    estimator = NNClassifier(network, BCECriterion()).setOptimMethod(Adam(0.05)).setBatchSize(48).setMaxEpoch(12)
    estimator.setRawPredictionCol("rawPrediction").setProbabilityCol("probability").setShowProgress(False)
    model = estimator.fit(binary)
    scored = model.transform(binary)
    assert accuracy(scored) > 0.9
    assert BinaryClassificationEvaluator().evaluate(scored) > 0.95
    row = scored.first()
    assert list(row.probability) == pytest.approx([1 - row.rawPrediction[1], row.rawPrediction[1]])
    assert model.setThreshold(1.0).transform(binary).where("prediction > 0").count() == 0


def test_scores_without_softmax(points):
    """CrossEntropyCriterion trains on scores; probabilities sum to one all the same."""
    estimator = NNClassifier(Linear(4, 3), CrossEntropyCriterion(), [4]).setOptimMethod(SGD(0.5)).setBatchSize(48)
    model = estimator.setMaxEpoch(3).setProbabilityCol("q").setShowProgress(False).fit(points)
    row = model.transform(points).first()
    assert sum(row.q) == pytest.approx(1.0)
    assert row.prediction == np.argmax(row.q)


def test_the_same_seed_gives_the_same_bits(points, classifier):
    """Whatever the partitioning and the other columns; with dropout and clipping."""
    classifier.model = Sequential().add(Linear(4, 16)).add(Dropout(0.3)).add(Linear(16, 3))
    classifier.criterion = CrossEntropyCriterion()
    classifier.setMaxEpoch(2).setGradientClippingByL2Norm(0.5).setConstantGradientClipping(-0.1, 0.1).setSeed(3)
    once, again = classifier.fit(points), classifier.fit(points.select("label", "features").repartition(5))
    np.testing.assert_array_equal(weights(once), weights(again))
    assert (weights(classifier.setSeed(4).fit(points)) != weights(once)).any()


def test_learning_rates_replace_those_of_the_method(points, classifier):
    """One step of plain SGD is proportional to the rate; the estimator's own object stays as it is."""
    method = SGD(0.1)
    classifier.setOptimMethod(method).setEndWhen(MaxIteration(1)).clear(classifier.maxEpoch)
    start = np.concatenate([array.ravel() for array in classifier.model.get_weights()])
    small = weights(classifier.fit(points)) - start
    large = weights(classifier.setLearningRate(0.2).fit(points)) - start
    np.testing.assert_allclose(large, 2 * small, rtol=1e-3, atol=1e-6)
    assert method.learningrate == 0.1


def test_targets_that_are_no_probabilities(points):
    network = Sequential().add(Linear(4, 1)).add(Sigmoid())
    estimator = NNEstimator(network, BCECriterion(), [4]).setMaxEpoch(1).setNumShards(2).setShowProgress(False)
    with pytest.raises(DataError, match=r"'label' must hold numbers in \[0, 1\] for BCECriterion. Received: 0 to 2"):
        estimator.fit(points)
    estimator.fit(points.withColumn("label", F.col("label") / 2))


def test_end_when_and_max_epoch_exclude_each_other(points, classifier):
    with pytest.raises(ArgumentError, match=r"maxEpoch or by endWhen. Received: both"):
        classifier.setEndWhen(MaxIteration(3)).fit(points)
    classifier.clear(classifier.maxEpoch)
    assert classifier.fit(points).summary.iterations == 3


def test_a_decay_needs_a_schedule_that_uses_it(points, classifier):
    steps = SGD(0.1, learningrate_schedule=Step(10, 0.5))
    classifier.setMaxEpoch(1).setLearningRateDecay(0.5)
    with pytest.raises(ArgumentError, match=r"must be left unset for the schedule Step. Received: 0.5"):
        classifier.setOptimMethod(steps).fit(points)
    decayed = classifier.setOptimMethod(SGD(0.1)).fit(points)
    kept = classifier.setLearningRateDecay(0.0).setOptimMethod(steps).fit(points)
    assert (weights(decayed) != weights(kept)).any()


def test_a_deadline_reaches_the_tasks(spark, points, classifier):
    assert classifier.setDeadline(7.5)._settings(spark).deadline == 7.5


def test_fit_with_param_maps(points, classifier):
    maps = [{classifier.maxEpoch: 1}, {classifier.maxEpoch: 2, classifier.batchSize: 240}]
    models = classifier.fit(points, maps)
    assert [(model.summary.epochs, model.summary.iterations) for model in models] == [(1, 5), (2, 2)]
    assert classifier.fit(points, maps[0]).summary.iterations == 5
    assert classifier.getMaxEpoch() == 8


def test_batches_larger_than_the_data_and_more_shards_than_rows(points, classifier):
    few = points.where("id < 3")
    model = classifier.setBatchSize(1000).setNumShards(8).setMaxEpoch(2).fit(few)
    assert (model.summary.rows, model.summary.iterations, model.summary.shards) == (3, 2, 8)


def test_skipped_rows_are_counted_and_logged(spark, points, classifier, caplog):
    holes = points.select(
        F.when(F.col("id") % 10 == 0, None)
        .otherwise(
            F.when(F.col("id") % 10 == 1, F.array(F.lit(float("nan")), *[F.lit(0.0)] * 3)).otherwise(F.col("array"))
        )
        .alias("features"),
        F.when(F.col("id") % 10 == 2, None).otherwise(F.col("label")).alias("label"),
    )
    with caplog.at_level(logging.WARNING, "nnframes"):
        model = classifier.setHandleInvalid("skip").setMaxEpoch(1).fit(holes)
    assert (model.summary.rows, model.summary.dropped) == (168, 72)
    assert "Dropped 72 of 240 rows" in caplog.text


def test_progress_goes_to_standard_error(points, classifier, capsys):
    classifier.setShowProgress(True).setMaxEpoch(2).fit(points)
    shown = capsys.readouterr()
    assert "Epoch 2/2: loss=" in shown.err
    assert shown.out == ""


def test_padding_labels_are_skipped_by_class_criterions(points, classifier):
    """-1 is the criterions' padding; a classifier's labels are all meant."""
    padded = points.withColumn("label", F.when(F.col("id") < 24, -1.0).otherwise(F.col("label")))
    estimator = NNEstimator(classifier.model, ClassNLLCriterion()).setShowProgress(False)
    assert estimator.setMaxEpoch(1).setBatchSize(48).fit(padded).summary.rows == 240
