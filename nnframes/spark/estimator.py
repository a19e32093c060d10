"""NNEstimator: trains a network on a DataFrame."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from dataclasses import replace
from typing import Any

from pyspark.ml import Estimator
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from featurelib.base import Preprocessing
from featurelib.config import from_config, to_config
from nnframes.distributed import FitSettings, ReplicaSource, SamplePlan, TrainResult, fit_on_spark
from nnframes.distributed.cache import CacheLevel
from nnframes.distributed.course import FitCourse, HeldOut, named
from nnframes.distributed.jobs import free_slots
from nnframes.errors import ArgumentError
from nnframes.io import model_bytes, model_from_bytes
from nnframes.io.replica_file import replica_bytes, replica_factory, replica_identity
from nnframes.nn import Criterion, Layer, parameters_in
from nnframes.nn.network import segments
from nnframes.nn.parameter import DENSE
from nnframes.optim import OPTIM_METHODS, SCHEDULES, Default, OptimMethod
from nnframes.spark.checks import DataCheck, looks_up, possible_sizes, takes_classes, tried
from nnframes.spark.columns import (
    TEXT,
    WORDS,
    check_dataframe,
    check_free,
    check_label,
    check_names,
    features_column,
    label_names,
)
from nnframes.spark.described import check_described
from nnframes.spark.features import as_preprocessing, feature_part, label_part, numbers_in, opened_by
from nnframes.spark.functions import rows_query, with_plain_vectors
from nnframes.spark.milestones import HasMilestones
from nnframes.spark.model import NNClassifierModel, NNModel, TrainingSummary
from nnframes.spark.params import (
    HasBatchSize,
    HasFeaturesCol,
    HasGradientClipping,
    HasHandleInvalid,
    HasLabelCol,
    HasPredictionCol,
    HasSamplePreprocessing,
    HasSharding,
    HasTraining,
    check_params,
)
from nnframes.spark.persistence import NetworkStage
from nnframes.spark.samples import cut, is_encoded, sample_plan
from nnframes.spark.specs import ERROR, instance
from nnframes.train import MaxEpoch, Milestones, Progress, Trigger, ValidationSettings
from nnframes.train.triggers import reads_score

__all__ = ["NNEstimator", "TrainingStage"]

_LOG = logging.getLogger("nnframes")
_INITIALISING = threading.Lock()
_HANDED_ON = (
    "featuresCol",
    "predictionCol",
    "probabilityCol",
    "rawPredictionCol",
    "threshold",
    "samplePreprocessing",
    "handleInvalid",
)


class TrainingStage(
    Estimator,
    NetworkStage,
    HasFeaturesCol,
    HasLabelCol,
    HasPredictionCol,
    HasBatchSize,
    HasTraining,
    HasSharding,
    HasGradientClipping,
    HasSamplePreprocessing,
    HasHandleInvalid,
    HasMilestones,
):
    """What both estimators share: network, criterion, preprocessing, and how they are trained."""

    _classifier: bool
    """Whether labels are class numbers whatever the criterion."""

    def __init__(
        self, model: Layer, criterion: Criterion, feature_preprocessing: Any, label_preprocessing: Any
    ) -> None:
        super().__init__()
        self.model: Layer = instance("model", model, Layer, "a layer")
        self.criterion: Criterion = instance("criterion", criterion, Criterion, "a criterion")
        self.feature_preprocessing = as_preprocessing("feature_preprocessing", feature_preprocessing)
        self.label_preprocessing = as_preprocessing("label_preprocessing", label_preprocessing)
        self._start()

    @abstractmethod
    def _model(self, layer: Layer) -> NNModel | NNClassifierModel:
        """The model that a trained network becomes."""

    def preprocessing(self) -> Preprocessing | None:
        """Return what turns feature values into the network's input: samplePreprocessing, else the constructor's."""
        return feature_part(self.getSamplePreprocessing() or self.feature_preprocessing)

    def _labels(self) -> Preprocessing | None:
        """What turns label values into targets, from the same place as what turns features into inputs."""
        return label_part(self.getSamplePreprocessing() or self.feature_preprocessing) or self.label_preprocessing

    def transformSchema(self, schema: StructType) -> StructType:
        """Check params and that a DataFrame of this schema can be trained on; returns `schema`.

        Raises `ArgumentError` for params, `ColumnError` for columns, `ShapeError` where schema or preprocessing tell a
        size that network or criterion do not take.
        """
        check_params(self)
        check_described(
            model=self.model,
            criterion=self.criterion,
            optimMethod=self.getOptimMethod(),
            feature_preprocessing=self.feature_preprocessing,
            samplePreprocessing=self.getSamplePreprocessing(),
            label_preprocessing=self.label_preprocessing,
        )
        self._end()
        self._optim().check(sum(segment.parameter.size for segment in segments(self.model, DENSE)))
        self._plan(schema)
        self._held(self._milestones())
        outputs = ("predictionCol", "probabilityCol", "rawPredictionCol")
        check_free(schema, {name: self._value(name) for name in outputs if self.hasParam(name)})
        return schema

    def _fit(self, dataset: DataFrame) -> NNModel | NNClassifierModel:
        check_dataframe("fit", dataset)
        self.transformSchema(dataset.schema)
        milestones = self._milestones()
        plan, check = self._plan(dataset.schema)
        settings = self._settings(dataset.sparkSession)
        # Fits that run side by side share this model; weights are drawn on first need.
        with _INITIALISING:
            payload = replica_bytes(self.model, self.criterion, self._optim(), self._clippings(), self.getSeed())
            trained = model_from_bytes(model_bytes(self.model))
        source = ReplicaSource(replica_factory(payload), payload)
        course = FitCourse(
            milestones=milestones,
            held=self._held(milestones),
            checkpoint=self._checkpoint(),
            resume=self.getResume(),
            identity=replica_identity(payload),
            histograms=summary.get_summary_trigger("Parameters") if (summary := self.getTrainSummary()) else None,
            snapshot_size=len(payload) * (1 + len(self._optim().init(1)) + milestones.keeps_best),
        )
        bar = Progress(enabled=self.getShowProgress())
        with bar, self._listening(self._optim(), bar) as listener:
            rows = with_plain_vectors(dataset, plan.columns)
            result = fit_on_spark(rows, plan, settings, source, check=check, listener=listener, course=course)
        for path, parameter in parameters_in(trained):
            parameter.assign(result.weights[path])
        model = self._handed_on(self._model(trained.evaluate()), result, settings)
        names = label_names(dataset.schema, self.getLabelCol())
        if names and isinstance(model, NNClassifierModel):
            model.setLabels(_all_named(names, check.count))
        return model

    def _held(self, milestones: Milestones) -> HeldOut | None:
        """The rows to validate on, with what has been checked of them as of the rows to train on."""
        df = self._validation_df
        if milestones.validation is None or df is None:
            return None
        with named("Validation"):
            check_dataframe("fit", df)
            plan, check = self._plan(df.schema, milestones.validation)
            rows = with_plain_vectors(df, plan.columns)
        return HeldOut(rows, plan, check)

    def _plan(self, schema: StructType, validation: ValidationSettings | None = None) -> tuple[SamplePlan, DataCheck]:
        """How rows become samples, to train on or for a validation, and what is checked of them."""
        preprocessing, of_label, label = self.preprocessing(), self._labels(), self.getLabelCol()
        if validation is not None and preprocessing is not None:
            preprocessing = preprocessing.deterministic()
        column = features_column(schema, self.getFeaturesCol(), opened_by(preprocessing))
        check_names(column.name, label)
        counted = self._classifier or takes_classes(self.criterion)
        size_of_label = check_label(schema, label, single=counted and of_label is None)
        label_size = numbers_in(of_label, size_of_label)
        # A stored sample is an array: texts are made into numbers once, in any case.
        head, tail = cut(preprocessing, self.isCachingSample() or column.kind in (TEXT, WORDS))
        drop, encoded = self.getHandleInvalid() != ERROR, is_encoded(column, head)
        names = (column.name, label)
        network = (self.model, self.criterion)
        batch_size = self.getBatchSize() if validation is None else validation.batch_size
        check = DataCheck(network, names, batch_size, tail, encoded, self._classifier, label_size)
        check.methods = () if validation is None else tuple(validation.methods)
        size = tried(possible_sizes(preprocessing, column), check.check_network)
        if size is None and takes_classes(self.criterion):
            size = 1
        plan = sample_plan((column, label), (head, tail, of_label), size, drop)
        finding, ranges = rows_query(schema, names, self.getSeed()), looks_up(self.model)
        return replace(plan, finding=finding, ranges=ranges), check

    def _settings(self, spark: SparkSession) -> FitSettings:
        return FitSettings(
            batch_size=self.getBatchSize(),
            end_when=self._end(),
            shards=self.getNumShards() or max(1, free_slots(spark)),
            seed=self.getSeed(),
            threads_per_shard=self.getThreadsPerShard(),
            gradient_compression=self.getGradientCompression(),
            sync_mode=self.getSyncMode(),
            cache_folder=self.getCacheFolder() or None,
            cache_level=self._cache_level(),
            deadline=self.getDeadline(),
        )

    def _cache_level(self) -> CacheLevel:
        level = self.getDataCacheLevel()
        return CacheLevel.of(level) if isinstance(level, str) else CacheLevel.of(*level)

    def _end(self) -> Trigger:
        end = self.getEndWhen()
        if end is not None and self.isSet(self.maxEpoch):
            raise ArgumentError(
                "Training must end by maxEpoch or by endWhen. Received: both. "
                "Hint: setEndWhen(None), or clear(estimator.maxEpoch)."
            )
        if reads_score(end) and self.getValidation() is None:
            raise ArgumentError(
                "endWhen must have a validation for MaxScore. Received: none. Hint: setValidation(...)."
            )
        return end or MaxEpoch(self.getMaxEpoch())

    def _optim(self) -> OptimMethod:
        """The optim method, with the rates that were set here in place of its own."""
        method = self.getOptimMethod()
        rates = {"learningrate": self.learningRate, "learningrate_decay": self.learningRateDecay}
        changes = {name: self.getOrDefault(param) for name, param in rates.items() if self.isSet(param)}
        config = to_config(method)
        for name in changes:
            if not hasattr(method, name):
                raise ArgumentError(f"{rates[name].name} must be left unset for {config['class']}, which has none.")
        schedule, decay = method.schedule, changes.get("learningrate_decay")
        if decay and not isinstance(schedule, Default):
            name = type(schedule).__name__
            raise ArgumentError(f"learningRateDecay must be left unset for the schedule {name}. Received: {decay}.")
        return from_config({**config, "args": {**config["args"], **changes}}, {**OPTIM_METHODS, **SCHEDULES})

    def _handed_on(
        self, model: NNModel | NNClassifierModel, result: TrainResult, settings: FitSettings
    ) -> NNModel | NNClassifierModel:
        """Give a model this stage's uid, as Spark ML does, and the params that concern it; not the batch size."""
        model._resetUid(self.uid)
        for name in _HANDED_ON:
            if self.hasParam(name) and self.isSet(self.getParam(name)):
                model._put(**{name: self._value(name)})
        data, state = result.data, result.state
        model.summary = TrainingSummary(
            rows=data.rows,
            dropped=data.dropped,
            epochs=state.epoch,
            iterations=state.iteration,
            loss=state.epoch_loss,
            shards=settings.shards,
            tasks=result.tasks,
            validations=result.history,
            best=stopping.best(result.history) if (stopping := self.getEarlyStopping()) is not None else None,
            mode=result.mode,
            reason=result.reason,
        )
        if data.dropped:
            _LOG.warning("Dropped %d of %d rows (handleInvalid).", data.dropped, data.rows + data.dropped)
        return model


