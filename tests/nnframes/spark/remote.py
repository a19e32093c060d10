"""What is tried on Spark Connect, for tests that run it in a fresh process: a classic session beside it disturbs."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[3]
ROWS = 37


def keeper():
    """A listener that keeps what it hears."""
    from nnframes.train import Listener

    class _Keeper(Listener):
        def __init__(self):
            self.heard = []

        def on_start(self, settings, state):
            self.heard.append(["start", asdict(state)])

        def on_iteration(self, state):
            self.heard.append(["iteration", asdict(state)])

        def on_epoch(self, state):
            self.heard.append(["epoch", asdict(state)])

        def on_end(self, state):
            self.heard.append(["end", asdict(state)])

    return _Keeper()


def softmax_fit(spark, folder, fault=None, padding=0, extra=0, listener=None, plan=None, **changes):
    import json

    from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark
    from nnframes.train import MaxEpoch
    from tests.nnframes.distributed import softmax

    frame = spark.createDataFrame(softmax.rows_of(ROWS), "features array<float>, label double")
    payload = json.dumps({"extra": extra, "fault": fault}).encode() + b" " * padding
    values = {"batch_size": 8, "end_when": MaxEpoch(2), "shards": 2, "seed": 3, "cache_folder": str(folder)}
    settings = FitSettings(**{**values, **changes})
    source = ReplicaSource(softmax.load, payload)
    return fit_on_spark(frame, softmax.plan_of(**(plan or {})), settings, source, listener=listener)


def softmax_cases(spark, folder):
    """Weights, number of tasks and progress of some fits."""
    from nnframes.distributed.cache import CacheLevel
    from tests.nnframes.distributed.cluster import digest

    found = {}
    for name, case in {
        "one": {"shards": 1},
        "two": {"shards": 2, "padding": 2 << 20},
        "three, sliced": {"shards": 3, "extra": 200_000},
        "two, a group for each epoch": {"shards": 2, "cache_level": CacheLevel.of("DIRECT")},
    }.items():
        listener = keeper()
        result = softmax_fit(spark, folder, listener=listener, **case)
        left = sorted(path.name for path in Path(folder).glob("*/*"))
        found[name] = {"tasks": result.tasks, "weights": digest(result.weights), "heard": listener.heard, "left": left}
    return found


def classifier(spark, count):
    """A classifier and a DataFrame to fit it on."""
    from nnframes import NNClassifier
    from nnframes.nn import ClassNLLCriterion
    from nnframes.optim import Adam
    from tests.nnframes.spark.conftest import small_network

    frame = points(spark, count)
    estimator = NNClassifier(small_network(), ClassNLLCriterion()).setOptimMethod(Adam(0.03)).setNumShards(2)
    return estimator.setBatchSize(48).setMaxEpoch(3).setShowProgress(False).setProbabilityCol("chance"), frame


def points(spark, count):
    from pyspark.ml.linalg import Vectors, VectorUDT
    from pyspark.sql.types import DoubleType, LongType, StructField, StructType

    rng = np.random.default_rng(7)
    x = rng.normal(size=(count, 4))
    labels = (x[:, 0] > 0).astype(float) + (x[:, 1] > 0)
    names = [("id", LongType()), ("features", VectorUDT()), ("label", DoubleType())]
    names += [(name, DoubleType()) for name in "abcd"]
    rows = [
        (number, Vectors.dense(row), float(label), *map(float, row))
        for number, (row, label) in enumerate(zip(x, labels, strict=True))
    ]
    return spark.createDataFrame(rows, StructType([StructField(*name) for name in names])).repartition(3, "id")


def stage_cases(spark, folder, others):
    """Fit, transform, SQL, save, load of a classifier; `others` is where another kind of session saved its model."""
    from nnframes.nn import parameters_in
    from nnframes.train import EveryEpoch, Loss, Top1Accuracy, TrainSummary, ValidationSummary

    estimator, frame = classifier(spark, 240)
    watched = estimator.copy().setValidation(EveryEpoch(), frame.where("id < 50"), [Top1Accuracy(), Loss()], 20)
    watched.setTrainSummary(TrainSummary(folder, "net")).setValidationSummary(ValidationSummary(folder, "net"))
    model = watched.setCheckpoint(f"{folder}/snapshots", EveryEpoch()).setEarlyStopping("Loss", 9).fit(frame)
    resumed = watched.setResume(True).fit(frame)
    summaries = [asdict(fitted.summary) for fitted in (model, resumed)]
    return {
        "weights": {path: parameter.value.tobytes().hex() for path, parameter in parameters_in(model.model)},
        "reasons": [summary.pop("reason") for summary in summaries],
        "summary": json.loads(json.dumps(summaries)),
        "curves": [
            watched.getTrainSummary().read_scalar("Loss")[:, :2].tolist(),
            watched.getValidationSummary().read_scalar("Loss")[:, :2].tolist(),
        ],
        **scores(spark, model, frame),
        **saved(estimator, model, frame, folder, others),
    }


def scores(spark, model, frame):
    """What the ways to score give, and how many files they sent."""
    from nnframes import as_udf, register

    shipped = []
    send = spark.addArtifacts
    spark.addArtifacts = lambda *paths, **kinds: (shipped.append(paths), send(*paths, **kinds))
    try:
        scored = rows(model.transform(frame), "prediction", "chance")
        register(spark, "digit", model)
        frame.createOrReplaceTempView("points")
        by_sql = rows(spark.sql("SELECT id, digit(features) AS prediction FROM points"), "prediction")
        by_udf = rows(frame.withColumn("prediction", as_udf(model, spark)("features")), "prediction")
    finally:
        del spark.addArtifacts
    return {"scored": scored, "sql": by_sql, "udf": by_udf, "shipped": len(shipped)}


def saved(estimator, model, frame, folder, others):
    """What comes back from files, and what a second save says."""
    from nnframes import NNClassifier, NNClassifierModel

    path = f"{folder}/model"
    model.save(path)
    try:
        model.save(path)
        again = "saved"
    except Exception as error:
        again = f"{type(error).__name__}: {error}"
    model.write().overwrite().save(path)
    estimator.write().overwrite().save(f"{folder}/estimator")
    trainer = NNClassifier.load(f"{folder}/estimator")
    return {
        "again": again,
        "loaded": rows(NNClassifierModel.load(path).transform(frame), "prediction", "chance"),
        "of another": rows(NNClassifierModel.load(others or path).transform(frame), "prediction", "chance"),
        "trainer": [trainer.uid == estimator.uid, trainer.getBatchSize(), type(trainer.getOptimMethod()).__name__],
    }


def rows(frame, *columns):
    collected = frame.select("id", *columns).orderBy("id").collect()
    return [[float(v) if np.isscalar(v) else v.toArray().tolist() for v in row[1:]] for row in collected]


def pipeline_cases(spark, folder):
    """A pipeline of a stage of Spark's own and ours: fit, transform, save, load."""
    from pyspark.ml import Pipeline, PipelineModel
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.feature import VectorAssembler

    estimator, frame = classifier(spark, 240)
    assembler = VectorAssembler(inputCols=list("abcd"), outputCol="numbers")
    estimator.setFeaturesCol("numbers")
    fitted = Pipeline(stages=[assembler, estimator]).fit(frame)
    scored = fitted.transform(frame)
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(scored)
    fitted.write().overwrite().save(f"{folder}/pipeline")
    loaded = PipelineModel.load(f"{folder}/pipeline")
    return {
        "scored": rows(scored, "prediction"),
        "loaded": rows(loaded.transform(frame), "prediction"),
        "accuracy": accuracy,
        "stages": [type(stage).__name__ for stage in loaded.stages],
    }


