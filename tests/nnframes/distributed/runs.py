"""Trainings with the real engine that together hold all that could make bits differ, and what came of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from pyspark.sql import SparkSession

from featurelib import ChainedPreprocessing
from featurelib.image import ImageBytesToMat, ImageChannelNormalize, ImageMatToTensor, ImageRandomTranslate
from featurelib.image.functional import encode_png
from nnframes import NNClassifier
from nnframes.nn import (
    BatchNormalization,
    ClassNLLCriterion,
    Dropout,
    L1Regularizer,
    L2Regularizer,
    Linear,
    LogSoftMax,
    LookupTable,
    ReLU,
    Reshape,
    Sequential,
    SpatialBatchNormalization,
    SpatialConvolution,
    SpatialMaxPooling,
)
from nnframes.nn.walk import parameters_in
from nnframes.optim import SGD, Adam, LarsSGD
from tests.nnframes.distributed.cluster import own_spark

ROWS, CLASSES, IDS = 101, 3, 30
SCHEMA = "numbers array<float>, words array<float>, image binary, label double"


class Run(NamedTuple):
    """A column with its network, the optim method, the bounds of both clippings (None: without), the shards."""

    column: str
    method: object
    norm: float | None
    bound: float | None
    shards: int


MOMENTUM = SGD(0.05, momentum=0.9, learningrate_decay=0.01)

RUNS = {
    "numbers-2": Run("numbers", MOMENTUM, 0.5, None, 2),
    "numbers-3": Run("numbers", LarsSGD(0.02, 0.5), None, 0.02, 3),
    "numbers-4": Run("numbers", Adam(0.01), 0.5, 0.02, 4),
    "words-2": Run("words", MOMENTUM, 0.5, None, 2),
    "words-3": Run("words", Adam(0.01), 0.5, 0.02, 3),
    "words-4": Run("words", LarsSGD(0.1, 0.1, weightdecay=0.01), None, None, 4),
    "image-2": Run("image", Adam(0.01), 0.5, None, 2),
    "image-3": Run("image", MOMENTUM, None, 0.02, 3),
    "image-4": Run("image", Adam(0.01), 0.5, 0.02, 4),
}


def rows() -> list[tuple]:
    rng = np.random.default_rng(11)
    made = []
    for _ in range(ROWS):
        label = int(rng.integers(CLASSES))
        numbers = rng.normal(label, 1.0, 10).astype(np.float32)
        words = rng.integers(label, IDS, 6).astype(np.float32)
        picture = rng.integers(60 * label, 60 * label + 100, (10, 10), np.uint8)
        made.append((numbers.tolist(), words.tolist(), bytearray(encode_png(picture)), float(label)))
    return made


def frame_of(spark: SparkSession):
    return spark.createDataFrame(rows(), SCHEMA)


def network_of(column: str) -> Sequential:
    """Every network ends alike: a regularised layer, batch norm, dropout, a regularised layer."""
    net, width, inputs = Sequential(), 20, {"numbers": 10, "words": 24, "image": 64}[column]
    # Before a batch norm a bias has no gradient but the regulariser's.
    small = L1Regularizer(0.001)
    if column == "words":
        net.add(LookupTable(IDS, 4, wRegularizer=L2Regularizer(0.01))).add(Reshape([inputs]))
    elif column == "image":
        net.add(SpatialConvolution(1, 4, 3, 3, bRegularizer=small)).add(SpatialBatchNormalization(4)).add(ReLU())
        net.add(SpatialMaxPooling(2, 2, 2, 2)).add(Reshape([inputs]))
    net.add(Linear(inputs, width, bRegularizer=small)).add(BatchNormalization(width)).add(ReLU()).add(Dropout(0.3))
    return net.add(Linear(width, CLASSES, wRegularizer=L2Regularizer(0.01))).add(LogSoftMax())


def classifier(run: Run, seed: int = 5) -> NNClassifier:
    stages = [
        ImageBytesToMat(image_codec=0),
        ImageRandomTranslate(2, 2),
        ImageChannelNormalize(128, 128, 128, 64, 64, 64),
        ImageMatToTensor(),
    ]
    preprocessing = ChainedPreprocessing(stages) if run.column == "image" else None
    criterion = ClassNLLCriterion(np.array([0.5, 1.0, 2.0], np.float32))
    made = NNClassifier(network_of(run.column), criterion, preprocessing).setFeaturesCol(run.column)
    made.setOptimMethod(run.method).setBatchSize(24).setMaxEpoch(2).setNumShards(run.shards).setThreadsPerShard(1)
    if run.norm is not None:
        made.setGradientClippingByL2Norm(run.norm)
    if run.bound is not None:
        made.setConstantGradientClipping(-run.bound, run.bound)
    return made.setSeed(seed).setShowProgress(False)


def fitted(name: str, frame, seed: int = 5) -> list[np.ndarray]:
    """All that the fit of a run has learned: weights, tables, statistics of batch norm; in the order of the layers."""
    model = classifier(RUNS[name], seed).fit(frame)
    assert model.summary.rows == ROWS
    return [parameter.value for _, parameter in parameters_in(model.model)]


def digest(arrays: Iterable[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def digests(master: str, folder: str, names: list[str]) -> dict[str, str]:
    """What came of some runs on a Spark of its own, for a fresh process."""
    with own_spark(master, folder) as spark:
        frame = frame_of(spark).repartition(2).cache()
        return {name: digest(fitted(name, frame)) for name in names}
