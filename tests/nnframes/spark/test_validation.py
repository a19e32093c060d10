"""Validation, early stopping and summaries on a real Spark: the figures of Spark's own evaluator, alike everywhere."""

from __future__ import annotations

import re

import numpy as np
import pytest
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.sql import functions as F

from featurelib import ChainedPreprocessing
from featurelib.image import ImageBytesToMat, ImageChannelNormalize, ImageMatToTensor, ImageRandomTranslate
from nnframes import NNClassifier, NNEstimator
from nnframes.errors import ArgumentError, ColumnError, DataError, ModelFileError, ShapeError, TrainingError
from nnframes.nn import ClassNLLCriterion, Linear, MSECriterion
from nnframes.optim import SGD, Adam
from nnframes.train import (
    MAE,
    MSE,
    EarlyStopping,
    EveryEpoch,
    Loss,
    MaxIteration,
    MaxScore,
    SeveralIteration,
    Top1Accuracy,
    Top5Accuracy,
    TrainSummary,
    TriggerOr,
    ValidationSummary,
)
from tests.nnframes.distributed import runs
from tests.nnframes.distributed.cluster import own_spark


@pytest.fixture(scope="module")
def parts(points):
    """Rows to train on and rows to validate on."""
    return points.where("id % 3 > 0").cache(), points.where("id % 3 = 0").cache()


def weights(model):
    return np.concatenate([array.ravel() for array in model.model.get_weights()])


def test_the_last_accuracy_is_that_of_sparks_evaluator(classifier, parts):
    train, held = parts
    classifier.setValidation(EveryEpoch(), held, [Top1Accuracy(), Loss()], 20).setMaxEpoch(3)
    model = classifier.fit(train)
    evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
    last = model.summary.validations[-1]
    assert last.value("Top1Accuracy") == pytest.approx(evaluator.evaluate(model.transform(held)), abs=1e-12)
    scored = model.setProbabilityCol("q").transform(held)
    log_loss = MulticlassClassificationEvaluator(metricName="logLoss", probabilityCol="q").evaluate(scored)
    assert last.value("Loss") == pytest.approx(log_loss, rel=1e-5)
    assert [one.iteration for one in model.summary.validations] == [4, 8, 12]
    assert [one.epoch for one in model.summary.validations] == [1, 2, 3]
    assert {result.total_num for one in model.summary.validations for result in one.results} == {held.count()}
    assert model.summary.best is None


def test_validation_does_not_change_the_training(classifier, parts):
    train, held = parts
    plain = weights(classifier.setMaxEpoch(2).fit(train))
    watched = classifier.setValidation(SeveralIteration(3), held, [Top1Accuracy()], 7).fit(train)
    np.testing.assert_array_equal(weights(watched), plain)


def figures(master: str, folder: str) -> list:
    """The validations of a run with all that could make bits differ, for a fresh process."""
    with own_spark(master, folder) as spark:
        frame = runs.frame_of(spark).repartition(2).cache()
        found = []
        for name in ("words-3", "image-4"):
            estimator = runs.classifier(runs.RUNS[name]).setMaxEpoch(2)
            estimator.setValidation(EveryEpoch(), frame.where("label < 2"), [Top1Accuracy(), Loss()], 30)
            found += [one.to_json() for one in estimator.fit(frame).summary.validations]
        return found


@pytest.fixture(scope="module")
def of_one_task(spawn, tmp_path_factory):
    return spawn(figures, "local[1]", str(tmp_path_factory.mktemp("one")), timeout=240)


@pytest.mark.slow
@pytest.mark.parametrize("master", ["local[2]", "local[3]", "local-cluster[2,1,1024]"])
def test_any_number_of_tasks_gives_the_same_figures(spawn, of_one_task, tmp_path, master):
    """Two executors fetch the rows that they lack."""
    found = spawn(figures, master, str(tmp_path), timeout=240)
    assert len(found) == 4
    assert found == of_one_task