def own_cases(spark, folder):
    """A layer that is defined here, as in a notebook, trained on and scoring a Parquet file with vectors."""
    from kernels import ops
    from nnframes import register
    from nnframes.nn import Layer, Linear, register_class

    @register_class
    class Sine(Layer):
        def __init__(self, size):
            self.size = size
            self.inner = Linear(size, size)

        def call(self, t, x):
            return ops.tanh(t.run(self.inner, ops.affine(x, 0.5, 0.0)))

    estimator, frame = classifier(spark, 240)
    estimator.model.add(Sine(3))
    frame.write.mode("overwrite").parquet(f"{folder}/points.parquet")
    stored = spark.read.parquet(f"{folder}/points.parquet")
    model = estimator.fit(stored)
    register(spark, "own", model)
    stored.createOrReplaceTempView("stored")
    return {
        "scored": rows(model.transform(stored), "prediction", "chance"),
        "sql": rows(spark.sql("SELECT *, own(features) AS prediction FROM stored"), "prediction"),
    }


def text_cases(spark, folder):
    """Words numbered, in a column and in SQL, by a stage and by one that was saved, and by a set."""
    from nnframes import DistributedTextSet, TextIndexer, TextIndexerModel, register

    frame = spark.createDataFrame([(0, "To be, or not to be"), (1, "not"), (2, "")], "id long, text string")
    model = TextIndexer(length=4).fit(frame)
    model.write().overwrite().save(f"{folder}/words")
    TextIndexer().write().overwrite().save(f"{folder}/indexer")
    register(spark, "numbered", model)
    frame.createOrReplaceTempView("texts")
    by = {
        "stage": model.transform(frame),
        "sql": spark.sql("SELECT id, numbered(text) AS ids FROM texts"),
        "loaded": TextIndexerModel.load(f"{folder}/words").transform(frame),
        "again": TextIndexer.load(f"{folder}/indexer").setLength(4).fit(frame).transform(frame),
    }
    texts = DistributedTextSet(frame.withColumnRenamed("id", "uri")).tokenize().normalize().word2idx()
    by["set"] = texts.shape_sequence(4).to_df().selectExpr("uri AS id", "indexedTokens AS ids")
    return {name: [row.ids for row in numbered.orderBy("id").collect()] for name, numbered in by.items()}


