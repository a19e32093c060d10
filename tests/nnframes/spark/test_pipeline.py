from __future__ import annotations

import gc

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator
from pyspark.ml.feature import IndexToString, SQLTransformer, StandardScaler, StringIndexer
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder

from nnframes import NNClassifier, NNClassifierModel, NNEstimator
from nnframes.nn import ClassNLLCriterion, Linear, LogSoftMax, MSECriterion, Sequential
from nnframes.optim import Adam


def test_names_in_names_out(classifier, points, tmp_path):
    """Strings are indexed from 0 and come back, through save and load."""
    data = points.drop("label")
    indexer = StringIndexer(inputCol="name", outputCol="label").fit(data)
    scaler = StandardScaler(inputCol="features", outputCol="scaled")
    names = IndexToString(inputCol="prediction", outputCol="guess", labels=indexer.labels)
    pipeline = Pipeline(stages=[indexer, scaler, classifier.setFeaturesCol("scaled"), names])
    pipeline.write().overwrite().save(str(tmp_path / "pipeline"))
    model = Pipeline.load(str(tmp_path / "pipeline")).fit(data)
    assert isinstance(model.stages[2], NNClassifierModel)
    scored = model.transform(data)
    assert scored.where("name = guess").count() > 220
    model.write().overwrite().save(str(tmp_path / "model"))
    again = PipelineModel.load(str(tmp_path / "model")).transform(data)
    assert again.select("id", "guess").exceptAll(scored.select("id", "guess")).count() == 0


def test_names_travel_with_the_prediction(classifier, points, tmp_path):
    """One pipeline from names to names: IndexToString finds the labels in the metadata, after save and load too."""
    data = points.drop("label")
    names = IndexToString(inputCol="prediction", outputCol="guess")
    stages = [StringIndexer(inputCol="name", outputCol="label"), classifier.setProbabilityCol("q"), names]
    model = Pipeline(stages=stages).fit(data)
    labels = model.stages[0].labels
    assert model.stages[1].getLabels() == list(labels)
    scored = model.transform(data)
    assert scored.schema["prediction"].metadata["ml_attr"]["vals"] == list(labels)
    assert scored.schema["q"].metadata == {}
    assert scored.where("name = guess").count() > 220
    model.write().overwrite().save(str(tmp_path / "model"))
    again = PipelineModel.load(str(tmp_path / "model"))
    assert again.transform(data.drop("name")).select("id", "guess").exceptAll(scored.select("id", "guess")).count() == 0
    assert again.stages[1].setHandleInvalid("skip").transform(data).schema["prediction"].metadata["ml_attr"]


def test_every_class_has_a_name(points):
    """IndexToString fails on a class without one, so a network with more classes than labels names the others."""
    labels = StringIndexer(inputCol="name", outputCol="label", stringOrderType="alphabetAsc")
    data = labels.fit(points.drop("label")).transform(points.drop("label"))
    wide = NNClassifier(Sequential().add(Linear(4, 5)).add(LogSoftMax()), ClassNLLCriterion()).setMaxEpoch(1)
    model = wide.setShowProgress(False).fit(data)
    assert model.getLabels() == ["a", "b", "c", "3", "4"]
    wide.setLabelCol("whole")
    assert wide.fit(points).getLabels() == []
    assert wide.fit(points).transform(points).schema["prediction"].metadata == {}


def test_regression_in_a_pipeline(points):
    """NNModel's prediction is an array; SQLTransformer takes the number that Spark's evaluator wants."""
    estimator = NNEstimator(Linear(4, 1), MSECriterion()).setPredictionCol("outputs").setOptimMethod(Adam(0.05))
    number = SQLTransformer(statement="SELECT *, double(outputs[0]) AS prediction FROM __THIS__")
    pipeline = Pipeline(stages=[estimator.setMaxEpoch(12).setShowProgress(False), number])
    error = RegressionEvaluator(metricName="rmse").evaluate(pipeline.fit(points).transform(points))
    assert error < 0.6


# pyspark's CrossValidator leaves its pool of threads to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool:ResourceWarning")
@pytest.mark.slow
def test_cross_validation(classifier, points, tmp_path):
    """Two fits at once on two slots, probabilities for the evaluator, the winner saved and loaded."""
    classifier.setProbabilityCol("probability").setRawPredictionCol("rawPrediction").setNumShards(1)
    grid = ParamGridBuilder().addGrid(classifier.maxEpoch, [1, 12]).build()
    evaluator = MulticlassClassificationEvaluator(metricName="logLoss")
    validator = CrossValidator(
        estimator=classifier, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=1, parallelism=2
    )
    model = validator.fit(points)
    gc.collect()
    assert model.avgMetrics[1] < model.avgMetrics[0]
    assert model.bestModel.summary.epochs == 12
    model.write().overwrite().save(str(tmp_path / "model"))
    loaded = CrossValidatorModel.load(str(tmp_path / "model"))
    for one, other in zip(model.bestModel.model.get_weights(), loaded.bestModel.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    validator.write().overwrite().save(str(tmp_path / "validator"))
    assert CrossValidator.load(str(tmp_path / "validator")).getEstimator().uid == classifier.uid
