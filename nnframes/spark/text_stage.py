"""TextIndexer: words to numbers as a stage of a pipeline, before a network that begins with a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.ml import Estimator, Model
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, IntegerType, StructField, StructType

from nnframes.errors import ArgumentError, DataError, ModelFileError
from nnframes.spark.columns import WORDS, check_dataframe, check_free, text_column
from nnframes.spark.functions import SqlFunction, as_rows, quoted
from nnframes.spark.params import HasHandleInvalid, StageParams, check_params
from nnframes.spark.persistence import Persistent
from nnframes.spark.shipping import ship_bytes
from nnframes.spark.specs import ERROR, SKIP
from nnframes.spark.text_params import HasTextColumns, HasWordChoice
from nnframes.spark.text_words import IndexSettings, frequent_words, index_function, words_of

__all__ = ["TextIndexer", "TextIndexerModel"]

_HANDED_ON = ("inputCol", "outputCol", "length", "truncMode", "handleInvalid")


class TextIndexer(Estimator, Persistent, HasTextColumns, HasWordChoice, HasHandleInvalid):
    """Numbers the words of a column of texts; `fit` returns a `TextIndexerModel`.

    Texts are split at white space; words are put in lower case and keep letters of any script only. The most frequent
    word gets 1; 0 is for padding. An array<string> column, as Spark's own tokenizers make them, is taken as it is.
    Nulls have no words. Raises `ColumnError` before any job, `DataError` where no word is left.

    >>> TextIndexer(inputCol="text", outputCol="ids", length=40).setMaxWords(10000).getLength()
    40
    """

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._start()
        _put_all(self, params)

    def transformSchema(self, schema: StructType) -> StructType:
        """Check params and columns; returns the schema with the column of numbers."""
        return _checked(self, schema)

    def _fit(self, dataset: DataFrame) -> TextIndexerModel:
        check_dataframe("fit", dataset)
        self.transformSchema(dataset.schema)
        name = self.getInputCol()
        column = F.col(quoted(name))
        if text_column(dataset.schema, name, "inputCol").kind != WORDS:
            column = words_of(column)
        words = as_rows(dataset).select(column.alias("words"))
        found = frequent_words(words, self.getRemoveTop(), self.getMaxWords(), self.getMinFreq())
        if not found:
            raise DataError(
                f"Column '{name}' must hold words to number. Received: none that comes {self.getMinFreq()} times or "
                f"more, after the {self.getRemoveTop()} most frequent. Hint: setMinFreq(1), setRemoveTop(0)."
            )
        model = TextIndexerModel(list(found))
        model._resetUid(self.uid)
        for param in _HANDED_ON:
            if self.isSet(self.getParam(param)):
                model._put(**{param: self._value(param)})
        return model

    def _payload(self) -> bytes:
        return b""

    @classmethod
    def _of_payload(cls, data: bytes, source: str, objects: Mapping[str, Any]) -> TextIndexer:
        return cls()


class TextIndexerModel(Model, Persistent, SqlFunction, HasTextColumns, HasHandleInvalid):
    """Appends the numbers of the words of a text, array<int>, all of one length.

    `words` are those that have a number, 1, 2, ...; others are dropped. Of a text with more words the beginning or the
    end goes (truncMode); 0 follows where there are fewer: a text of unknown words, or of none, is all zeros. Null fails
    the job, is dropped or gives null, by `setHandleInvalid`.

    >>> TextIndexerModel(["to", "be"]).getWordIndex()
    {'to': 1, 'be': 2}
    """

    def __init__(self, words: Sequence[str], **params: Any) -> None:
        super().__init__()
        good = isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words)
        if not good or not words or len(set(words)) != len(words):
            raise ArgumentError(f"words must be a list of different strings, not empty. Received: {str(words)[:60]}.")
        self.words = list(words)
        self._start()
        _put_all(self, params)

    def getWordIndex(self) -> dict[str, int]:
        """Return the words with their numbers."""
        return {word: number for number, word in enumerate(self.words, 1)}

    def transformSchema(self, schema: StructType) -> StructType:
        """Check params and columns; returns the schema with the column of numbers."""
        return _checked(self, schema)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        check_dataframe("transform", dataset)
        self.transformSchema(dataset.schema)
        column = F.col(quoted(self.getInputCol()))
        rows = as_rows(dataset)
        if self.getHandleInvalid() == SKIP:
            rows = rows.where(column.isNotNull())
        # Spark evaluates a deterministic function once for each use of its result.
        function = self._function(dataset.sparkSession).asNondeterministic()
        return rows.withColumn(self.getOutputCol(), function(column))

    def _function(self, spark: SparkSession) -> Any:
        check_params(self)
        settings = IndexSettings(
            index=ship_bytes(spark, self._payload(), "words"),
            length=self.getLength(),
            trunc_mode=self.getTruncMode(),
            nulls=self.getHandleInvalid() != ERROR,
        )
        return index_function(settings)

    def _payload(self) -> bytes:
        return json.dumps(self.words).encode()

    @classmethod
    def _of_payload(cls, data: bytes, source: str, objects: Mapping[str, Any]) -> TextIndexerModel:
        try:
            return cls(json.loads(data))
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"{source} must be a list of words in JSON. Received: {error}.") from None


def _put_all(stage: StageParams, params: Mapping[str, Any]) -> None:
    """Set params that a constructor was given by name, as the stages of Spark ML are."""
    for name in params:
        if not stage.hasParam(name):
            known = ", ".join(param.name for param in stage.params)
            raise ArgumentError(f"{type(stage).__name__} has no param {name!r}. Params: {known}.")
    stage._put(**params)


def _checked(stage: Any, schema: StructType) -> StructType:
    check_params(stage)
    text_column(schema, stage.getInputCol(), "inputCol")
    check_free(schema, {"outputCol": stage.getOutputCol()})
    return StructType([*schema.fields, StructField(stage.getOutputCol(), ArrayType(IntegerType()))])