FAULTS = {
    "raise": {"fault": {"kind": "raise", "shard": 1, "iteration": 2}},
    "die": {"fault": {"kind": "die", "shard": 1, "iteration": 2}},
    "hang": {"fault": {"kind": "hang", "shard": 1, "iteration": 2, "seconds": 20}, "deadline": 1.0},
    "data": {"plan": {"bad": 1}},
    "slots": {"shards": 3, "arrival_timeout": 2.0},
}


def fault_cases(spark, folder):
    """What fits that fail say, and what they leave."""
    from nnframes.distributed import group

    group.ARRIVALS = 2  # in a process of its own
    found = {}
    for name, case in FAULTS.items():
        if name == "slots":
            # Spark says three slots, and has two.
            spark.conf.set("spark.sql.leafNodeDefaultParallelism", "3")
        try:
            softmax_fit(spark, folder, **case)
            said = ["none", ""]
        except Exception as error:
            said = [type(error).__name__, str(error)]
        finally:
            spark.conf.unset("spark.sql.leafNodeDefaultParallelism")
        left = sorted(path.name for path in Path(folder).rglob("*") if path.parent != Path(folder))
        found[name] = {"said": said, "left": left}
    result = softmax_fit(spark, folder)
    found["after"] = result.tasks
    return found


@contextmanager
def remote_session(folder, more: Mapping[str, str] | None = None) -> Iterator[SparkSession]:
    # Where Spark tests itself its server takes a free port, elsewhere always the same.
    testing = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_TESTING": "1"}
    os.environ.update(PYSPARK_PYTHON=sys.executable, PYTHONPATH=str(ROOT), **testing)
    settings = {
        "spark.ui.enabled": "false",
        "spark.log.level": "OFF",
        "spark.sql.shuffle.partitions": "2",
        "spark.local.dir": f"{folder}/local",
        "spark.sql.warehouse.dir": f"{folder}/warehouse",
        **(more or {}),
    }
    builder = SparkSession.builder.remote("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


@contextmanager
def gangs() -> Iterator[list]:
    """Collect what the tasks of each group are given."""
    from nnframes.distributed import connect

    tasks, rows_of_gang = [], connect.gang_rows
    connect.gang_rows = lambda session, task: (tasks.append(task), rows_of_gang(session, task))[1]
    try:
        yield tasks
    finally:
        connect.gang_rows = rows_of_gang


def watched(spark, folder):
    """The fits of `softmax_cases`, and every address that this process listened at meanwhile."""
    bound, hearing = [], [True]
    sys.addaudithook(lambda event, args: bound.append(str(args[1])) if event == "socket.bind" and hearing else None)
    try:
        with gangs() as tasks:
            found = softmax_cases(spark, folder)
    finally:
        hearing.clear()
    return {"fits": found, "bound": bound, "addresses": [task.address for task in tasks]}


def on_connect(folder: str, others: str) -> dict:
    """All cases in one session; a case that breaks gives its traceback."""
    cases = {
        "watched": lambda spark: watched(spark, f"{folder}/cache"),
        "stages": lambda spark: stage_cases(spark, folder, others),
        "pipeline": lambda spark: pipeline_cases(spark, folder),
        "own": lambda spark: own_cases(spark, folder),
        "text": lambda spark: text_cases(spark, folder),
        "faults": lambda spark: fault_cases(spark, f"{folder}/faults"),
    }
    Path(folder, "faults").mkdir()
    found = {}
    with remote_session(folder) as spark:
        for name, case in cases.items():
            try:
                found[name] = case(spark)
            except Exception:
                found[name] = {"broken": traceback.format_exc()}
    return found


def encrypted_fit(folder: str) -> dict:
    """A fit where the server encrypts: its bits, and whether each group was given a certificate to meet with."""
    from tests.nnframes.distributed.cluster import digest

    settings = {"spark.authenticate": "true", "spark.network.crypto.enabled": "true"}
    with remote_session(folder, settings) as spark, gangs() as tasks:
        result = softmax_fit(spark, f"{folder}/cache", padding=2 << 20)
    encrypted = [task.secret.certificate is not None for task in tasks]
    return {"tasks": result.tasks, "weights": digest(result.weights), "encrypted": encrypted}
