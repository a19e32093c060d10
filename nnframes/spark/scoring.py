"""Scoring in the workers: an iterator over Arrow batches of the feature column, and nothing else of the row.

Rows are put together to the model's batch size across Arrow batches. A task drains its input to the end; one that does
not would lose its Python worker, and with it the models that it keeps.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import TaskContext

from featurelib.base import Preprocessing
from featurelib.registry import WithClasses
from nnframes.distributed.arrow import null_mask
from nnframes.distributed.garbage import settle
from nnframes.errors import ColumnError, DataError, NNFramesError
from nnframes.io import open_model
from nnframes.nn.network import Network
from nnframes.spark import outputs
from nnframes.spark.columns import takes_text
from nnframes.spark.features import chain_from_json, finite_rows, inputs_of, opened_by, taken, values_of
from nnframes.spark.shipping import local_path
from nnframes.spark.specs import ERROR

__all__ = ["PREDICTION", "PROBABILITY", "RAW", "ScoringSettings", "score_batches"]

PREDICTION, PROBABILITY, RAW = "prediction", "probability", "rawPrediction"
KEPT_MODELS = 3
KEPT_SHAPES = 4


@dataclass(frozen=True)
class ScoringSettings:
    """All that a scoring task needs to know; the model is a shipped file."""

    model: str
    batch_size: int
    classifier: bool
    preprocessing: str = ""
    threshold: float = 0.5
    handle_invalid: str = ERROR
    outputs: tuple[str, ...] = (PREDICTION,)
    vectors: bool = True  # ML vectors, or arrays where Spark cannot take vectors from Python
    struct: bool = True  # a struct of all outputs, or the prediction alone
    classes: tuple[type, ...] = ()  # registered ones that model and preprocessing consist of
    column: str = ""  # that the features are of, if it has a name

    @property
    def features(self) -> str:
        """What errors are about."""
        return f"Features of column '{self.column}'" if self.column else "Features"


def score_batches(settings: ScoringSettings, batches: Iterable[pa.Array]) -> Iterator[pa.Array]:
    """Yield the outputs for batches of the feature column, all rows in order."""
    scorer = WithClasses(_Scorer, settings.classes)(settings)
    waiting: list[pa.Array] = []
    for chunk, last in rechunked(batches, settings.batch_size):
        try:
            waiting.append(scorer.score(chunk))
        except NNFramesError as error:
            # It says what is wrong with the data; where in our code it was found would bury that in Spark's report.
            raise error.with_traceback(None) from None
        if last:
            yield pa.concat_arrays(waiting)
            waiting.clear()


def rechunked(batches: Iterable[pa.Array], size: int) -> Iterator[tuple[pa.Array, bool]]:
    """Cut and join arrays to `size` rows, the last one shorter; True marks where an arriving array is used up.

    >>> [(len(chunk), last) for chunk, last in rechunked([pa.array(range(5)), pa.array(range(4))], 3)]
    [(3, True), (3, False), (3, True)]
    """
    rest: list[pa.Array] = []
    held = 0
    for batch in batches:
        low = 0
        while held + len(batch) - low >= size:
            high = low + size - held
            chunk = pa.concat_arrays([*rest, batch.slice(low, high - low)]) if rest else batch.slice(low, size)
            rest, held, low = [], 0, high
            yield chunk, len(batch) - low < size
        if low < len(batch):
            rest.append(batch.slice(low))
            held += len(batch) - low
    if held:
        yield pa.concat_arrays(rest), True


@dataclass
class _Loaded:
    """A model in this process with its programs; one thread at a time uses it."""

    network: Network
    probability: bool
    predictors: OrderedDict[Any, Any] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def predict(self, inputs: tuple[np.ndarray, ...], batch_size: int, threads: int) -> Any:
        shapes = tuple(array.shape[1:] for array in inputs)
        with self.lock:
            predictor = _kept(self.predictors, (shapes, batch_size, threads), KEPT_SHAPES)
            if predictor is None:
                several = list(shapes) if len(shapes) > 1 else shapes[0]
                predictor = self.network.predictor(batch_size, several, threads)
                self.predictors[(shapes, batch_size, threads)] = predictor
            return predictor(inputs)


_MODELS: OrderedDict[tuple[str, tuple[type, ...]], _Loaded] = OrderedDict()
_MODELS_LOCK = threading.Lock()


def _kept(cache: OrderedDict, key: Any, size: int) -> Any:
    """What the cache has under `key`; else None, and a place for it."""
    if key in cache:
        cache.move_to_end(key)
        return cache[key]
    while len(cache) >= size:
        cache.popitem(last=False)
    return None


def _loaded(name: str, classes: tuple[type, ...]) -> _Loaded:
    with _MODELS_LOCK:
        # The file names classes; one that was registered anew makes another model of it.
        key = (name, classes)
        found = _kept(_MODELS, key, KEPT_MODELS)
        if found is None:
            layer = open_model(local_path(name)).evaluate()
            found = _MODELS[key] = _Loaded(Network(layer), outputs.gives_probabilities(layer))
            settle(anew=True)
        return found


class _Scorer:
    """Scores the chunks of one task."""

    def __init__(self, settings: ScoringSettings) -> None:
        self.settings = settings
        self.model = _loaded(settings.model, settings.classes)
        chain = chain_from_json(settings.preprocessing)
        self.chain: Preprocessing | None = None if chain is None else chain.deterministic()
        self.opened = opened_by(chain)
        context = TaskContext.get()
        self.threads = max(1, context.cpus()) if context is not None else 1
        self.partition = context.partitionId() if context is not None else 0
        self.rows = 0
        self.width: int | None = None

    def score(self, column: pa.Array) -> pa.Array:
        inputs, valid = self._inputs(column)
        self.rows += len(column)
        if not valid.any():
            return self._columns(np.empty((0, self.width or 1), np.float32), valid)
        output = outputs.rows_of(self.model.predict(inputs, self.settings.batch_size, self.threads))
        self.width = output.shape[1]
        return self._columns(output, valid)

    def _inputs(self, column: pa.Array) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """The network's inputs, float32 and dense, and which rows of the column they are."""
        _check_type(column.type, takes_text(self.opened))
        valid = ~null_mask(column)
        self._report(column, valid, lambda row: "null")
        given = column if valid.all() else column.filter(pa.array(valid))
        if not len(given):
            return (), valid
        inputs, errors = inputs_of(self.chain, values_of(given))
        numbers = np.flatnonzero(valid)
        valid[numbers[list(errors)]] = False
        self._report(column, valid, lambda row: errors[int(np.searchsorted(numbers, row))])
        if inputs:
            finite = finite_rows(inputs)
            if not finite.all():
                valid[np.flatnonzero(valid)[~finite]] = False
                self._report(column, valid, lambda row: "NaN or infinity")
                inputs = taken(inputs, finite)
        return tuple(_dense(values, self.settings.features) for values in inputs), valid

    def _report(self, column: pa.Array, valid: np.ndarray, reason: Any) -> None:
        if self.settings.handle_invalid != ERROR or valid.all():
            return
        row = int(np.flatnonzero(~valid)[0])
        raise DataError(
            f"{self.settings.features} must be usable in every row. "
            f"Received in row {self.rows + row} of partition {self.partition}{_digest(column[row])}: "
            f"{reason(row).rstrip('.')}. "
            "Hint: filter such rows out, or setHandleInvalid('skip') to drop them, 'keep' for null."
        )

    def _columns(self, output: np.ndarray, valid: np.ndarray) -> pa.Array:
        columns = [self._column(name, output, valid) for name in self.settings.outputs]
        if not self.settings.struct:
            return columns[0]
        return pa.StructArray.from_arrays(columns, list(self.settings.outputs))

    def _column(self, name: str, output: np.ndarray, valid: np.ndarray) -> pa.Array:
        settings = self.settings
        if name == PREDICTION and settings.classifier:
            values = np.zeros(len(valid))
            values[valid] = outputs.predictions(output, self.model.probability, settings.threshold)
            return pa.array(values, mask=~valid)
        if name == PREDICTION:
            return outputs.arrays_column(output.astype(np.float32, copy=False), valid, as_vector=False)
        rows = outputs.raw_predictions(output)
        if name == PROBABILITY:
            rows = outputs.probabilities(output, self.model.probability)
        return outputs.arrays_column(rows, valid, settings.vectors)


def _check_type(kind: pa.DataType, text: bool) -> None:
    """Refuse what no preprocessing takes; the driver does not see what a query gives a SQL function."""
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if (is_text and not text) or pa.types.is_temporal(kind) or pa.types.is_map(kind):
        hint = " Hint: a preprocessing that begins with Tokenizer() takes strings." if is_text else ""
        raise ColumnError(
            "Features must be a number, an array of numbers, a vector, an encoded image (binary) or Spark's image "
            f"struct. Received: {kind}.{hint}"
        )


def _digest(value: pa.Scalar) -> str:
    """What finds a file's bytes or a text by Spark's own function, wherever the row has gone."""
    if not value.is_valid or not isinstance(value, pa.BinaryScalar):
        return ""
    return f" (md5 {hashlib.md5(value.as_buffer(), usedforsecurity=False).hexdigest()})"


def _dense(values: Any, name: str) -> np.ndarray:
    if not isinstance(values, np.ndarray):
        shapes = sorted({value.shape for value in values})
        raise ColumnError(
            f"{name} must give tensors of one shape. Received: {', '.join(map(str, shapes[:4]))}. "
            "Hint: resize, crop or pad in the preprocessing."
        )
    return np.ascontiguousarray(values, np.float32)
