"""One row per stage: how to make it, and a value other than the default for each of its params.

To add a stage, add its row here; `test_stages.py` checks params, copies and persistence of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from featurelib import SeqToTensor
from nnframes import NNClassifier, NNClassifierModel, NNEstimator, NNModel, TextIndexer, TextIndexerModel
from nnframes.io.background import CheckpointSettings
from nnframes.nn import ClassNLLCriterion, Linear, LogSoftMax, MSECriterion, ReLU, Sequential
from nnframes.optim import SGD, Adam, Step
from nnframes.train import (
    EarlyStopping,
    EveryEpoch,
    Loss,
    MaxEpoch,
    MaxIteration,
    MinLoss,
    SeveralIteration,
    Top1Accuracy,
    TrainSummary,
    TriggerOr,
    ValidationSettings,
    ValidationSummary,
)

__all__ = ["BAD_VALUES", "DEFAULTS", "NETWORKS", "STAGES", "VALUES", "StageCase", "network"]


def network() -> Sequential:
    """A small network from (batch, 4) to log-probabilities of three classes."""
    return Sequential().add(Linear(4, 8)).add(ReLU()).add(Linear(8, 3)).add(LogSoftMax())


@dataclass(frozen=True)
class StageCase:
    """A stage and what is special about it."""

    make: Callable[[], Any]
    defaults: dict[str, Any] = field(default_factory=dict)
    objects: tuple[str, ...] = ()


STAGES = {
    "NNEstimator": StageCase(
        lambda: NNEstimator(Linear(4, 1), MSECriterion(), [4], SeqToTensor([1])),
        objects=("criterion", "feature_preprocessing", "label_preprocessing"),
    ),
    "NNClassifier": StageCase(
        lambda: NNClassifier(network(), ClassNLLCriterion(size_average=False), [4]),
        objects=("criterion", "feature_preprocessing"),
    ),
    "NNModel": StageCase(
        lambda: NNModel(network(), [4]), defaults={"batchSize": 256}, objects=("feature_preprocessing",)
    ),
    "NNClassifierModel": StageCase(
        lambda: NNClassifierModel(network()), defaults={"batchSize": 256}, objects=("feature_preprocessing",)
    ),
    "TextIndexer": StageCase(TextIndexer, objects=()),
    "TextIndexerModel": StageCase(lambda: TextIndexerModel(["to", "be", "été"]), objects=("words",)),
}

NETWORKS = [name for name in STAGES if name.startswith("NN")]

DEFAULTS: dict[str, Any] = {
    "featuresCol": "features",
    "labelCol": "label",
    "predictionCol": "prediction",
    "probabilityCol": "",
    "rawPredictionCol": "",
    "batchSize": 32,
    "maxEpoch": 50,
    "endWhen": None,
    "optimMethod": SGD(),
    "learningRate": 1e-3,
    "learningRateDecay": 0.0,
    "cachingSample": True,
    "dataCacheLevel": "DRAM",
    "cacheFolder": "",
    "seed": 0,
    "numShards": 0,
    "threadsPerShard": 1,
    "gradientCompression": "none",
    "threshold": 0.5,
    "labels": [],
    "samplePreprocessing": None,
    "constantGradientClipping": None,
    "gradientClippingByL2Norm": None,
    "handleInvalid": "error",
    "validation": None,
    "earlyStopping": None,
    "checkpoint": None,
    "resume": False,
    "trainSummary": None,
    "validationSummary": None,
    "showProgress": True,
    "syncMode": "auto",
    "deadline": 60.0,
    "inputCol": "text",
    "outputCol": "ids",
    "length": 100,
    "truncMode": "pre",
    "minFreq": 1,
    "maxWords": 262144,
    "removeTop": 0,
}

VALUES: dict[str, Any] = {
    "featuresCol": "x",
    "labelCol": "y",
    "predictionCol": "p",
    "probabilityCol": "probability",
    "rawPredictionCol": "raw",
    "batchSize": 7,
    "maxEpoch": 3,
    "endWhen": TriggerOr(MaxIteration(5), MinLoss(0.1), MaxEpoch(2)),
    "optimMethod": Adam(0.01, beta1=0.8),
    "learningRate": 0.5,
    "learningRateDecay": 0.25,
    "cachingSample": False,
    "dataCacheLevel": ("DISK_AND_DRAM", 3),
    "cacheFolder": "/data/scratch",
    "seed": 42,
    "numShards": 3,
    "threadsPerShard": 2,
    "gradientCompression": "bf16",
    "threshold": 0.75,
    "labels": ["cat", "dog", "ant"],
    "samplePreprocessing": SeqToTensor([2, 2]),
    "constantGradientClipping": [-1.0, 1.5],
    "gradientClippingByL2Norm": 2.5,
    "handleInvalid": "skip",
    "validation": ValidationSettings(SeveralIteration(5), [Top1Accuracy(), Loss(ClassNLLCriterion())], 16),
    "earlyStopping": EarlyStopping("Top1Accuracy", 3, 0.01, False),
    "checkpoint": CheckpointSettings("snapshots", TriggerOr(EveryEpoch(), SeveralIteration(7)), False),
    "resume": True,
    "trainSummary": TrainSummary("logs", "net").set_summary_trigger("Loss", SeveralIteration(10)),
    "validationSummary": ValidationSummary("logs", "net"),
    "showProgress": False,
    "syncMode": "job",
    "deadline": 7.5,
    "inputCol": "question",
    "outputCol": "numbers",
    "length": 40,
    "truncMode": "post",
    "minFreq": 2,
    "maxWords": 20000,
    "removeTop": 5,
}
"""Objects that hold others are among the values: `SGD(learningrate_schedule=Step(...))` is in OTHER_OPTIM."""

OTHER_OPTIM = SGD(0.1, momentum=0.9, dampening=0.0, nesterov=True, learningrate_schedule=Step(10, 0.5))

BAD_VALUES: dict[str, list[tuple[Any, str]]] = {
    "featuresCol": [("", "featuresCol must be the name of a column. Received: ''."), (3, "Received: 3.")],
    "labelCol": [(None, "labelCol must be the name of a column. Received: None.")],
    "predictionCol": [("", "predictionCol must be the name of a column")],
    "probabilityCol": [(1, "probabilityCol must be the name of a column, or '' for none. Received: 1.")],
    "rawPredictionCol": [(None, "rawPredictionCol must be the name of a column, or '' for none. Received: None.")],
    "batchSize": [
        (0, "batchSize must be a whole number >= 1. Received: 0."),
        (-4, "batchSize must be a whole number >= 1. Received: -4."),
        (2.5, "batchSize must be a whole number >= 1. Received: 2.5."),
        ("8", "batchSize must be a whole number >= 1. Received: '8'."),
        (True, "batchSize must be a whole number >= 1. Received: True."),
        (None, "batchSize must be a whole number >= 1. Received: None."),
        (float("nan"), "batchSize must be a whole number >= 1. Received: nan."),
        (float("inf"), "batchSize must be a whole number >= 1. Received: inf."),
    ],
    "maxEpoch": [(0, "maxEpoch must be a whole number >= 1. Received: 0.")],
    "endWhen": [(5, "endWhen must be a Trigger. Received: 5.")],
    "optimMethod": [
        ("adam", "optimMethod must be an OptimMethod. Received: 'adam'."),
        (SGD, "Hint: SGD(...)."),
    ],
    "learningRate": [(0.0, "learningRate must be > 0. Received: 0.0."), ("1", "learningRate must be > 0.")],
    "learningRateDecay": [(-0.1, "learningRateDecay must be >= 0. Received: -0.1.")],
    "cachingSample": [(1, "cachingSample must be True or False. Received: 1.")],
    "dataCacheLevel": [
        ("ssd", "The data cache level must be one of DRAM, DISK_AND_DRAM, DIRECT. Received: 'ssd'."),
        ("pmem", "Received: 'PMEM': persistent memory is no longer made. Hint: setDataCacheLevel('DISK_AND_DRAM', 4)"),
        (("DRAM", 4), "numSlice must be left out for the data cache level DRAM. Received: 4."),
        (("DISK_AND_DRAM", 0), "numSlice must be a whole number >= 1. Received: 0."),
        (("DISK_AND_DRAM", 2.5), "numSlice must be a whole number >= 1. Received: 2.5."),
        ((), "dataCacheLevel must be a level, or (level, numSlice). Received: ()."),
        (None, "The data cache level must be one of DRAM, DISK_AND_DRAM, DIRECT. Received: None."),
    ],
    "cacheFolder": [(3, "cacheFolder must be a path, '' for the default. Received: 3.")],
    "seed": [(-1, "seed must be a whole number >= 0. Received: -1.")],
    "numShards": [(-1, "numShards must be a whole number >= 0. Received: -1.")],
    "threadsPerShard": [(0, "threadsPerShard must be a whole number >= 1. Received: 0.")],
    "gradientCompression": [("int8", "gradientCompression must be one of none, bf16, fp16. Received: 'int8'.")],
    "threshold": [(1.5, "threshold must be >= 0 and <= 1. Received: 1.5."), (float("nan"), "threshold must be")],
    "labels": [
        (["a", "a"], "labels must be a list of different strings, [] for none. Received: ['a', 'a']."),
        ("ab", "Received: 'ab'."),
        ([1], "Received: [1]."),
    ],
    "samplePreprocessing": [([2, 2], r"samplePreprocessing must be a Preprocessing. Received: [2, 2].")],
    "constantGradientClipping": [([1.0], "constantGradientClipping must be [min, max]. Received: [1.0].")],
    "gradientClippingByL2Norm": [(0, "gradientClippingByL2Norm must be > 0. Received: 0.")],
    "handleInvalid": [("drop", "handleInvalid must be one of error, skip, keep. Received: 'drop'.")],
    "validation": [(5, "validation must be a ValidationSettings. Received: 5.")],
    "earlyStopping": [("Loss", "earlyStopping must be an EarlyStopping. Received: 'Loss'.")],
    "checkpoint": [("path", "checkpoint must be a CheckpointSettings. Received: 'path'.")],
    "resume": [(1, "resume must be True or False. Received: 1.")],
    "trainSummary": [("logs", "trainSummary must be a TrainSummary. Received: 'logs'.")],
    "validationSummary": [(TrainSummary("logs", "net"), "validationSummary must be a ValidationSummary. Received:")],
    "deadline": [(0, "deadline must be > 0. Received: 0."), ("1 min", "deadline must be > 0.")],
    "syncMode": [("ring", "syncMode must be one of auto, group, job. Received: 'ring'.")],
    "showProgress": [("no", "showProgress must be True or False. Received: 'no'.")],
    "inputCol": [("", "inputCol must be the name of a column. Received: ''.")],
    "outputCol": [(None, "outputCol must be the name of a column. Received: None.")],
    "length": [(0, "length must be a whole number >= 1. Received: 0.")],
    "truncMode": [("mid", "truncMode must be one of pre, post. Received: 'mid'.")],
    "minFreq": [(0, "minFreq must be a whole number >= 1. Received: 0.")],
    "maxWords": [(-1, "maxWords must be a whole number >= 1. Received: -1.")],
    "removeTop": [(-1, "removeTop must be a whole number >= 0. Received: -1.")],
}
