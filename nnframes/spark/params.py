"""The mixins that give stages their params: a setter that returns the stage and a getter each.

A value is converted and checked by the table of `nnframes.spark.specs` when it is set, by a `ParamGridBuilder` too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pyspark.ml.param import Param, Params

from featurelib.base import Preprocessing
from nnframes.optim import SGD, ConstantClipping, L2NormClipping, OptimMethod
from nnframes.spark.specs import SPECS
from nnframes.train import Trigger

__all__ = [
    "HasBatchSize",
    "HasFeaturesCol",
    "HasGradientClipping",
    "HasHandleInvalid",
    "HasLabelCol",
    "HasLabels",
    "HasPredictionCol",
    "HasProbabilityCols",
    "HasSamplePreprocessing",
    "HasSharding",
    "HasThreshold",
    "HasTraining",
    "StageParams",
    "check_params",
]

Self = TypeVar("Self", bound="StageParams")


def _param(name: str) -> Param[Any]:
    spec = SPECS[name]
    return Param(Params._dummy(), name, spec.doc, lambda value: spec.convert(name, value))


def check_params(stage: Params) -> None:
    """Raise `ArgumentError` for a value that does not fit; `fit(df, {param: None})` passes the setters by."""
    for param, value in stage._paramMap.items():
        SPECS[param.name].convert(param.name, value)


class StageParams(Params):
    """Base of the mixins: defaults from the table, setters that return the stage."""

    def _put(self: Self, **values: Any) -> Self:
        for name, value in values.items():
            # Params._set does not convert None, which unsets a param without a default.
            converted = SPECS[name].convert(name, value)
            if converted is None:
                self.clear(self.getParam(name))
            else:
                self._set(**{name: converted})
        return self

    def _start(self, **defaults: Any) -> None:
        for param in self.params:
            self._setDefault(**{param.name: defaults.get(param.name, SPECS[param.name].default)})

    def _value(self, name: str) -> Any:
        return self.getOrDefault(self.getParam(name))


class HasFeaturesCol(StageParams):
    """featuresCol: the column that the network's inputs are made of."""

    featuresCol = _param("featuresCol")

    def setFeaturesCol(self: Self, value: str) -> Self:
        """Set the features column: numbers, arrays, vectors, encoded images or Spark image structs."""
        return self._put(featuresCol=value)

    def getFeaturesCol(self) -> str:
        """Return the features column."""
        return self._value("featuresCol")


class HasLabelCol(StageParams):
    """labelCol: the column with the targets."""

    labelCol = _param("labelCol")

    def setLabelCol(self: Self, value: str) -> Self:
        """Set the label column: numbers (classes count from 0), arrays or vectors."""
        return self._put(labelCol=value)

    def getLabelCol(self) -> str:
        """Return the label column."""
        return self._value("labelCol")


class HasPredictionCol(StageParams):
    """predictionCol: the column that transform appends."""

    predictionCol = _param("predictionCol")

    def setPredictionCol(self: Self, value: str) -> Self:
        """Set the name of the prediction column; it must not exist."""
        return self._put(predictionCol=value)

    def getPredictionCol(self) -> str:
        """Return the prediction column."""
        return self._value("predictionCol")


class HasProbabilityCols(StageParams):
    """probabilityCol and rawPredictionCol: vectors that Spark's evaluators read; appended when named."""

    probabilityCol = _param("probabilityCol")
    rawPredictionCol = _param("rawPredictionCol")

    def setProbabilityCol(self: Self, value: str) -> Self:
        """Set the column for the probabilities of all classes; '' for none."""
        return self._put(probabilityCol=value)

    def getProbabilityCol(self) -> str:
        """Return the probability column, '' for none."""
        return self._value("probabilityCol")

    def setRawPredictionCol(self: Self, value: str) -> Self:
        """Set the column for the network's outputs; '' for none."""
        return self._put(rawPredictionCol=value)

    def getRawPredictionCol(self) -> str:
        """Return the raw prediction column, '' for none."""
        return self._value("rawPredictionCol")


class HasThreshold(StageParams):
    """threshold: where one output, or the second of two classes, means class 1."""

    threshold = _param("threshold")

    def setThreshold(self: Self, value: float) -> Self:
        """Set the threshold, in [0, 1]."""
        return self._put(threshold=value)

    def getThreshold(self) -> float:
        """Return the threshold."""
        return self._value("threshold")


class HasLabels(StageParams):
    """labels: the names of the classes, which travel with the prediction column."""

    labels = _param("labels")

    def setLabels(self: Self, value: Sequence[str]) -> Self:
        """Set the names of classes 0, 1, ...; [] for none."""
        return self._put(labels=value)

    def getLabels(self) -> list[str]:
        """Return the names of the classes, [] for none."""
        return self._value("labels")


