"""What the training loop reads: mini-batches of rows of numbered shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nnframes.errors import ArgumentError, DataError

__all__ = ["ArrayData", "MiniBatch", "ShardData"]

Arrays = np.ndarray | tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class MiniBatch:
    """Some rows: `inputs` one array (n, ...) per network input, `target` an array (n, ...) or a tuple of them.

    >>> len(MiniBatch((np.zeros((4, 3), np.float32),), np.zeros(4, np.int32)))
    4
    """

    inputs: tuple[np.ndarray, ...]
    target: Arrays

    def __len__(self) -> int:
        return len(self.inputs[0])


class ShardData(Protocol):
    """The samples of the shards that a worker holds; `producers` threads may make its batches before they are needed.

    0 producers: a batch costs so little that handing it over would cost more.
    """

    producers: int

    def rows(self, shard: int) -> int:
        """Return the number of rows of `shard`."""

    def batch(self, shard: int, epoch: int, indices: np.ndarray) -> MiniBatch:
        """Return rows `indices` of `shard` in that order; randomness in them follows (seed, epoch, shard, row) only."""


class ArrayData:
    """In-memory `ShardData`: row r of the arrays is row r // shards of shard r % shards.

    `inputs` and `target` are arrays (n, ...) or tuples of arrays; floats become float32, whole numbers and booleans
    int32. Raises `DataError` when there are no rows or the arrays differ in length.

    >>> data = ArrayData(np.arange(5.0)[:, None], np.arange(5), shards=2)
    >>> data.rows(0), data.rows(1), data.batch(1, 0, np.array([1, 0])).target.tolist()
    (3, 2, [3, 1])
    """

    producers = 0

    def __init__(self, inputs: Arrays, target: Arrays, shards: int = 1) -> None:
        if shards < 1:
            raise ArgumentError(f"ArrayData shards must be >= 1. Received: {shards}.")
        self.shards = shards
        self._inputs = tuple(_plain(array) for array in (inputs if isinstance(inputs, tuple) else (inputs,)))
        self._single_target = not isinstance(target, tuple)
        self._target = tuple(_plain(array) for array in (target if isinstance(target, tuple) else (target,)))
        lengths = {len(array) for array in self._inputs + self._target}
        if len(lengths) != 1 or lengths == {0}:
            raise DataError(f"Inputs and target must have the same number of rows, >= 1. Received: {sorted(lengths)}.")
        self.total = lengths.pop()

    def rows(self, shard: int) -> int:
        """Return the number of rows of `shard`."""
        return len(range(shard, self.total, self.shards))

    def batch(self, shard: int, epoch: int, indices: np.ndarray) -> MiniBatch:
        """Return rows `indices` of `shard`, copied."""
        places = np.asarray(indices) * self.shards + shard
        target = tuple(array.take(places, axis=0) for array in self._target)
        inputs = tuple(array.take(places, axis=0) for array in self._inputs)
        return MiniBatch(inputs, target[0] if self._single_target else target)


def _plain(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim < 1 or array.dtype.kind not in "fiub":
        raise DataError(f"Training arrays must be numeric with rows first. Received: {array.dtype} {array.shape}.")
    return np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int32)
