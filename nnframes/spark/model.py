"""NNModel and NNClassifierModel: trained networks as transformers and as SQL functions."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

from pyspark.ml import Model, Transformer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from featurelib.base import Preprocessing
from nnframes.errors import ArgumentError
from nnframes.io.model_file import model_classes
from nnframes.nn import Layer
from nnframes.spark.checks import class_count, network_output, possible_sizes, tried
from nnframes.spark.columns import check_dataframe, check_free, features_column, nominal
from nnframes.spark.described import check_described
from nnframes.spark.features import as_preprocessing, chain_classes, chain_to_json, feature_part, opened_by
from nnframes.spark.functions import (
    SqlFunction,
    append_columns,
    has_arrow_functions,
    quoted,
    scoring_function,
    take_rows,
)
from nnframes.spark.outputs import check_output
from nnframes.spark.params import (
    HasBatchSize,
    HasFeaturesCol,
    HasHandleInvalid,
    HasLabels,
    HasPredictionCol,
    HasProbabilityCols,
    HasSamplePreprocessing,
    HasThreshold,
    check_params,
)
from nnframes.spark.persistence import NetworkStage
from nnframes.spark.scoring import PREDICTION, PROBABILITY, RAW, ScoringSettings
from nnframes.spark.shipping import ship
from nnframes.spark.specs import DEFAULT_THRESHOLD, KEEP, SKIP, instance
from nnframes.train import Validation

__all__ = ["NNClassifierModel", "NNModel", "TrainingSummary", "as_udf", "register"]

SCORING_BATCH = 256


@dataclass(frozen=True)
class TrainingSummary:
    """How a fit went: rows trained on and dropped (handleInvalid), epochs, iterations, the last epoch's mean loss.

    `validations` are the results of every validation, oldest first, with iteration and epoch; `best` the one that
    early stopping holds for the best, whose weights the model has with restore_best. A resumed fit counts all.
    `mode` is "group" or "job" (`setSyncMode`), `reason` why; neither shows in the weights, nor when summaries are
    compared.
    """

    rows: int
    dropped: int
    epochs: int
    iterations: int
    loss: float | None
    shards: int
    tasks: int
    validations: tuple[Validation, ...] = ()
    best: Validation | None = None
    mode: str = field(default="group", compare=False)
    reason: str = field(default="", compare=False)


class _ScoringStage(
    Model,
    NetworkStage,
    SqlFunction,
    HasFeaturesCol,
    HasPredictionCol,
    HasBatchSize,
    HasSamplePreprocessing,
    HasHandleInvalid,
):
    """What both models share: the network, its preprocessing, how a DataFrame is scored."""

    saved_objects = ("feature_preprocessing",)
    is_trained = True
    _classifier = False

    def __init__(self, model: Layer, feature_preprocessing: Any = None) -> None:
        super().__init__()
        self.model: Layer = instance("model", model, Layer, "a layer")
        self.feature_preprocessing = as_preprocessing("feature_preprocessing", feature_preprocessing)
        self.summary: TrainingSummary | None = None
        self._start(batchSize=SCORING_BATCH)

    def getModel(self) -> Layer:
        """Return the network, as `.model`."""
        return self.model

    def preprocessing(self) -> Preprocessing | None:
        """Return what turns feature values into the network's input: samplePreprocessing, else the constructor's."""
        return feature_part(self.getSamplePreprocessing() or self.feature_preprocessing)

    def transformSchema(self, schema: StructType) -> StructType:
        """Check that a DataFrame of this schema can be scored; returns `schema`.

        Raises `ColumnError` for the features column and for output columns that exist, `ShapeError` where column or
        preprocessing tell a size that the network does not take.
        """
        self._check_described()
        preprocessing = self.preprocessing()
        column = features_column(schema, self.getFeaturesCol(), opened_by(preprocessing))
        check_free(schema, {f"{output}Col": name for output, name in self._outputs().items()})
        sizes = possible_sizes(preprocessing, column)
        tried(sizes, lambda size: self._check_output(network_output(self.model, size, self.getBatchSize())))
        return schema

    def _transform(self, dataset: DataFrame) -> DataFrame:
        check_dataframe("transform", dataset)
        self.transformSchema(dataset.schema)
        columns = self._outputs()
        settings = self._settings(dataset.sparkSession, tuple(columns), struct=True)
        scored = append_columns(dataset, settings, self.getFeaturesCol(), columns, self._metadata())
        if self.getHandleInvalid() == SKIP:
            return scored.where(F.col(quoted(self.getPredictionCol())).isNotNull())
        return scored

    @abstractmethod
    def _outputs(self) -> dict[str, str]:
        """The outputs that transform appends, and under which names."""

    @abstractmethod
    def _threshold(self) -> float:
        """Where one output means class 1."""

    def _check_output(self, shape: tuple[int, ...]) -> None:
        """Raise where a network with such an output cannot be this stage's."""
        check_output(shape)

    def _metadata(self) -> dict[str, Any]:
        """What the prediction column says about itself."""
        return {}

    def _check_described(self) -> None:
        check_params(self)
        check_described(
            model=self.model,
            feature_preprocessing=self.feature_preprocessing,
            samplePreprocessing=self.getSamplePreprocessing(),
        )

    def _function(self, spark: SparkSession) -> Any:
        self._check_described()
        return scoring_function(self._settings(spark, (PREDICTION,), struct=False))

    def _settings(self, spark: SparkSession, outputs: tuple[str, ...], struct: bool) -> ScoringSettings:
        return ScoringSettings(
            model=ship(spark, self.model),
            batch_size=self.getBatchSize(),
            classifier=self._classifier,
            preprocessing=chain_to_json(self.preprocessing()),
            threshold=self._threshold(),
            # A function cannot drop a row, so it gives null for it.
            handle_invalid=KEEP if self.getHandleInvalid() == SKIP else self.getHandleInvalid(),
            outputs=outputs,
            vectors=has_arrow_functions(),
            struct=struct,
            column=self.getFeaturesCol() if struct else "",
            classes=model_classes(self.model) + chain_classes(self.preprocessing()),
        )