def test_randomness_is_left_out(spark):
    """A validation of unchanged weights gives one figure, whatever the augmentation draws."""
    stages = [ImageBytesToMat(image_codec=0), ImageRandomTranslate(3, 3), ImageChannelNormalize(0, 0, 0, 255, 255, 255)]
    frame = runs.frame_of(spark).cache()
    estimator = NNClassifier(
        runs.network_of("image"), ClassNLLCriterion(), ChainedPreprocessing([*stages, ImageMatToTensor()])
    )
    estimator.setFeaturesCol("image").setBatchSize(50).setOptimMethod(SGD(1e-30)).setShowProgress(False)
    estimator.setEndWhen(MaxIteration(1)).setNumShards(2)
    found = []
    for caching, seed in [(True, 1), (True, 2), (False, 3)]:
        estimator.setCachingSample(caching).setSeed(seed).setValidation(SeveralIteration(1), frame, [Loss()], 64)
        found.append(estimator.fit(frame).summary.validations[0].value("Loss"))
    # Batch norm's buffers have seen one batch, which follows the seed.
    assert found[0] == pytest.approx(found[1], rel=0.1)
    assert found[0] != found[1]
    estimator.setSeed(1)
    assert estimator.fit(frame).summary.validations[0].value("Loss") == pytest.approx(found[0], rel=0.2)


# ---------------------------------------------------------------- the end of a run


def test_a_run_ends_at_a_score(classifier, parts):
    train, held = parts
    classifier.clear(classifier.maxEpoch)
    classifier.setValidation(SeveralIteration(2), held, [Top1Accuracy()], 80)
    model = classifier.setEndWhen(TriggerOr(MaxScore(0.6), MaxIteration(200))).fit(train)
    scores = [one.value("Top1Accuracy") for one in model.summary.validations]
    assert scores[-1] > 0.6
    assert all(score <= 0.6 for score in scores[:-1])
    assert model.summary.iterations == 2 * len(scores) < 200


def test_early_stopping_restores_the_best_weights(classifier, parts):
    """A rate that is far too high gets worse at once; the weights are those of the best validation."""
    train, held = parts
    classifier.setOptimMethod(SGD(30.0)).setMaxEpoch(50).setValidation(EveryEpoch(), held, [Loss(), Top1Accuracy()], 80)
    best = classifier.setEarlyStopping("Loss", patience=2).fit(train)
    summary = best.summary
    losses = [one.value("Loss") for one in summary.validations]
    place = int(np.argmin(losses))
    assert len(losses) == place + 3 < 50
    assert summary.best == summary.validations[place]
    evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
    assert evaluator.evaluate(best.transform(held)) == pytest.approx(summary.best.value("Top1Accuracy"), abs=1e-12)
    last = classifier.setEarlyStopping("Loss", patience=2, restore_best=False).fit(train)
    assert last.summary.validations == summary.validations
    classifier.setEarlyStopping(None).setMaxEpoch(place + 1)
    np.testing.assert_array_equal(weights(classifier.fit(train)), weights(best))
    np.testing.assert_array_equal(weights(classifier.setMaxEpoch(place + 3).fit(train)), weights(last))


# ---------------------------------------------------------------- summaries, progress


@pytest.mark.parametrize("mode", ["group", "job"])
def test_tensorboard_files(classifier, parts, tmp_path, capsys, mode):
    train, held = parts
    classifier.setSyncMode(mode)
    curves = TrainSummary(tmp_path, "net").set_summary_trigger("LearningRate", SeveralIteration(4))
    curves.set_summary_trigger("Parameters", EveryEpoch())
    figures = ValidationSummary(tmp_path, "net")
    classifier.setTrainSummary(curves).setValidationSummary(figures).setOptimMethod(Adam(0.01)).setShowProgress(True)
    classifier.setValidation(EveryEpoch(), held, [Top1Accuracy()], 80).setMaxEpoch(2)
    model = classifier.fit(train)
    assert curves.read_scalar("Loss")[:, 0].tolist() == list(range(1, 9))
    assert curves.read_scalar("LearningRate")[:, :2].tolist() == [[4, pytest.approx(0.01)], [8, pytest.approx(0.01)]]
    assert (curves.read_scalar("Throughput")[:, 1] > 0).all()
    expected = [[one.iteration, pytest.approx(one.value("Top1Accuracy"))] for one in model.summary.validations]
    assert figures.read_scalar("Top1Accuracy")[:, :2].tolist() == expected
    content = b"".join(path.read_bytes() for path in (tmp_path / "net" / "train").iterdir())
    assert content.count(b"linear_1.weight") == 2
    assert "Validation after iteration 8: Top1Accuracy=" in capsys.readouterr().err


