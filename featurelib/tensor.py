"""Numbers, sequences and vectors to float32 tensors."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from featurelib._checks import sizes
from featurelib.base import Preprocessing, Streams
from featurelib.errors import FeatureError
from kernels.errors import ArgumentError

__all__ = ["ArrayToTensor", "MLlibVectorToTensor", "ScalarToTensor", "SeqToMultipleTensors", "SeqToTensor"]


class SeqToTensor(Preprocessing):
    """A number, a sequence of numbers or an ML Vector to a tensor (Analytics Zoo's `SeqToTensor`).

    `size` is the tensor's shape; without it the tensor keeps the sequence's length, a number becomes (1,). float32 out.
    `batch` takes n rows of one length, as a list or as an array (n, k), and returns (n, *size). Raises `FeatureError`
    for another count of numbers, nulls, or what is not a number.

    >>> SeqToTensor([2, 2])([1, 2, 3, 4])
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    >>> SeqToTensor([3]).batch([[1, 2, 3], [4, 5]])
    Traceback (most recent call last):
    featurelib.errors.FeatureError: row 1: SeqToTensor expects 3 numbers for size (3,), received 2.
    """

    def __init__(self, size: int | Sequence[int] = ()) -> None:
        sizes("size", size)
        self.size = size

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        return _to_tensor(self, _numbers(self, value), sizes("size", self.size))

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> np.ndarray:
        return _to_tensors(self, values, sizes("size", self.size))


class ArrayToTensor(Preprocessing):
    """An array of numbers to a tensor of a given size (Analytics Zoo's `ArrayToTensor`, which lacks integers).

    As `SeqToTensor`, but `size` must be given and a bare number is refused.

    >>> ArrayToTensor([3])(np.array([1, 2, 3]))
    array([1., 2., 3.], dtype=float32)
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        if not sizes("size", size):
            raise ArgumentError("size must name at least one dimension. Received: []. Hint: SeqToTensor() needs none.")
        self.size = size

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        array = _numbers(self, value)
        if array.ndim == 0:
            raise FeatureError(f"ArrayToTensor expects an array. Received: {_short(value)}. Hint: ScalarToTensor().")
        return _to_tensor(self, array, sizes("size", self.size))

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> np.ndarray:
        if len(values) and np.ndim(values[0]) == 0 and not hasattr(values[0], "toArray"):
            _at_row(self, values, 0)
        return _to_tensors(self, values, sizes("size", self.size))


# Analytics Zoo's older name where the array is a vector.
MLlibVectorToTensor = ArrayToTensor


class ScalarToTensor(Preprocessing):
    """A number to a tensor of shape (1,), float32 (Analytics Zoo's `ScalarToTensor`, which lacks integers).

    `batch` takes n numbers and returns (n, 1). Raises `FeatureError` for what is not one number.

    >>> ScalarToTensor()(3)
    array([3.], dtype=float32)
    >>> ScalarToTensor().batch(np.arange(4)).shape
    (4, 1)
    """

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        array = _numbers(self, value)
        if array.ndim:
            raise FeatureError(f"ScalarToTensor expects a number, received an array of shape {array.shape}.")
        return array.astype(np.float32).reshape(1)

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> np.ndarray:
        block = _block(values)
        if block is None or block.ndim != 1:
            block = np.array([_at_row(self, values, row) for row in range(len(values))], np.float32)
        return block.astype(np.float32).reshape(len(block), 1)


class SeqToMultipleTensors(Preprocessing):
    """A sequence of numbers cut into several tensors (Analytics Zoo's `SeqToMultipleTensors`), for several inputs.

    `size` lists the tensors' sizes; their numbers follow one another in the sequence. Returns a tuple of float32
    tensors, from `batch` a tuple of arrays (n, *size). It can only end a chain.

    >>> [t.shape for t in SeqToMultipleTensors([[2, 2], [3]])(range(7))]
    [(2, 2), (3,)]
    """

    several_tensors = True

    def __init__(self, size: Sequence[int | Sequence[int]]) -> None:
        if not isinstance(size, (list, tuple)) or not size or not all(sizes("size", part) for part in size):
            raise ArgumentError(f"size must be a list of sizes, such as [[2, 2], [3]]. Received: {size!r}.")
        self.size = size

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> tuple[np.ndarray, ...]:
        flat = _to_tensor(self, _numbers(self, value), (self._total(),))
        return tuple(part[0] for part in self._cut(flat[None]))

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> tuple[np.ndarray, ...]:
        return self._cut(_to_tensors(self, values, (self._total(),)))

    def _total(self) -> int:
        return sum(math.prod(sizes("size", part)) for part in self.size)

    def _cut(self, flat: np.ndarray) -> tuple[np.ndarray, ...]:
        shapes = [sizes("size", part) for part in self.size]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        parts = np.split(flat, ends[:-1], axis=1)
        return tuple(
            np.ascontiguousarray(part).reshape(len(flat), *shape) for part, shape in zip(parts, shapes, strict=True)
        )


def _numbers(transform: Preprocessing, value: Any) -> np.ndarray:
    """A numeric array of a number, a sequence, an array or an ML Vector; not a copy where the value is an array."""
    if hasattr(value, "toArray"):
        value = value.toArray()
    try:
        array = np.asarray(list(value) if isinstance(value, range) else value)
    except ValueError:
        raise FeatureError(f"{type(transform).__name__} expects numbers, received lists of unequal lengths.") from None
    if array.dtype.kind == "O" and array.size and all(isinstance(item, (numbers.Real, Decimal)) for item in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        hint = " Hint: fill or drop null values first." if _has_null(value) else ""
        raise FeatureError(f"{type(transform).__name__} expects numbers. Received: {_short(value)}.{hint}")
    return array


def _to_tensor(transform: Preprocessing, array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    if not size:
        return array.astype(np.float32).reshape(-1)
    if array.size != math.prod(size):
        name = type(transform).__name__
        raise FeatureError(f"{name} expects {math.prod(size)} numbers for size {size}, received {array.size}.")
    return array.astype(np.float32).reshape(size)


def _to_tensors(transform: Preprocessing, values: Sequence[Any], size: tuple[int, ...]) -> np.ndarray:
    count = len(values)
    block = _block(values)
    if block is None or (size and block.size != count * math.prod(size)):
        return _rows_to_tensors(transform, values, size)
    length = math.prod(block.shape[1:])
    return block.astype(np.float32).reshape(count, *(size or (length,)))


def _rows_to_tensors(transform: Preprocessing, values: Sequence[Any], size: tuple[int, ...]) -> np.ndarray:
    rows = [_at_row(transform, values, row, size) for row in range(len(values))]
    for row, tensor in enumerate(rows):
        if tensor.shape != rows[0].shape:
            received, expected = tensor.size, rows[0].size
            message = f"{type(transform).__name__} expects {expected} numbers as in row 0, received {received}."
            raise FeatureError(message).at_row(row)
    return np.stack(rows) if rows else np.empty((0, *size), np.float32)


def _at_row(transform: Preprocessing, values: Any, row: int, size: tuple[int, ...] | None = None) -> Any:
    try:
        if size is None:
            return transform.apply(values[row])
        return _to_tensor(transform, _numbers(transform, values[row]), size)
    except FeatureError as error:
        error.at_row(row)
        raise


def _block(values: Any) -> np.ndarray | None:
    """The rows as one numeric array (n, ...), or None where they must be looked at one by one."""
    if not isinstance(values, np.ndarray):
        if not len(values) or hasattr(values[0], "toArray"):
            return None
        try:
            values = np.asarray(values)
        except ValueError:
            return None
    return values if values.dtype.kind in "biuf" and len(values) else None


def _has_null(value: Any) -> bool:
    return value is None or (isinstance(value, (list, tuple, np.ndarray)) and any(item is None for item in value))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
