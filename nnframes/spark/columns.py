"""What a stage asks of a DataFrame's schema, answered on the driver before any job runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.ml.linalg import VectorUDT
from pyspark.mllib.linalg import VectorUDT as MLlibVectorUDT
from pyspark.sql import DataFrame
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    NumericType,
    StringType,
    StructField,
    StructType,
)

from nnframes.errors import ArgumentError, ColumnError

__all__ = [
    "ARRAY",
    "BINARY",
    "IMAGE",
    "NUMBER",
    "TEXT",
    "VECTOR",
    "WORDS",
    "FeatureColumn",
    "check_dataframe",
    "check_free",
    "check_label",
    "check_names",
    "features_column",
    "label_names",
    "nominal",
    "takes_text",
    "text_column",
]

NUMBER, ARRAY, VECTOR, BINARY, IMAGE = "number", "array", "vector", "binary", "image"
TEXT, WORDS = "text", "words"

_IMAGE_FIELDS = {"origin", "height", "width", "nChannels", "mode", "data"}
_FEATURE_TYPES = (
    "a number, an array of numbers, a vector, a string, an array of strings, binary (an encoded image) or "
    "Spark's image struct"
)
_OPENERS = {
    "ImageBytesToMat": (BINARY, "binary (encoded images)"),
    "AudioDecode": (BINARY, "binary (wav files)"),
    "RowToImageFeature": (IMAGE, "Spark's image struct"),
    "Tokenizer": (TEXT, "string"),
    "Normalizer": (WORDS, "array<string>"),
    "WordIndexer": (WORDS, "array<string>"),
}
# What a column of such values, which are no numbers by themselves, is opened with.
_FIRST = {
    BINARY: ("images", "ImageBytesToMat() to ImageMatToTensor()"),
    IMAGE: ("images", "RowToImageFeature() to ImageMatToTensor()"),
    TEXT: ("texts", "Tokenizer() to SequenceShaper(len)"),
    WORDS: ("words", "WordIndexer(map) to SequenceShaper(len)"),
}
_OF_NUMBERS = ("ArrayToTensor", "ScalarToTensor", "SeqToMultipleTensors", "SeqToTensor")
_LABEL_TYPES = "a number, an array of numbers or a vector"


@dataclass(frozen=True)
class FeatureColumn:
    """A column that features come from; `size` is how many numbers a row has, where the schema tells."""

    name: str
    kind: str
    size: int | None = None


def check_dataframe(method: str, dataset: object) -> None:
    """Raise `ArgumentError` for anything but a DataFrame of Spark, such as one of pandas; a stream cannot be fitted."""
    if isinstance(dataset, DataFrame):
        if method == "fit" and dataset.isStreaming:
            raise ArgumentError("fit must be given a DataFrame that ends. Received: a stream. Hint: foreachBatch.")
        return
    kind = type(dataset)
    received = (
        f"{kind.__module__.partition('.')[0]}.{kind.__name__}" if kind.__module__ != "builtins" else kind.__name__
    )
    hint = next((f"its {name}()" for name in ("to_dataframe", "to_df") if hasattr(kind, name)), None)
    raise ArgumentError(
        f"{method} must be given a Spark DataFrame. Received: {received}. Hint: {hint or 'spark.createDataFrame(...)'}."
    )


def features_column(schema: StructType, name: str, opened: str | None) -> FeatureColumn:
    """Return the features column `name`; `opened` is the class of the preprocessing's first transform, None for none.

    Raises `ColumnError` for a column that is missing, of a type that does not work, or that the preprocessing does not
    take.
    """
    field = _field(schema, name, "featuresCol")
    kind = _kind(field.dataType)
    if kind is None:
        raise ColumnError(f"Column '{name}' must be {_FEATURE_TYPES}. Received: {field.dataType.simpleString()}.")
    wanted, described = _OPENERS.get(opened or "", (kind, ""))
    if wanted != kind:
        hint = next((f" Hint: {one}() takes it." for one, (other, _) in _OPENERS.items() if other == kind), "")
        raise ColumnError(
            f"Column '{name}' must be {described} to be opened by {opened}. Received: {_short(field.dataType)}.{hint}"
        )
    if kind in _FIRST and (opened is None or opened in _OF_NUMBERS):
        values, chain = _FIRST[kind]
        raise ColumnError(
            f"Column '{name}' of {values} must have a feature_preprocessing that makes tensors of them. "
            f"Received: {opened or 'none'}. "
            f"Hint: a ChainedPreprocessing from {chain}."
        )
    return FeatureColumn(name, kind, _size(field, kind))


def text_column(schema: StructType, name: str, param: str) -> FeatureColumn:
    """Return a column of texts or of their words; raises `ColumnError` where it is missing or of another type."""
    field = _field(schema, name, param)
    kind = _kind(field.dataType)
    if kind not in (TEXT, WORDS):
        raise ColumnError(f"Column '{name}' must be string or array<string>. Received: {_short(field.dataType)}.")
    return FeatureColumn(name, kind)


def takes_text(opened: str | None) -> bool:
    """Whether a preprocessing that begins with this class may be given strings.

    >>> takes_text("Tokenizer"), takes_text("SeqToTensor"), takes_text(None)
    (True, False, False)
    """
    return opened is not None and opened not in _OF_NUMBERS and _OPENERS.get(opened, (TEXT, ""))[0] in (TEXT, WORDS)


def check_label(schema: StructType, name: str, single: bool) -> int | None:
    """Return how many numbers the label column holds, where the schema tells.

    Raises `ColumnError` where it is missing or no number, array or vector; `single` asks for a number: classes are not
    arrays.
    """
    field = _field(schema, name, "labelCol")
    kind = _kind(field.dataType)
    if isinstance(field.dataType, StringType):
        free = "label" if "label" not in map(str.lower, schema.names) else f"{name}_number"
        raise ColumnError(
            f"Column '{name}' must be {_LABEL_TYPES}. Received: string. Hint: StringIndexer(inputCol='{name}', "
            f"outputCol='{free}') counts its values from 0; then setLabelCol('{free}')."
        )
    if kind not in ((NUMBER,) if single else (NUMBER, ARRAY, VECTOR)):
        wanted = "a number (a class, counted from 0)" if single else _LABEL_TYPES
        raise ColumnError(f"Column '{name}' must be {wanted}. Received: {field.dataType.simpleString()}.")
    return _size(field, kind)


def label_names(schema: StructType, name: str) -> list[str]:
    """Return what the values 0, 1, ... of a column stand for, which StringIndexer leaves in its metadata; else []."""
    attributes = _attributes(schema[name])
    names = attributes.get("vals") if attributes.get("type") in ("nominal", "binary") else None
    good = isinstance(names, list) and all(isinstance(value, str) for value in names) and len(set(names)) == len(names)
    return names if good and names is not None else []


def nominal(name: str, labels: list[str]) -> dict[str, Any]:
    """Return the metadata of a column of class numbers, as StringIndexer writes it; {} without labels.

    >>> nominal("prediction", ["no", "yes"])
    {'ml_attr': {'type': 'nominal', 'name': 'prediction', 'vals': ['no', 'yes']}}
    """
    return {"ml_attr": {"type": "nominal", "name": name, "vals": labels}} if labels else {}


def check_free(schema: StructType, columns: dict[str, str]) -> None:
    """Check output columns, {param: name}: none may exist, no two be the same; '' is none. Raises `ColumnError`."""
    seen: dict[str, str] = {}
    for param, name in columns.items():
        # Spark resolves names without regard to case, so 'Prediction' beside 'prediction' is ambiguous.
        key = name.lower()
        if name and key in (existing.lower() for existing in schema.names):
            raise ColumnError(f"{param} '{name}' must not exist yet. Hint: drop the column or set another {param}.")
        if name and key in seen:
            raise ColumnError(f"{param} and {seen[key]} must be different columns. Received: '{name}' for both.")
        seen[key] = param


def check_names(features: str, label: str) -> None:
    """Raise `ColumnError` where one column is to be features and label, or a name cannot be trained on."""
    for name in (features, label):
        # Spark's mapInArrow takes a dot for the field of a struct, whatever the columns are called.
        if "." in name or "`" in name:
            raise ColumnError(
                f"Columns to train on must have names without dots and backticks. Received: '{name}'. "
                "Hint: df.withColumnRenamed(...)."
            )
    if features == label:
        raise ColumnError(f"featuresCol and labelCol must be different columns. Received: '{label}' for both.")


def _field(schema: StructType, name: str, param: str) -> StructField:
    if name not in schema.names:
        raise ColumnError(
            f"Column '{name}' ({param}) must exist. Received the columns: {', '.join(schema.names)}. "
            f"Hint: set{param[0].upper()}{param[1:]}(...)."
        )
    if schema.names.count(name) > 1:
        raise ColumnError(
            f"Column '{name}' ({param}) must be unique. Received: {schema.names.count(name)} of that name."
        )
    return schema[name]


def _kind(kind: DataType) -> str | None:
    if isinstance(kind, (VectorUDT, MLlibVectorUDT)):
        return VECTOR
    if isinstance(kind, (NumericType, BooleanType)):
        return NUMBER
    if isinstance(kind, BinaryType):
        return BINARY
    if isinstance(kind, StringType):
        return TEXT
    if isinstance(kind, ArrayType) and isinstance(kind.elementType, StringType):
        return WORDS
    if isinstance(kind, ArrayType):
        return ARRAY if _kind(kind.elementType) in (NUMBER, ARRAY) else None
    if isinstance(kind, StructType) and set(kind.names) >= _IMAGE_FIELDS:
        return IMAGE
    return None


def _short(kind: DataType) -> str:
    return "Spark's image struct" if _kind(kind) == IMAGE else kind.simpleString()


def _size(field: StructField, kind: str | None) -> int | None:
    if kind == NUMBER:
        return 1
    # VectorAssembler and other stages of Spark ML say how long their vectors are.
    size = _attributes(field).get("num_attrs") if kind == VECTOR else None
    return size if isinstance(size, int) and size > 0 else None


def _attributes(field: StructField) -> dict[str, Any]:
    """What Spark ML has noted about a column; anyone may write metadata."""
    found = (field.metadata or {}).get("ml_attr")
    return found if isinstance(found, dict) else {}
