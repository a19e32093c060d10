"""Which rows make which iteration: a pure function of (rows, batch size, shards, seed)."""

from __future__ import annotations

import numpy as np

from kernels.random import permutation
from nnframes.errors import ArgumentError

__all__ = ["SamplingPlan"]


class SamplingPlan:
    """Deals `rows` rows to `shards` shards and each epoch's shuffled rows to iterations of `batch_size` rows.

    Shard s holds ceil((rows - s) / shards) rows. Each epoch permutes the rows of each shard by (seed, epoch, shard);
    position g in [0, rows) of the epoch is row g // shards, so permuted, of shard g % shards, and iteration i takes the
    positions from i * batch_size on. So each row comes once an epoch, an iteration takes batch_size // shards rows or
    one more from each shard, and the last iteration of an epoch may be smaller. Any sizes >= 1 are legal; a shard may
    have no rows in an iteration. Raises `ArgumentError` for sizes < 1.

    >>> plan = SamplingPlan(rows=5, batch_size=4, shards=2, seed=0)
    >>> plan.iterations_per_epoch, plan.batch_rows(0), plan.batch_rows(1), plan.shard_rows(0)
    (2, 4, 1, 3)
    """

    def __init__(self, rows: int, batch_size: int, shards: int, seed: int) -> None:
        for name, value in (("rows", rows), ("batch_size", batch_size), ("shards", shards)):
            if value < 1:
                raise ArgumentError(f"{name} must be >= 1. Received: {value}.")
        self.rows = rows
        self.batch_size = batch_size
        self.shards = shards
        self.seed = seed
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    @property
    def iterations_per_epoch(self) -> int:
        """The number of iterations of an epoch, the last and perhaps smaller one included."""
        return -(-self.rows // self.batch_size)

    def shard_rows(self, shard: int) -> int:
        """Return the number of rows of `shard`."""
        return self._before(self.rows, shard)

    def batch_rows(self, step: int) -> int:
        """Return the number of rows of iteration `step` (from 0) of an epoch, over all shards."""
        return min(self.batch_size, self.rows - step * self.batch_size)

    def indices(self, epoch: int, step: int, shard: int) -> np.ndarray:
        """Return the rows inside `shard`, int64, that iteration `step` of `epoch` takes; perhaps none."""
        low = step * self.batch_size
        high = min(low + self.batch_size, self.rows)
        return self._order(epoch, shard)[self._before(low, shard) : self._before(high, shard)]

    def _before(self, position: int, shard: int) -> int:
        """Return how many of the epoch's first `position` positions are of `shard`."""
        return max(0, -(-(position - shard) // self.shards))

    def _order(self, epoch: int, shard: int) -> np.ndarray:
        kept = self._orders.get(shard)
        if kept is None or kept[0] != epoch:
            kept = (epoch, permutation(self.seed, epoch, shard, size=self.shard_rows(shard)))
            self._orders[shard] = kept
        return kept[1]