def test_files_are_closed_on_errors(classifier, parts, tmp_path):
    """A loss that overflows ends the fit after the summaries were opened; they have all that came before."""
    train, _ = parts
    curves = TrainSummary(tmp_path, "net")
    classifier.setTrainSummary(curves).setOptimMethod(SGD(1e4)).setMaxEpoch(30)
    with pytest.raises(TrainingError, match="must stay finite") as raised:
        classifier.fit(train)
    ended = int(re.search(r"at iteration (\d+)", str(raised.value)).group(1))
    assert ended > 2
    assert curves.read_scalar("Loss")[:, 0].tolist() == list(range(1, ended))
    assert len(list((tmp_path / "net" / "train").iterdir())) == 1


# ---------------------------------------------------------------- input that cannot work

METHODS = [Top1Accuracy()]
BEFORE = {
    "a column is missing": (
        lambda e, d: e.setValidation(EveryEpoch(), d.drop("features"), METHODS, 8),
        ColumnError,
        r"Validation: Column 'features' \(featuresCol\) must exist",
    ),
    "the label is text": (
        lambda e, d: e.setValidation(EveryEpoch(), d.withColumn("label", F.lit("x")), METHODS, 8),
        ColumnError,
        "Validation: Column 'label' must be a number, .* Received: string",
    ),
    "no rows": (
        lambda e, d: e.setValidation(EveryEpoch(), d.where("id < 0"), METHODS, 8),
        DataError,
        "Validation: The DataFrame must have at least one row",
    ),
    "nulls": (
        lambda e, d: e.setValidation(EveryEpoch(), d.withColumn("label", F.lit(None).cast("int")), METHODS, 8),
        DataError,
        "Validation: Columns to train on must not hold nulls",
    ),
    "labels out of range": (
        lambda e, d: e.setValidation(EveryEpoch(), d.withColumn("label", F.col("label") + 1), METHODS, 8),
        DataError,
        r"Validation: Column 'label' must hold whole numbers in \[0, 2\]",
    ),
    "a method that does not suit": (
        lambda e, d: e.setValidation(EveryEpoch(), d, [MAE()], 8).setFeaturesCol("array"),
        ShapeError,
        r"Validation: MAE expects a target \(2, 3\), received \(2, 1\)|Validation: MAE expects",
    ),
    "a summary without a validation": (
        lambda e, d: e.setValidationSummary(ValidationSummary("build/none", "x")),
        ArgumentError,
        "validationSummary must have a validation",
    ),
    "early stopping without a validation": (
        lambda e, d: e.setEarlyStopping("Loss"),
        ArgumentError,
        r"must monitor a method of the validation. Received: Loss of no validation",
    ),
    "early stopping by another method": (
        lambda e, d: e.setEarlyStopping("Loss").setValidation(EveryEpoch(), d, METHODS, 8),
        ArgumentError,
        "Received: Loss of Top1Accuracy",
    ),
    "resume without a checkpoint": (lambda e, d: e.setResume(True), ArgumentError, "resume must have a checkpoint"),
}


@pytest.mark.parametrize("case", BEFORE)
def test_refused_before_training(case, classifier, points):
    change, error, message = BEFORE[case]
    change(classifier, points)
    with pytest.raises(error, match=message):
        classifier.fit(points)


