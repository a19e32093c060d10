"""What the training loop asks of a network; `nnframes.train.replica` has the network-bound one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from kernels.sparse import RowSparse
from nnframes.train.data import MiniBatch
from nnframes.train.share import Share
from nnframes.train.validation import ValidationMethod

__all__ = ["Replica"]


class Replica(Protocol):
    """One copy of network, criterion and optim method; replicas that start equal and get equal sums stay equal.

    With updates by slices their weights do, while each keeps the optim method's state of its own slice.
    """

    message_size: int
    """float32 numbers in a message: gradient sum, batch statistics sum, loss sum, weight sum."""

    gradient_size: int
    """How many of them, in front, are gradients, which may be rounded on their way."""

    def gradient(
        self,
        shard: int,
        batch: MiniBatch,
        iteration: int,
        out: np.ndarray,
        reached: Callable[[int], None] | None = None,
    ) -> dict[str, RowSparse]:
        """Write the sums over `batch`, not divided by anything, to all of `out` float32 (message_size,).

        `reached(start)` may be told that the gradients are complete from `start` on, while the rest is computed. From
        then on those numbers are the caller's, who sums others into them: nobody here reads or writes them again.
        `batch` is one shard's part (>= 1 row) of the iteration; random numbers depend on (seed, iteration, shard).
        Returns the tables' gradient sums. Leaves the replica's weights and buffers as they are.
        """

    def mean_loss(self, message: np.ndarray) -> float:
        """Return what `update` of these sums would return, from the end of the message alone.

        `message` may lack its beginning: its last numbers are those of a whole message, at least 4096 of them or all.
        """

    def update(self, message: np.ndarray, sparse: dict[str, RowSparse], share: Share | None = None) -> float:
        """Make one update from the sums over all shards and return the mean loss.

        Divides by the weight sum, adds regularisers, clips, runs the optim method; may overwrite what it is given.
        With a `share` the gradient's sums are in its part of `message` only, and only this part of `vectors` is
        updated. Raises `FloatingPointError`, whose text names what is not finite, and leaves the weights as they were;
        a loss that is not may be returned instead.
        """

    def vectors(self) -> list[np.ndarray] | None:
        """Return float32 (gradient_size,): the dense weights, then what the optim method keeps of them; in place.

        None where an update cannot be made part by part.
        """

    def evaluator(self, methods: Sequence[ValidationMethod], batch_size: int) -> Callable[[MiniBatch], np.ndarray]:
        """Return what gives the joint partial results of `methods` for batches of 1 to `batch_size` rows.

        It runs the network without randomness, with the weights and buffers of this moment, which stay as they are.
        """

    def weights(self) -> dict[str, np.ndarray]:
        """Return what a trained network is made of, perhaps as views: parameters, buffers and tables."""

    def state(self, into: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Return copies of all that a restart needs: weights, buffers, tables, optim state, counters.

        `into` is what an earlier call returned, whose memory may serve for them.
        """

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state` returned."""
