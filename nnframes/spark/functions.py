"""Models as SQL functions, and the Arrow or pandas function behind them and behind `transform`."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.mllib.linalg import VectorUDT as MLlibVectorUDT
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, StructField, StructType

from kernels.random import signed
from nnframes.errors import ArgumentError
from nnframes.spark.scoring import PREDICTION, ScoringSettings, score_batches

__all__ = [
    "COLUMNAR_INPUT",
    "SqlFunction",
    "append_columns",
    "as_rows",
    "has_arrow_functions",
    "quoted",
    "rows_query",
    "scoring_function",
    "take_rows",
    "with_plain_vectors",
]

COLUMNAR_INPUT = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"
"""Spark 4.3 hands column batches (Parquet, cached frames) to Python as such, and fails where one column is a vector."""

_LOG = logging.getLogger("nnframes")
_STRUCT = "__nnframes_output"


class SqlFunction(ABC):
    """A stage that is a function of one column."""

    @abstractmethod
    def _function(self, spark: SparkSession) -> Any:
        """Check the stage and return it as a function, shipped to `spark`."""


def has_arrow_functions() -> bool:
    """Whether this Spark has Arrow functions (4.1 and later), which take and give ML vectors; else pandas ones do."""
    return hasattr(F, "arrow_udf")


def scoring_function(settings: ScoringSettings) -> Any:
    """Return `settings` as a function of a column that gives a struct of outputs, or the prediction alone."""
    kind = _returned(settings)
    if has_arrow_functions():

        def score(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
            return score_batches(settings, map(_argument, batches))

        # Spark decides by the annotations, which `from __future__ import annotations` leaves as text.
        score.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
        arrow_udf: Any = F.arrow_udf
        return arrow_udf(score, kind)
    return _pandas_function(settings, kind)


def append_columns(
    df: DataFrame, settings: ScoringSettings, features: str, columns: dict[str, str], metadata: dict[str, Any]
) -> DataFrame:
    """Append outputs, {output: column name}, all from one evaluation per row; `metadata` is the prediction's."""
    df = as_rows(df)
    # Spark evaluates a deterministic function once for each use of its result.
    function = scoring_function(settings).asNondeterministic()
    column = F.col(quoted(features)) if settings.vectors else _plain(df, features)
    scored = df.withColumn(_STRUCT, function(column))
    appended = {name: _field(settings, output) for output, name in columns.items()}
    if metadata:
        name = columns[PREDICTION]
        appended[name] = appended[name].alias(name, metadata=metadata)
    return scored.withColumns(appended).drop(_STRUCT)


def as_rows(df: DataFrame) -> DataFrame:
    """Return a DataFrame that hands rows to Python functions, never column batches.

    Spark cannot hand those over where one of the columns is a vector. It is a filter that no row fails and no optimiser
    takes out.
    """
    return df.where(F.spark_partition_id() >= 0)


def take_rows(spark: SparkSession) -> None:
    """Have this session hand rows to Python functions, not column batches: nothing else helps a function of SQL."""
    try:
        spark.conf.set(COLUMNAR_INPUT, "false")
    except PySparkException:  # a service that has settings of its own
        _LOG.warning(
            "%s cannot be set to false here. Where a query reads column files with ML vectors, use transform.",
            COLUMNAR_INPUT,
        )


def with_plain_vectors(df: DataFrame, columns: tuple[str, ...]) -> DataFrame:
    """Return these columns alone, vectors of both generations as array<float>."""
    return df.select(*(_plain(df, name).alias(name) for name in columns))


def rows_query(schema: StructType, columns: tuple[str, ...], seed: int) -> str:
    """Return what finds rows to train on by their hashes, which take the place of {hashes}: an expression on `df`."""
    vectors = [isinstance(schema[name].dataType, (VectorUDT, MLlibVectorUDT)) for name in columns]
    seed = signed(seed)
    if not any(vectors):
        return f'df.where("xxhash64({seed}L, {", ".join(map(quoted, columns))}) IN ({{hashes}})")'
    # Not in SQL: vectors are hashed as the arrays that training makes of them.
    plain = [f"F.col({quoted(name)!r})" for name in columns]
    parts = [
        f"F.when({one}.isNotNull(), pyspark.ml.functions.vector_to_array({one}, 'float32'))" if is_vector else one
        for one, is_vector in zip(plain, vectors, strict=True)
    ]
    return f"df.where(F.xxhash64(F.lit({seed}).cast('long'), {', '.join(parts)}).isin({{hashes}}))"


def _plain(df: DataFrame, name: str) -> Column:
    column = F.col(quoted(name))
    if not isinstance(df.schema[name].dataType, (VectorUDT, MLlibVectorUDT)):
        return column
    # Spark's conversions, this one and back, fail on null.
    return F.when(column.isNotNull(), vector_to_array(column, "float32"))


def _field(settings: ScoringSettings, output: str) -> Column:
    value = F.col(f"{_STRUCT}.{output}")
    if output == PREDICTION or settings.vectors:
        return value
    return F.when(value.isNotNull(), array_to_vector(value))


def _argument(given: Any) -> Any:
    """The one argument of a function; Spark hands several over as a tuple, and lets SQL give any number of them."""
    if isinstance(given, tuple):
        raise ArgumentError(f"The function takes one argument, the features. Received: {len(given)}.")
    return given


def _pandas_function(settings: ScoringSettings, kind: DataType) -> Any:
    import pandas as pd

    def score(batches: Iterator[pd.Series]) -> Iterator[Any]:
        columns = (pa.array(_argument(batch), from_pandas=True) for batch in batches)
        for scored in score_batches(settings, columns):
            if settings.struct:
                yield pd.DataFrame({name: scored.field(name).to_pandas() for name in settings.outputs})
            else:
                yield scored.to_pandas()

    returned: Any = pd.DataFrame if settings.struct else pd.Series
    score.__annotations__ = {"batches": Iterator[pd.Series], "return": Iterator[returned]}
    pandas_udf: Any = F.pandas_udf
    return pandas_udf(score, kind)


def _returned(settings: ScoringSettings) -> DataType:
    prediction = DoubleType() if settings.classifier else ArrayType(FloatType())
    if not settings.struct:
        return prediction
    others = VectorUDT() if settings.vectors else ArrayType(DoubleType())
    kinds = [(name, prediction if name == PREDICTION else others) for name in settings.outputs]
    return StructType([StructField(name, kind) for name, kind in kinds])


def quoted(name: str) -> str:
    """Return a column's name as SQL reads it: dots and spaces are part of it."""
    return "`" + name.replace("`", "``") + "`"