SETTERS = {
    "no trigger": (lambda e, d: e.setValidation(5, d, METHODS, 8), "trigger must be a Trigger. Received: 5."),
    "a class": (lambda e, d: e.setValidation(EveryEpoch, d, METHODS, 8), r"Hint: EveryEpoch\(...\)"),
    "no DataFrame": (lambda e, d: e.setValidation(EveryEpoch(), [1], METHODS, 8), "must be given a Spark DataFrame"),
    "no methods": (lambda e, d: e.setValidation(EveryEpoch(), d, [], 8), r"a list such as \[Top1Accuracy\(\)\]"),
    "a method's class": (lambda e, d: e.setValidation(EveryEpoch(), d, [MSE], 8), "methods must be a list"),
    "twice": (lambda e, d: e.setValidation(EveryEpoch(), d, [MSE(), MSE()], 8), "different names. Received: MSE, MSE"),
    "batch size": (lambda e, d: e.setValidation(EveryEpoch(), d, METHODS, 0), "batch_size must be a whole number >= 1"),
    "unknown monitor": (lambda e, d: e.setEarlyStopping("accuracy"), "monitor must be one of Loss, MAE"),
    "patience": (lambda e, d: e.setEarlyStopping("Loss", 0), "patience must be a whole number >= 1"),
}


@pytest.mark.parametrize("case", SETTERS)
def test_refused_when_set(case, classifier, points):
    change, message = SETTERS[case]
    with pytest.raises(ArgumentError, match=message):
        change(classifier, points)
    assert classifier.getValidation() is None


def test_top5_of_few_classes_and_regression(spark, points, classifier):
    classifier.setValidation(EveryEpoch(), points, [Top5Accuracy()], 64).setMaxEpoch(1)
    assert classifier.fit(points).summary.validations[0].value("Top5Accuracy") == 1.0
    frame = spark.createDataFrame([(float(x), 2.0 * x) for x in range(20)], "features double, label double")
    estimator = NNEstimator(Linear(1, 1), MSECriterion()).setBatchSize(5).setMaxEpoch(2).setShowProgress(False)
    estimator.setValidation(EveryEpoch(), frame, [MSE(), Loss(MSECriterion())], 6).setNumShards(2)
    last = estimator.fit(frame).summary.validations[-1]
    assert last.value("MSE") == pytest.approx(last.value("Loss"), rel=1e-5)


# ---------------------------------------------------------------- params


def test_copies_and_param_maps(classifier, parts):
    train, held = parts
    classifier.setValidation(EveryEpoch(), held, METHODS, 80).setMaxEpoch(2)
    copied = classifier.copy()
    assert copied.getValidation() == classifier.getValidation()
    maps = [{classifier.earlyStopping: EarlyStopping("Top1Accuracy", 1, 1.0)}, {classifier.validation: None}]
    stopped, without = classifier.fit(train, maps)
    assert len(stopped.summary.validations) == 2
    assert without.summary.validations == ()
    copied.setValidation(EveryEpoch(), train, METHODS, 8)
    assert classifier.getValidation()[1] is held


def test_the_dataframe_is_not_saved(classifier, points, tmp_path):
    classifier.setValidation(EveryEpoch(), points, [Top1Accuracy(), Loss(ClassNLLCriterion())], 80)
    classifier.write().save(str(tmp_path / "stage"))
    loaded = NNClassifier.load(str(tmp_path / "stage"))
    trigger, frame, methods, batch_size = loaded.getValidation()
    assert (type(trigger), frame, [m.name for m in methods], batch_size) == (
        EveryEpoch,
        None,
        ["Top1Accuracy", "Loss"],
        80,
    )
    with pytest.raises(ArgumentError, match=r"must have its DataFrame.* or clear\(estimator.validation\)"):
        loaded.fit(points)
    loaded.setValidation(trigger, points, methods, batch_size).setMaxEpoch(1)
    assert len(loaded.fit(points).summary.validations) == 1
    with pytest.raises(ModelFileError, match="exists already"):
        classifier.save(str(tmp_path / "stage"))