class NNModel(_ScoringStage):
    """A network as a transformer: appends its outputs as array<float> (Analytics Zoo's `NNModel`).

    `model` takes (batch, ...) and gives (batch, k) or (batch,). `feature_preprocessing` is None (a number gives (1,),
    an array or vector its own shape), a size such as [28, 28], a list of sizes for several inputs, or a `Preprocessing`
    that ends in tensors; it is used without its randomness. Rows with nulls, NaN or undecodable images fail the job,
    are dropped or get null, by `setHandleInvalid`. Raises `ColumnError` and `ShapeError` before any job runs.

    >>> from nnframes.nn import Linear
    >>> NNModel(Linear(4, 2), [4]).setBatchSize(64).getBatchSize()
    64
    """

    def _outputs(self) -> dict[str, str]:
        return {PREDICTION: self.getPredictionCol()}

    def _threshold(self) -> float:
        return DEFAULT_THRESHOLD


class NNClassifierModel(_ScoringStage, HasProbabilityCols, HasThreshold, HasLabels):
    """A network as a classifier: appends the class, counted from 0, as double (Analytics Zoo's `NNClassifierModel`).

    As `NNModel`; a network with one output predicts 1.0 above the threshold, any other the class of its largest output.
    `setProbabilityCol` and `setRawPredictionCol` name vector columns for Spark's evaluators: probabilities (outputs
    through softmax, unless the network ends in SoftMax or Sigmoid) and the outputs themselves. `setLabels` names the
    classes, as a fit does when its label column came from StringIndexer: `IndexToString(inputCol="prediction", ...)`
    then needs no labels of its own.

    >>> from nnframes.nn import Linear
    >>> NNClassifierModel(Linear(4, 2)).setLabels(["no", "yes"]).getLabels()
    ['no', 'yes']
    """

    _classifier = True

    def _outputs(self) -> dict[str, str]:
        named = {
            PREDICTION: self.getPredictionCol(),
            PROBABILITY: self.getProbabilityCol(),
            RAW: self.getRawPredictionCol(),
        }
        return {output: name for output, name in named.items() if name}

    def _threshold(self) -> float:
        return self.getThreshold()

    def _check_output(self, shape: tuple[int, ...]) -> None:
        super()._check_output(shape)
        classes, labels = class_count(shape), self.getLabels()
        if labels and len(labels) < classes:
            raise ArgumentError(f"labels must name all {classes} classes of the network. Received: {len(labels)}.")

    def _metadata(self) -> dict[str, Any]:
        return nominal(self.getPredictionCol(), self.getLabels())


def as_udf(model: Transformer, spark: SparkSession | None = None) -> Any:
    """Return a model as a function of its features column: double for a classifier, array<float> else.

    A `TextIndexerModel` is one from string or array<string> to array<int>.

    Rows that cannot be used fail the query, or give null with handleInvalid "skip" or "keep". `spark` is the session
    that the model is shipped to, by default the active one; there the setting
    ``spark.sql.execution.arrow.pythonUDF.columnarInput.enabled`` becomes false, without which Spark 4.3 fails on column
    files with ML vectors. Raises `ArgumentError` for anything but a model.
    """
    if not isinstance(model, SqlFunction):
        hint = " Hint: a PipelineModel's network is one of its stages." if hasattr(model, "stages") else ""
        raise ArgumentError(f"model must be an NNModel or NNClassifierModel. Received: {type(model).__name__}.{hint}")
    session = _session(spark)
    take_rows(session)
    return model._function(session)


def register(spark: SparkSession, name: str, model: Transformer) -> Any:
    """Register a model as the SQL function `name`: ``SELECT label, digit(image) FROM digits``; returns it as well.

    Raises `ArgumentError` for a name that SQL would not read as one, and as `as_udf`.
    """
    session = _session(spark)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ArgumentError(f"name must be a name of letters, digits and _. Received: {name!r}.")
    return session.udf.register(name, as_udf(model, session))


def _session(spark: SparkSession | None) -> SparkSession:
    session = spark or SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()
    if not hasattr(session, "createDataFrame"):  # sessions of Connect are of a class of their own
        raise ArgumentError(
            f"spark must be a SparkSession. Received: {type(session).__name__}. Hint: register(spark, name, model)."
        )
    return session