def _all_named(names: list[str], count: int | None) -> list[str]:
    """A name for each class that the network tells apart: IndexToString fails on a class without one."""
    numbers = (str(number) for number in range(len(names), count or 0))
    return [*names, *(number if number not in names else f"class {number}" for number in numbers)]


class NNEstimator(TrainingStage):
    """Trains a network on a DataFrame (Analytics Zoo's `NNEstimator`); `fit` returns an `NNModel`.

    `model` takes (batch, ...), `criterion` compares its output with the label column: numbers counted from 0 for class
    criterions, else as many numbers as the output has. The preprocessings are None (a number gives (1,), an array or
    vector its own shape), a size such as [28, 28], a list of sizes for several inputs, or a `Preprocessing` that ends
    in tensors. A regression's prediction is an array as well; Spark's RegressionEvaluator takes the number that
    ``SQLTransformer(statement="SELECT *, double(outputs[0]) AS prediction FROM __THIS__")`` makes of a predictionCol
    "outputs". `fit` trains a copy: the estimator's model stays as it is. It raises `ArgumentError`, `ColumnError` and
    `ShapeError` before any job, `DataError` when the data has been looked at, `TrainingError` after that.

    >>> from nnframes.nn import Linear, MSECriterion
    >>> estimator = NNEstimator(Linear(4, 1), MSECriterion(), [4], [1]).setBatchSize(8).setMaxEpoch(2)
    >>> estimator.getBatchSize(), estimator.getLearningRate(), estimator.getLabelCol()
    (8, 0.001, 'label')
    """

    def __init__(
        self, model: Layer, criterion: Criterion, feature_preprocessing: Any = None, label_preprocessing: Any = None
    ) -> None:
        super().__init__(model, criterion, feature_preprocessing, label_preprocessing)

    saved_objects = ("criterion", "feature_preprocessing", "label_preprocessing")
    _classifier = False

    def _model(self, layer: Layer) -> NNModel:
        return NNModel(layer, self.feature_preprocessing)
