"""Texts as rows of a DataFrame: what a `TextFeature` knows, and the chain of its transforms in Spark's tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DoubleType,
    IntegerType,
    StringType,
    StructField,
    StructType,
)

from featurelib.base import ChainedPreprocessing
from featurelib.registry import WithClasses
from featurelib.sample import Sample
from featurelib.text import TextFeature
from featurelib.text.sets import records as records_of
from nnframes.distributed.garbage import settle
from nnframes.errors import ArgumentError
from nnframes.spark.features import chain_classes, chain_from_json, chain_to_json
from nnframes.spark.functions import as_rows

__all__ = ["RECORD", "as_records", "feature_of", "row_of", "tensor", "transformed"]

_NUMBERS = [("dtype", StringType()), ("shape", ArrayType(IntegerType())), ("values", ArrayType(DoubleType()))]
_TENSOR = StructType([StructField(name, kind) for name, kind in _NUMBERS])
_SAMPLE = StructType([StructField(name, ArrayType(_TENSOR)) for name in ("features", "labels")])
_KEYS: dict[str, DataType] = {
    "uri": StringType(),
    "text": StringType(),
    "label": IntegerType(),
    "tokens": ArrayType(StringType()),
    "indexedTokens": ArrayType(IntegerType()),
    "sample": _SAMPLE,
    "predict": _TENSOR,
}
RECORD = StructType([StructField(name, kind) for name, kind in _KEYS.items()])
"""The keys of a `TextFeature` as columns; a tensor is its numbers in row order, with type and shape."""

_DTYPES = ("int32", "int64", "float32", "float64")  # double holds the numbers of all of them


def as_records(df: DataFrame) -> DataFrame:
    """The columns of a DataFrame that records have, in their types; the others of a record are null."""
    if not {"text", "tokens", "indexedTokens", "sample"} & set(df.columns):
        raise ArgumentError(f"A set of texts must have a column text. Received the columns: {', '.join(df.columns)}.")
    columns = {name: F.col(name) if name in df.columns else F.lit(None) for name in _KEYS}
    return df.select(*(column.cast(_KEYS[name]).alias(name) for name, column in columns.items()))


def transformed(records: DataFrame, chain: ChainedPreprocessing) -> DataFrame:
    """Records after a chain, evaluated when they are used."""
    if not chain.transformers:
        return records
    text = chain_to_json(chain)
    schema = pa.schema(list(_arrow(RECORD)))
    build = WithClasses(chain_from_json, chain_classes(chain))

    def apply(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        built: Any = build(text)
        settle()
        for batch in batches:
            features = records_of(built.batch([feature_of(row) for row in batch.to_pylist()]))
            yield pa.RecordBatch.from_pylist([row_of(each) for each in features], schema=schema)

    return as_rows(records).mapInArrow(apply, RECORD)


def row_of(feature: TextFeature) -> dict[str, Any]:
    """A record of what a text knows; a key that records do not have stays behind."""
    row = {key: feature.get(key) for key in _KEYS}
    sample = feature.get_sample()
    if sample is not None:
        row["sample"] = {key: [_tensor(one) for one in getattr(sample, key)] for key in ("features", "labels")}
    if row["indexedTokens"] is not None:
        row["indexedTokens"] = row["indexedTokens"].tolist()
    if row["predict"] is not None:
        row["predict"] = _tensor(row["predict"])
    return row


def feature_of(row: Mapping[str, Any]) -> TextFeature:
    """What a record knows, as `row_of` wrote it."""
    known = {key: value for key, value in row.items() if value is not None}
    if "indexedTokens" in known:
        known["indexedTokens"] = np.array(known["indexedTokens"], np.int32)
    if "sample" in known:
        sample = known["sample"]
        known["sample"] = Sample(_arrays(sample["features"]), _arrays(sample["labels"]))
    if "predict" in known:
        known["predict"] = _arrays([known["predict"]])[0]
    return TextFeature().replace(**known)


def tensor(shape: Iterable[Column], values: Column) -> Column:
    """A tensor of whole numbers as a column."""
    kind = "array<double>"
    return F.struct(
        F.lit("int32").alias("dtype"),
        F.array(*shape).cast("array<int>").alias("shape"),
        values.cast(kind).alias("values"),
    )


def _tensor(array: Any) -> dict[str, Any]:
    array = np.asarray(array)
    if array.dtype.name not in _DTYPES:
        array = array.astype(np.int32 if array.dtype.kind in "bu" else np.float64)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.astype(np.float64).ravel().tolist()}


def _arrays(tensors: Iterable[Mapping[str, Any]]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(one["values"], one["dtype"]).reshape(one["shape"]) for one in tensors)


def _arrow(kind: DataType) -> pa.DataType:
    if isinstance(kind, StructType):
        return pa.struct([(field.name, _arrow(field.dataType)) for field in kind])
    if isinstance(kind, ArrayType):
        return pa.list_(_arrow(kind.elementType))
    return {StringType: pa.string(), IntegerType: pa.int32(), DoubleType: pa.float64()}[type(kind)]
