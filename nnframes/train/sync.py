"""How workers exchange what their shards computed; the serial case is a class like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from kernels.sparse import RowSparse
from nnframes.errors import ArgumentError
from nnframes.train.compression import Rounding
from nnframes.train.reduce import add_sparse, tree_sum
from nnframes.train.validation import merge

__all__ = ["SerialSync", "Sync"]


class Sync(Protocol):
    """One worker's end of the exchange. All workers must call `all_reduce` equally often."""

    shards: Sequence[int]
    """The shards that this worker computes."""

    def all_reduce(
        self, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]]
    ) -> tuple[np.ndarray, dict[str, RowSparse]]:
        """Return the sums over the shards of all workers, along the tree of `nnframes.train.reduce`.

        `messages` float32 (message_size,) per own shard is working memory: it may be overwritten, and the result may
        be one of its arrays, good until the next call. Raises `SyncError` when another worker cannot be reached.
        """

    def merge(self, partials: dict[int, np.ndarray]) -> np.ndarray:
        """Return the sum over the shards of all workers of short float64 vectors, one per own shard.

        Along the same tree; `partials` stay as they are. Raises `SyncError` as `all_reduce` does.
        """


class SerialSync:
    """All shards in this process; `rounding` is that of their messages.

    >>> message, _ = SerialSync(2).all_reduce({0: np.ones(1), 1: np.ones(1)}, {0: {}, 1: {}})
    >>> message.tolist()
    [2.0]
    """

    def __init__(self, shards: int, rounding: Rounding | None = None) -> None:
        if shards < 1:
            raise ArgumentError(f"SerialSync shards must be >= 1. Received: {shards}.")
        self.shards: Sequence[int] = range(shards)
        self._rounding = rounding or Rounding()

    def all_reduce(
        self, messages: Mapping[int, np.ndarray], sparse: Mapping[int, dict[str, RowSparse]]
    ) -> tuple[np.ndarray, dict[str, RowSparse]]:
        """Return the sums over all shards, the dense one in the array of shard 0."""
        count = len(self.shards)
        total = self._rounding.combine(self._rounding.partial_sums(messages, count), count)
        return total, tree_sum(sparse, count, add_sparse)

    def merge(self, partials: dict[int, np.ndarray]) -> np.ndarray:
        """Return the sum of one float64 vector per shard."""
        return merge(partials, len(self.shards))
