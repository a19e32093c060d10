"""How workers exchange what their shards computed; the serial case is a class like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from kernels.sparse import RowSparse
from nnframes.errors import ArgumentError
from nnframes.train.compression import Rounding
from nnframes.train.protocols import Replica
from nnframes.train.reduce import add_sparse, tree_sum
from nnframes.train.validation import merge

__all__ = ["SerialSync", "Sync"]


class Sync(Protocol):
    """One worker's end of the exchange. All workers must call `step`, `merge` and `complete` equally often."""

    shards: Sequence[int]
    """The shards that this worker computes."""

    is_complete: bool
    """Whether this worker's replica has all of its state: updates by slices leave parts of it with other workers."""

    def begin(self, messages: dict[int, np.ndarray], gradients: int) -> Callable[[int], None] | None:
        """Begin the exchange of an iteration whose `messages` are about to be computed, where that is worth it.

        The function that is returned, if any, is called by the thread that computes, with falling places from which on
        the `gradients` numbers in front of all messages are complete; from then on they may be summed in place. What
        it raises ends the iteration. `step` follows, with the same messages.
        """

    def step(self, replica: Replica, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]]) -> float:
        """Sum over the shards of all workers, let `replica` make the update of that, and return the mean loss.

        Sums are made along the tree of `nnframes.train.reduce`. `messages` float32 (message_size,) per own shard is
        working memory: it may be overwritten. Raises `SyncError` when another worker cannot be reached, and what
        `replica.update` does.
        """

    def merge(self, partials: dict[int, np.ndarray]) -> np.ndarray:
        """Return the sum over the shards of all workers of short float64 vectors, one per own shard.

        Along the same tree; `partials` stay as they are. Raises `SyncError` as `step` does.
        """

    def complete(self, replica: Replica) -> None:
        """Fetch what other workers have of the state of `replica`. Raises `SyncError` as `step` does."""


class SerialSync:
    """All shards in this process; `rounding` is that of their messages.

    >>> message, _ = SerialSync(2).all_reduce({0: np.ones(1), 1: np.ones(1)}, {0: {}, 1: {}})
    >>> message.tolist()
    [2.0]
    """

    is_complete = True

    def __init__(self, shards: int, rounding: Rounding | None = None) -> None:
        if shards < 1:
            raise ArgumentError(f"SerialSync shards must be >= 1. Received: {shards}.")
        self.shards: Sequence[int] = range(shards)
        self._rounding = rounding or Rounding()

    def begin(self, messages: dict[int, np.ndarray], gradients: int) -> None:
        """Exchange nothing."""

    def step(self, replica: Replica, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]]) -> float:
        """Let `replica` make the update of the sums; returns the mean loss."""
        return float(replica.update(*self.all_reduce(messages, sparse)))

    def complete(self, replica: Replica) -> None:
        """Do nothing: all of the state is here."""

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
