"""From a column's values to the network's input arrays; the same in training and scoring, driver and workers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurelib.adapters import (
    BigDLAdapter,
    FeatureLabelPreprocessing,
    FeatureToTupleAdapter,
    TensorToSample,
    ToTuple,
)
from featurelib.base import ChainedPreprocessing, Preprocessing, stack
from featurelib.config import from_config, to_config
from featurelib.errors import FeatureError
from featurelib.registry import registered_in
from featurelib.sample import inputs_in
from featurelib.tensor import ArrayToTensor, ScalarToTensor, SeqToMultipleTensors, SeqToTensor
from featurelib.text import SequenceShaper
from nnframes.distributed.arrow import column_values
from nnframes.errors import ArgumentError

__all__ = [
    "as_chain",
    "as_preprocessing",
    "chain_classes",
    "chain_from_json",
    "chain_to_json",
    "feature_part",
    "finite_rows",
    "inputs_of",
    "label_part",
    "natural",
    "numbers_in",
    "opened_by",
    "static_sizes",
    "taken",
    "values_of",
]

Inputs = tuple[Any, ...]


def as_preprocessing(name: str, value: Any) -> Preprocessing | None:
    """Return what the peers' forms of a preprocessing mean: None or [], a size, a list of sizes, a `Preprocessing`.

    None stands for the column's own shape: a number gives (1,), an array or vector of k numbers (k,).

    >>> as_preprocessing("feature_preprocessing", [28, 28]), as_preprocessing("feature_preprocessing", [[1], [2, 2]])
    (SeqToTensor(size=[28, 28]), SeqToMultipleTensors(size=[[1], [2, 2]]))
    """
    if value is None or isinstance(value, Preprocessing):
        return value
    if not isinstance(value, (list, tuple)):
        raise ArgumentError(
            f"{name} must be a Preprocessing, a size such as [28, 28] or a list of sizes. Received: {value!r}."
        )
    if not value:
        return None
    several = any(isinstance(part, (list, tuple)) for part in value)
    return SeqToMultipleTensors(list(value)) if several else SeqToTensor(list(value))


def as_chain(preprocessing: Preprocessing | None) -> ChainedPreprocessing | None:
    """Return a preprocessing as a chain, so that it can be cut."""
    if preprocessing is None or isinstance(preprocessing, ChainedPreprocessing):
        return preprocessing
    return ChainedPreprocessing([preprocessing])


def feature_part(preprocessing: Preprocessing | None) -> Preprocessing | None:
    """Return what a preprocessing does to features: what Analytics Zoo's links between features and labels hold.

    >>> from featurelib import ScalarToTensor
    >>> feature_part(ChainedPreprocessing([ToTuple(), FeatureLabelPreprocessing(SeqToTensor([4]), ScalarToTensor())]))
    ChainedPreprocessing(transformers=[SeqToTensor(size=[4])])
    """
    chain = as_chain(preprocessing)
    if chain is None:
        return None
    parts = list(_inside(chain.transformers))
    if parts == chain.transformers:
        return preprocessing
    return feature_part(ChainedPreprocessing(parts)) if parts else None


def _inside(stages: Sequence[Preprocessing]) -> Iterator[Preprocessing]:
    for stage, following in zip_longest(stages, stages[1:]):
        if isinstance(stage, FeatureLabelPreprocessing):
            yield stage.feature_transformer
        elif isinstance(stage, FeatureToTupleAdapter):
            yield stage.sample_transformer
        elif isinstance(stage, BigDLAdapter):
            yield stage.bigdl_transformer
        # Tensors are samples to a stage, and of some it knows the size beforehand.
        elif not (
            (isinstance(stage, ToTuple) and isinstance(following, (FeatureLabelPreprocessing, FeatureToTupleAdapter)))
            or (isinstance(stage, TensorToSample) and following is None)
        ):
            yield stage


def label_part(preprocessing: Preprocessing | None) -> Preprocessing | None:
    """Return what a preprocessing says of labels, None for nothing."""
    chain = as_chain(preprocessing)
    stages = [] if chain is None else chain.transformers
    return next((stage.label_transformer for stage in stages if isinstance(stage, FeatureLabelPreprocessing)), None)


def chain_to_json(chain: Preprocessing | None) -> str:
    """Describe a preprocessing for the workers; '' for none."""
    return "" if chain is None else json.dumps(to_config(chain))


def chain_classes(*chains: Preprocessing | None) -> tuple[type, ...]:
    """Return the registered classes in preprocessings, for the workers that build them."""
    return registered_in(*(to_config(chain) for chain in chains if chain is not None))


def chain_from_json(text: str) -> Preprocessing | None:
    """Build what `chain_to_json` described."""
    if not text:
        return None
    from featurelib.catalog import PREPROCESSING  # imports OpenCV, which numbers do not need

    return from_config(json.loads(text), PREPROCESSING)


def opened_by(preprocessing: Preprocessing | None) -> str | None:
    """The class of the first transform, which decides what a column may hold; None for no transform."""
    chain = as_chain(preprocessing)
    return type(chain.transformers[0]).__name__ if chain is not None and chain.transformers else None


def numbers_in(preprocessing: Preprocessing | None, size: int | None) -> int | None:
    """How many numbers a row has after a preprocessing, where it or a column of `size` numbers tell; else None.

    >>> numbers_in(SeqToTensor([2, 2]), None), numbers_in(None, 5), numbers_in(None, None)
    (4, 5, None)
    """
    shapes = static_sizes(preprocessing, size)
    return None if shapes is None else sum(math.prod(shape) for shape in shapes)


def static_sizes(preprocessing: Preprocessing | None, size: int | None) -> tuple[tuple[int, ...], ...] | None:
    """The shapes of a row's tensors, where preprocessing or a column of `size` numbers tell them; else None.

    >>> static_sizes(SeqToMultipleTensors([[1], [2, 2]]), None), static_sizes(None, 5)
    (((1,), (2, 2)), ((5,),))
    """
    chain = as_chain(preprocessing)
    stages = chain.transformers if chain is not None else []
    if not stages:
        return None if size is None else ((size,),)
    last = stages[-1]
    if isinstance(last, SeqToMultipleTensors):
        sizes: Any = last.size
    elif isinstance(last, SequenceShaper):
        sizes = [last.len]
    elif isinstance(last, (SeqToTensor, ArrayToTensor)):
        sizes = [last.size] if last.size not in ((), []) else [] if size is None else [[size]]
    else:
        sizes = [[1]] if isinstance(last, ScalarToTensor) else []
    shapes = tuple(tuple(part) if isinstance(part, (list, tuple)) else (part,) for part in sizes)
    total = sum(math.prod(shape) for shape in shapes)
    if shapes and size is not None and len(stages) == 1 and total != size:
        raise FeatureError(f"{last!r} expects {total} numbers, the column has {size}.")
    return shapes or None


def values_of(array: pa.Array) -> Sequence[Any]:
    """Return the values of a column without nulls: an array (n, ...) or a list; structs become a dict per row."""
    kind = array.type
    if not pa.types.is_struct(kind):
        return column_values(array)
    names = {kind.field(i).name for i in range(kind.num_fields)}
    if names == {"type", "size", "indices", "values"}:
        return _vectors(array)
    columns = {name: _parts_of(array.field(name)) for name in names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _parts_of(array: pa.Array) -> list[Any]:
    """A field of structs by rows; lists, such as the pixels of float images, as arrays: not a Python float a number."""
    if not pa.types.is_list(array.type) or not _is_number(array.type.value_type):
        return array.to_pylist()
    return [row.values.to_numpy(zero_copy_only=False) if row.is_valid else None for row in array]


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def natural(values: Sequence[Any]) -> Any:
    """The input that values are by themselves: float32, a number as (1,), an array of numbers in its own shape."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        block = np.ascontiguousarray(values, np.float32)
        return block.reshape(len(block), 1) if block.ndim == 1 else block
    if not len(values):
        return np.empty((0, 1), np.float32)
    if not isinstance(values[0], np.ndarray):
        ragged = isinstance(values[0], list) and values[0] and isinstance(values[0][0], np.ndarray)
        received = "arrays of arrays of unequal lengths" if ragged else type(values[0]).__name__
        raise FeatureError(f"without a preprocessing, features must be numbers. Received: {received}.").at_row(0)
    return [np.asarray(value, np.float32) for value in values]