class HasBatchSize(StageParams):
    """batchSize: rows that are computed together."""

    batchSize = _param("batchSize")

    def setBatchSize(self: Self, value: int) -> Self:
        """Set the batch size, >= 1; the data need not be a multiple of it."""
        return self._put(batchSize=value)

    def getBatchSize(self) -> int:
        """Return the batch size."""
        return self._value("batchSize")


class HasSamplePreprocessing(StageParams):
    """samplePreprocessing: from a value of the feature column to the network's input."""

    samplePreprocessing = _param("samplePreprocessing")

    def setSamplePreprocessing(self: Self, value: Preprocessing | None) -> Self:
        """Set the preprocessing that replaces the constructor's `feature_preprocessing`; None for that one.

        `FeatureLabelPreprocessing` replaces an estimator's `label_preprocessing` as well.
        """
        return self._put(samplePreprocessing=value)

    def getSamplePreprocessing(self) -> Preprocessing | None:
        """Return the preprocessing set here, None for the constructor's."""
        return self._value("samplePreprocessing")


class HasHandleInvalid(StageParams):
    """handleInvalid: what becomes of rows that cannot be used."""

    handleInvalid = _param("handleInvalid")

    def setHandleInvalid(self: Self, value: str) -> Self:
        """Set "error", "skip" (drop such rows) or "keep" (null prediction, which IndexToString fails on; fit drops)."""
        return self._put(handleInvalid=value)

    def getHandleInvalid(self) -> str:
        """Return the policy."""
        return self._value("handleInvalid")


class HasTraining(StageParams):
    """How long and how training runs."""

    maxEpoch = _param("maxEpoch")
    endWhen = _param("endWhen")
    optimMethod = _param("optimMethod")
    learningRate = _param("learningRate")
    learningRateDecay = _param("learningRateDecay")
    cachingSample = _param("cachingSample")
    dataCacheLevel = _param("dataCacheLevel")
    cacheFolder = _param("cacheFolder")
    showProgress = _param("showProgress")
    syncMode = _param("syncMode")
    deadline = _param("deadline")

    def setMaxEpoch(self: Self, value: int) -> Self:
        """Set the number of epochs, >= 1. Not together with `setEndWhen`."""
        return self._put(maxEpoch=value)

    def getMaxEpoch(self) -> int:
        """Return the number of epochs."""
        return self._value("maxEpoch")

    def setEndWhen(self: Self, value: Trigger | None) -> Self:
        """Set the trigger that ends training; None for maxEpoch."""
        return self._put(endWhen=value)

    def getEndWhen(self) -> Trigger | None:
        """Return the trigger set here, None for maxEpoch."""
        return self._value("endWhen")

    def setOptimMethod(self: Self, value: OptimMethod | None) -> Self:
        """Set the optim method; None for plain `SGD()`."""
        return self._put(optimMethod=value)

    def getOptimMethod(self) -> OptimMethod:
        """Return the optim method."""
        return self._value("optimMethod") or SGD()

    def setLearningRate(self: Self, value: float) -> Self:
        """Set the learning rate, > 0; it takes the place of the optim method's own."""
        return self._put(learningRate=value)

    def getLearningRate(self) -> float:
        """Return the learning rate set here, or 1e-3, which leaves the optim method's own in force."""
        return self._value("learningRate")

    def setLearningRateDecay(self: Self, value: float) -> Self:
        """Set the learning rate decay, >= 0; it takes the place of the optim method's own."""
        return self._put(learningRateDecay=value)

    def getLearningRateDecay(self) -> float:
        """Return the learning rate decay set here, or 0, which leaves the optim method's own in force."""
        return self._value("learningRateDecay")

    def setCachingSample(self: Self, value: bool) -> Self:
        """Set whether preprocessed samples are kept (True), or the rows, preprocessed anew in every epoch."""
        return self._put(cachingSample=value)

    def isCachingSample(self) -> bool:
        """Return whether preprocessed samples are kept."""
        return self._value("cachingSample")

    def setDataCacheLevel(self: Self, level: str, numSlice: int | None = None) -> Self:
        """Set where samples are kept while a fit runs; the trained bits are the same at every level.

        "DRAM": in the memory file system of the executors' hosts where there is room, else on disk. "DISK_AND_DRAM":
        on disk, with 1/`numSlice` (default 4) of the data in memory at a time. "DIRECT": on disk for one epoch only,
        the DataFrame is evaluated again for the next. Letters of any case.
        """
        return self._put(dataCacheLevel=level if numSlice is None else [level, numSlice])

    def getDataCacheLevel(self) -> str | tuple[str, int]:
        """Return "DRAM", "DIRECT" or ("DISK_AND_DRAM", number of slices)."""
        value = self._value("dataCacheLevel")
        return value if isinstance(value, str) else (value[0], value[1])

    def setCacheFolder(self: Self, value: str) -> Self:
        """Set the folder on the executors' hosts that keeps the samples while a fit runs; "" for the default."""
        return self._put(cacheFolder=value)

    def getCacheFolder(self) -> str:
        """Return the folder that keeps the samples, "" for the default."""
        return self._value("cacheFolder")

    def setShowProgress(self: Self, value: bool) -> Self:
        """Set whether fit shows a progress bar."""
        return self._put(showProgress=value)

    def getShowProgress(self) -> bool:
        """Return whether fit shows a progress bar."""
        return self._value("showProgress")

    def setSyncMode(self: Self, value: str) -> Self:
        """Set how tasks work together: "group", "job" (one short Spark job per iteration) or "auto"."""
        return self._put(syncMode=value)

    def getSyncMode(self) -> str:
        """Return how tasks work together."""
        return self._value("syncMode")

    def setDeadline(self: Self, value: float) -> Self:
        """Set after how many seconds without a byte of it a task is given up, > 0: longer than one iteration takes."""
        return self._put(deadline=value)

    def getDeadline(self) -> float:
        """Return the seconds after which a silent task is given up."""
        return self._value("deadline")


