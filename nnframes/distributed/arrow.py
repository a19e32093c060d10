"""Arrow columns as numpy arrays, without Python per row where the layout allows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nnframes.errors import ColumnError

__all__ = ["column_values", "null_mask"]


def column_values(array: pa.Array) -> Any:
    """Return the values of a column without nulls as numpy arrays, zero-copy where the layout allows it.

    Numbers and booleans give (n,); lists of equal length k give (n, k), deeper ones (n, k, m), lists of unequal
    length a list of n arrays; binary and string give a list of n bytes or str; a struct gives {field: values}.
    Raises `ColumnError` for other types.

    >>> column_values(pa.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return array.to_numpy(zero_copy_only=False)
    if pa.types.is_decimal(kind):
        return array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if _is_list(kind):
        return _list_values(array)
    if pa.types.is_struct(kind):
        return {kind.field(i).name: column_values(array.field(i)) for i in range(kind.num_fields)}
    if pa.types.is_null(kind) or _is_bytes(kind):
        return array.to_pylist()
    raise ColumnError(f"A column must hold numbers, arrays, binary, strings or structs of those. Received: {kind}.")


def null_mask(array: pa.Array) -> np.ndarray:
    """Return bool (n,): where a row is null, or an array has a null element. Fields of structs are not looked at.

    >>> null_mask(pa.array([[1.0], None, [2.0, None]])).tolist()
    [False, True, True]
    """
    mask = np.zeros(len(array), bool)
    if array.null_count:
        mask |= pc.is_null(array).to_numpy(zero_copy_only=False)
    if _is_list(array.type):
        below = null_mask(array.flatten())
        if below.any():
            mask[pc.list_parent_indices(array).to_numpy()[below]] = True
    return mask


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string, pa.types.is_large_string)
    return any(test(kind) for test in tests)


def _list_values(array: pa.Array) -> Any:
    values = column_values(array.flatten())
    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    if isinstance(values, np.ndarray) and len(lengths) and (lengths == lengths[0]).all():
        return values.reshape(len(lengths), int(lengths[0]), *values.shape[1:])
    ends = np.cumsum(lengths)
    return [_joined(values[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def _joined(values: Any) -> Any:
    """Return rows of arrays as one array where they have one shape."""
    if isinstance(values, list) and values and all(isinstance(value, np.ndarray) for value in values):
        return np.stack(values) if len({value.shape for value in values}) == 1 else values
    return values
