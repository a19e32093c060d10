"""Mini-batches made by other threads before the loop asks for them, so that features are ready when the engine is.

What is made ahead does not show in the result: a batch depends on (seed, epoch, shard, rows) alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from nnframes.train.data import MiniBatch, ShardData
from nnframes.train.plan import SamplingPlan
from nnframes.train.state import TrainState

__all__ = ["Ahead", "batches_ahead", "requests"]

Request = tuple[int, int, np.ndarray]
"""Shard, epoch and rows of a mini-batch."""


@contextmanager
def batches_ahead(data: ShardData, plan: SamplingPlan, shards: Sequence[int], state: TrainState) -> Iterator[ShardData]:
    """Give `data` with `data.producers` threads that make what training from `state` on asks for; without any, itself.

    At the end what is under way is finished and thrown away.
    """
    if not data.producers:
        yield data
        return
    # A plan of its own: one keeps the order of one epoch only, and this one is ahead.
    own = SamplingPlan(plan.rows, plan.batch_size, plan.shards, plan.seed)
    with ThreadPoolExecutor(data.producers, thread_name_prefix="nnframes-batches") as pool:
        try:
            yield Ahead(data, requests(own, shards, state), pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def requests(plan: SamplingPlan, shards: Sequence[int], state: TrainState) -> Iterator[Request]:
    """Yield without end what the loop asks for, in its order.

    >>> plan = SamplingPlan(rows=5, batch_size=4, shards=2, seed=0)
    >>> asked = requests(plan, [0, 1], TrainState())
    >>> [(shard, epoch, len(rows)) for (shard, epoch, rows), _ in zip(asked, range(4))]
    [(0, 0, 2), (1, 0, 2), (0, 0, 1), (0, 1, 2)]
    """
    epoch, step = state.epoch, state.step
    while True:
        for shard in shards:
            rows = plan.indices(epoch, step, shard)
            if len(rows):
                yield shard, epoch, rows
        step += 1
        if step == plan.iterations_per_epoch:
            epoch, step = epoch + 1, 0


class Ahead:
    """`ShardData` whose next batches `pool` makes: as many as it has threads, and one in store."""

    def __init__(self, data: ShardData, expected: Iterator[Request], pool: ThreadPoolExecutor) -> None:
        self.producers = data.producers
        self._data, self._expected, self._pool = data, expected, pool
        self._made: deque[tuple[Request, Future[MiniBatch]]] = deque()

    def rows(self, shard: int) -> int:
        """Return the number of rows of `shard`."""
        return self._data.rows(shard)

    def batch(self, shard: int, epoch: int, indices: np.ndarray) -> MiniBatch:
        """Return rows `indices` of `shard`, raising what making them raised; others than expected are made here."""
        self._fill()
        (expected_shard, expected_epoch, rows), future = self._made[0]
        if (shard, epoch) != (expected_shard, expected_epoch) or not np.array_equal(indices, rows):
            return self._data.batch(shard, epoch, indices)
        self._made.popleft()
        self._fill()
        return future.result()

    def _fill(self) -> None:
        while len(self._made) <= self.producers:
            request = next(self._expected)
            self._made.append((request, self._pool.submit(self._data.batch, *request)))