class HasSharding(StageParams):
    """What the result depends on beside data and batch size: seed, shards, threads, compression of gradients."""

    seed = _param("seed")
    numShards = _param("numShards")
    threadsPerShard = _param("threadsPerShard")
    gradientCompression = _param("gradientCompression")

    def setSeed(self: Self, value: int) -> Self:
        """Set the seed, >= 0."""
        return self._put(seed=value)

    def getSeed(self) -> int:
        """Return the seed."""
        return self._value("seed")

    def setNumShards(self: Self, value: int) -> Self:
        """Set the number of shards; 0 for the task slots of the cluster (results then follow the cluster's size)."""
        return self._put(numShards=value)

    def getNumShards(self) -> int:
        """Return the number of shards, 0 for the task slots."""
        return self._value("numShards")

    def setThreadsPerShard(self: Self, value: int) -> Self:
        """Set the engine threads of each training task, >= 1."""
        return self._put(threadsPerShard=value)

    def getThreadsPerShard(self) -> int:
        """Return the engine threads of each training task."""
        return self._value("threadsPerShard")

    def setGradientCompression(self: Self, value: str) -> Self:
        """Set how gradients travel: "none", "bf16" or "fp16": half the bytes, rounded, for slow networks.

        bf16 is the faster one and has the range of float32; fp16 has three bits more and ends at 65504.
        """
        return self._put(gradientCompression=value)

    def getGradientCompression(self) -> str:
        """Return how gradients travel."""
        return self._value("gradientCompression")


class HasGradientClipping(StageParams):
    """Gradient clipping: constant, by L2 norm, or both (L2 first)."""

    constantGradientClipping = _param("constantGradientClipping")
    gradientClippingByL2Norm = _param("gradientClippingByL2Norm")

    def setConstantGradientClipping(self: Self, min: float, max: float) -> Self:
        """Clip every gradient number to [min, max]."""
        return self._put(constantGradientClipping=[min, max])

    def getConstantGradientClipping(self) -> list[float] | None:
        """Return [min, max], None without such clipping."""
        return self._value("constantGradientClipping")

    def setGradientClippingByL2Norm(self: Self, clip_norm: float) -> Self:
        """Scale the whole gradient down to this norm where it is larger, > 0."""
        return self._put(gradientClippingByL2Norm=clip_norm)

    def getGradientClippingByL2Norm(self) -> float | None:
        """Return the norm, None without such clipping."""
        return self._value("gradientClippingByL2Norm")

    def clearGradientClipping(self: Self) -> Self:
        """Drop both kinds of clipping."""
        return self._put(constantGradientClipping=None, gradientClippingByL2Norm=None)

    def _clippings(self) -> Sequence[ConstantClipping | L2NormClipping]:
        bounds, norm = self.getConstantGradientClipping(), self.getGradientClippingByL2Norm()
        constant = [] if bounds is None else [ConstantClipping(*bounds)]
        return [*([] if norm is None else [L2NormClipping(norm)]), *constant]
