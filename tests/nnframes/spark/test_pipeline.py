from __future__ import annotations

import gc

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import IndexToString, StandardScaler, StringIndexer
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder

from nnframes import NNClassifierModel


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