def inputs_of(chain: Preprocessing | None, values: Sequence[Any]) -> tuple[Inputs, dict[int, str]]:
    """Apply a preprocessing to n values: (inputs, errors).

    Each input is an array (m, ...), or a list of m arrays where shapes differ; `errors` says for the n - m rows that
    gave no sample why.
    """
    try:
        return _tensors(natural(values) if chain is None else chain.batch(values)), {}
    except FeatureError:
        return _row_by_row(chain, values)


def _row_by_row(chain: Preprocessing | None, values: Sequence[Any]) -> tuple[Inputs, dict[int, str]]:
    rows: list[Inputs] = []
    errors: dict[int, str] = {}
    for number in range(len(values)):
        one = values[number : number + 1]
        try:
            rows.append(tuple(part[0] for part in _tensors(natural(one) if chain is None else chain.batch(one))))
        except FeatureError as error:
            error.row = None
            errors[number] = str(error)
    return tuple(_together(list(parts)) for parts in zip(*rows, strict=True)), errors


def _tensors(result: Any) -> Inputs:
    return tuple(_together(part) for part in (result if isinstance(result, tuple) else inputs_in(result)))


def _together(rows: Any) -> Any:
    """One array (n, ...) where rows have one shape, else the list of arrays."""
    if isinstance(rows, np.ndarray):
        return rows
    arrays = [np.asarray(row) for row in rows]
    return stack(arrays) if len({array.shape for array in arrays}) == 1 else arrays


def _vectors(array: pa.StructArray) -> Any:
    """ML vectors as Spark ships them to Arrow functions: dense ones have type 1, sparse ones size and indices."""
    dense = array.field("type").to_numpy(zero_copy_only=False) == 1
    values = array.field("values")
    if dense.all():
        return column_values(values)
    lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
    sizes = np.where(dense, lengths, array.field("size").fill_null(0).to_numpy(zero_copy_only=False)).astype(np.int64)
    rows = np.repeat(np.arange(len(array)), lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    places = np.arange(len(rows)) - starts
    sparse = ~dense[rows]
    places[sparse] = array.field("indices").flatten().to_numpy()
    block = np.zeros((len(array), int(sizes.max(initial=0))), np.float32)
    block[rows, places] = values.flatten().to_numpy()
    return block if (sizes == sizes[0]).all() else [row[:size] for row, size in zip(block, sizes, strict=True)]


def finite_rows(inputs: Inputs) -> np.ndarray:
    """Return bool (n,): where all numbers of a row are finite."""
    good = np.ones(len(inputs[0]), bool)
    for values in inputs:
        if not isinstance(values, np.ndarray):
            good &= [bool(np.isfinite(value).all()) for value in values]
        # Most batches are finite: one pass without temporaries says so.
        elif values.dtype.kind == "f" and not np.isfinite(values.sum(dtype=np.float64)):
            good &= np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    return good


def taken(inputs: Inputs, keep: np.ndarray) -> Inputs:
    """Return the rows that `keep` (bool) marks, of every input."""
    return tuple(
        values[keep] if isinstance(values, np.ndarray) else [v for v, k in zip(values, keep, strict=True) if k]
        for values in inputs
    )
