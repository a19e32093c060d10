"""The all-reduce between training tasks, and the update behind it: of all weights by everybody, or of a slice by each.

Every rank sums what it can of the fixed tree over shards (its maximal subtrees). Rank j then gets slice j of
everybody's subtrees, completes the tree on that slice (reduce-scatter), and sends the sum to everybody (all-gather);
slices are whole blocks of 4096 numbers. Small messages go to everybody whole, one round instead of two: everything is
elementwise, so the bits are those of `SerialSync` either way, for any placement of shards on ranks. Compressed
gradients (`nnframes.train.compression`) travel in both rounds as the 16 bits that every partial sum is rounded to.
Row-sparse gradients go whole to everybody and meet in the same tree.

Where everybody updates all weights, any rank can restore any other. Where that takes too much of an iteration
(`Worth`), rank j updates slice j and sends the weights in place of the sums, with the same bits. What the optim method
keeps of a slice is then with its rank alone until `complete` brings it to all: for snapshots, at the end, and when a
rank is due to copy its state (`Copies`) for the case that one is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Protocol

import numpy as np

from kernels.sparse import RowSparse
from nnframes.distributed.mesh import Mesh
from nnframes.distributed.tables import decode, encode
from nnframes.errors import SyncError
from nnframes.optim import BLOCK
from nnframes.train import Replica
from nnframes.train.compression import Rounding
from nnframes.train.reduce import Node, add_sparse, combine, partial_sums, subtrees
from nnframes.train.share import Share

__all__ = ["Copies", "GroupSync", "Worth"]

SMALL = 256 << 10
"""Bytes to send below which a second round costs more than the bytes that it saves."""

SPARSE_LIMIT = 16 << 30

SLICED, DUE = 1, 2
"""What a rank says of an iteration: that the update is made by slices (rank 0), that the state is wanted whole."""


class Copies(Protocol):
    """The copies that a rank's host keeps of the state (`nnframes.distributed.recovery.HostState`)."""

    @property
    def are_kept(self) -> bool:
        """Whether this rank makes any."""

    def is_due(self) -> bool:
        """Return whether it is time for one; the time until it is made counts as its cost."""

    def hasten(self) -> None:
        """Make the next one after this iteration."""


class Worth:
    """Whether updates by slices are worth it, by the time that the first updates of all weights take.

    Two short rounds more (three with a clipping by norm) cost less than they save from `SIZE` bytes of weights on, on
    two processes of one machine. But a slice that is lost with its rank costs the iterations since the last copy of the
    state. So at least `PART` of an iteration must be saved, in the first ones of a group.
    """

    SIZE = 4 << 20
    PART = 0.05
    ITERATIONS = 8

    def __init__(self, ranks: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.found: bool | None = None
        self._saved, self._clock = 1 - 1 / ranks, clock
        self._updates, self._first, self._updating = 0, 0.0, 0.0

    def update(self, make: Callable[[], float]) -> float:
        """Make an update of all weights, and note what it takes; returns what it does."""
        if self.found is not None:
            return make()
        started = self._clock()
        loss = make()
        ended = self._clock()
        if self._updates:  # before the first one all is compiled
            self._updating += ended - started
        else:
            self._first = ended
        self._updates += 1
        if self._updates > self.ITERATIONS:
            self.found = self._updating * self._saved >= self.PART * (ended - self._first)
        return loss


class GroupSync:
    """The exchange of one rank of a group: `Sync` of the training loop over a `Mesh`.

    `ranges` gives the shards of every rank, `rounding` that of their messages. Updates are by slices only where
    `copies` says that rank 0 keeps copies of its state. With one rank nothing is opened and nothing sent.
    """

    def __init__(
        self,
        ranges: Sequence[Sequence[int]],
        rank: int,
        mesh: Mesh,
        rounding: Rounding | None = None,
        copies: Copies | None = None,
    ) -> None:
        self.shards: Sequence[int] = ranges[rank]
        self.is_complete = True
        self.rank, self._mesh, self._rounding, self._copies = rank, mesh, rounding or Rounding(), copies
        self._worth, self._said = Worth(len(ranges)), 0
        self._count = sum(map(len, ranges))
        self._nodes = [subtrees(shards, self._count) for shards in ranges]
        self._others = [other for other in range(len(ranges)) if other != rank]
        self._iteration = 0
        self._size = -1

    def step(self, replica: Replica, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]]) -> float:
        """Sum, let `replica` update all weights or, where that is worth it, the own slice; returns the mean loss."""
        vectors = self._vectors(replica)
        if vectors is None:
            return float(replica.update(*self.all_reduce(messages, sparse)))
        total, tables = self._sums(messages, sparse, replica.gradient_size)
        if not self._said & SLICED:
            self.complete(replica)
            return self._worth.update(lambda: float(replica.update(total, tables)))
        self.is_complete = False
        loss = float(replica.update(total, tables, self._share(replica.gradient_size)))
        self._spread(vectors[:1], "weights")
        if self._said & DUE and self._copies is not None:
            self._copies.hasten()  # with those of the others: what is fetched once serves all
            self.complete(replica)
        return loss

    def complete(self, replica: Replica) -> None:
        """Bring every rank what the others' optim methods keep of their slices."""
        if not self.is_complete:
            self._spread(self._state_of(replica), "state")
            self.is_complete = True

    def all_reduce(
        self, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]]
    ) -> tuple[np.ndarray, dict[str, RowSparse]]:
        """Return the sums over the shards of all ranks; `messages` is working memory."""
        return self._sums(messages, sparse, 0)

    def _sums(
        self, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]], gradients: int
    ) -> tuple[np.ndarray, dict[str, RowSparse]]:
        """Return the sums; where updates are by slices, other ranks' slices of the first `gradients` are not filled."""
        self._iteration += 1
        dense = self._rounding.partial_sums(messages, self._count)
        tables = partial_sums(sparse, self._count, add_sparse)
        if not self._others:
            return self._rounding.combine(dense, self._count), combine(tables, self._count, add_sparse)
        self._prepare(len(next(iter(dense.values()))))
        own = encode(tables)
        sizes = self._scatter(dense, sum(array.nbytes for array in own), gradients)
        first, total = next(iter(dense.items()))
        self._sum_own(dense, first)
        start = gradients if self._said & SLICED else 0
        return total, self._gather(None if self._direct else total, start, tables, own, sizes)

    def _vectors(self, replica: Replica) -> list[np.ndarray] | None:
        """Return weights and state of which slices may be updated; None where there is no question of it."""
        if not self._others or 4 * replica.gradient_size < Worth.SIZE or self._rounding.kind != "none":
            return None
        return replica.vectors()

    def _says(self) -> int:
        """Say whether the update is by slices, and whether this rank wants to copy its state after it."""
        if self._copies is None:
            return 0
        sliced = self.rank == 0 and bool(self._worth.found) and self._copies.are_kept
        return SLICED * sliced | DUE * self._copies.is_due()

    def _share(self, size: int) -> Share:
        """Return the own part of `size` weights."""
        parts = [(min(low, size), min(high, size)) for low, high in self._slices]
        return Share(slice(*parts[self.rank]), max(-(-(high - low) // BLOCK) for low, high in parts), self._tell)

    def _tell(self, numbers: np.ndarray) -> np.ndarray:
        """Send float64 numbers to everybody; returns everybody's, the same on all ranks."""
        told = np.empty((len(self._nodes), len(numbers)))
        told[self.rank] = numbers
        self._mesh.exchange(
            {other: [told[self.rank]] for other in self._others},
            {other: [told[other]] for other in self._others},
            f"what ranks found in the gradients of iteration {self._iteration} of this group",
        )
        return told

    def _state_of(self, replica: Replica) -> list[np.ndarray]:
        """Return what the optim method keeps."""
        vectors = replica.vectors()
        assert vectors is not None
        return vectors[1:]

    def _spread(self, vectors: Sequence[np.ndarray], what: str) -> None:
        """Send the own slices of `vectors` and fill those of others."""
        size = max(map(len, vectors), default=0)
        parts = [slice(min(low, size), min(high, size)) for low, high in self._slices]
        self._mesh.exchange(
            {other: [vector[parts[self.rank]] for vector in vectors] for other in self._others},
            {other: [vector[parts[other]] for vector in vectors] for other in self._others},
            f"the {what} after iteration {self._iteration} of this group",
        )

    def merge(self, partials: dict[int, np.ndarray]) -> np.ndarray:
        """Return the sum over the shards of all ranks of float64 vectors; everybody gets everybody's, once."""
        own = partial_sums({shard: np.array(vector, np.float64) for shard, vector in partials.items()}, self._count)
        size = len(next(iter(own.values())))
        parts = {node: np.empty(size) for other in self._others for node in self._nodes[other]}
        self._mesh.exchange(
            {other: list(own.values()) for other in self._others},
            {other: [parts[node] for node in self._nodes[other]] for other in self._others},
            f"the validation after iteration {self._iteration} of this group",
        )
        return combine({**parts, **own}, self._count)

    def barrier(self, what: str = "the end of the training") -> None:
        """Return when all ranks are here; `what` names in errors what they wait for."""
        token = np.zeros(1, np.uint8)
        self._mesh.exchange(
            {other: [token] for other in self._others},
            {other: [np.empty(1, np.uint8)] for other in self._others},
            what,
        )

    def _prepare(self, size: int) -> None:
        """Lay out slices and buffers for messages of `size` numbers; once, unless the size changes."""
        if size == self._size:
            return
        ranks, blocks = len(self._nodes), -(-size // BLOCK)
        borders = [min(size, blocks * rank // ranks * BLOCK) for rank in range(ranks + 1)]
        borders[-1] = size
        self._size = size
        self._slices = [(borders[rank], borders[rank + 1]) for rank in range(ranks)]
        most = max(map(len, self._nodes))
        self._direct = 4 * size * most * len(self._others) <= SMALL
        low, high = (0, size) if self._direct else self._slices[self.rank]
        self._roundings = [self._rounding.behind(start) for start, _ in self._slices]
        self._own = self._rounding if self._direct else self._roundings[self.rank]
        self._parts = {node: np.empty(high - low, np.float32) for other in self._others for node in self._nodes[other]}
        self._rooms = {node: self._own.room(part) for node, part in self._parts.items()}

    def _scatter(self, dense: Mapping[Node, np.ndarray], sparse_bytes: int, gradients: int) -> dict[int, int]:
        """Send each rank its slice of the own sums and fill `_parts`; return the others' sparse sizes."""
        says = self._says() if gradients else 0
        header = np.array([self._iteration, sparse_bytes, says], "<u8")
        headers = {other: np.empty(3, "<u8") for other in self._others}
        whole = list(chain.from_iterable(map(self._own.pack, dense.values()))) if self._direct else []
        outgoing = {other: [header, *(whole or self._slice_of(dense, other))] for other in self._others}
        incoming = {
            other: [headers[other], *chain.from_iterable(self._rooms[node] for node in self._nodes[other])]
            for other in self._others
        }
        self._mesh.exchange(outgoing, incoming, f"the gradients of iteration {self._iteration} of this group")
        self._said = says
        for other, (iteration, size, said) in headers.items():
            if iteration != self._iteration or size > SPARSE_LIMIT:
                raise SyncError(
                    f"All ranks must be at one iteration. Received: {iteration} and {size} sparse bytes from "
                    f"{self._mesh.peers[other]}, rank {self.rank} is at {self._iteration}."
                )
            self._said |= int(said)
        for node, room in self._rooms.items():
            self._own.unpack(room, self._parts[node])
        return {other: int(values[1]) for other, values in headers.items()}

    def _slice_of(self, dense: Mapping[Node, np.ndarray], rank: int) -> list[np.ndarray]:
        """Return slice `rank` of the own sums, as it travels."""
        low, high = self._slices[rank]
        return [array for part in dense.values() for array in self._roundings[rank].pack(part[low:high])]

    def _sum_own(self, dense: Mapping[Node, np.ndarray], first: Node) -> None:
        """Sum the own slice over the tree, in place in node `first`: what was sent of it is free, nothing is copied."""
        low, high = (0, self._size) if self._direct else self._slices[self.rank]
        own = {node: part[low:high] for node, part in dense.items()}
        target = own[first]

        def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return self._own.add(a, b, out=b if b is target else a)

        combine({**self._parts, **own}, self._count, add)

    def _gather(
        self,
        total: np.ndarray | None,
        start: int,
        tables: Mapping[Node, dict[str, RowSparse]],
        own: list[np.ndarray],
        sizes: Mapping[int, int],
    ) -> dict[str, RowSparse]:
        """Fill the other ranks' slices of `total` from `start` on, and sum everybody's row-sparse gradients."""
        if total is None and not own and not any(sizes.values()):
            return {}
        ends = [(max(low, start), max(high, start)) for low, high in self._slices]
        slices = {} if total is None else {other: total[low:high] for other, (low, high) in enumerate(ends)}
        mine = list(self._own.pack(slices.pop(self.rank))) if slices else []
        rooms = {other: self._roundings[other].room(part) for other, part in slices.items()}
        blobs = {other: np.empty(size, np.uint8) for other, size in sizes.items()}
        self._mesh.exchange(
            {other: [*mine, *own] for other in self._others},
            {other: [*rooms.get(other, []), blobs[other]] for other in self._others},
            f"the sums of iteration {self._iteration} of this group",
        )
        for other, room in rooms.items():
            self._roundings[other].unpack(room, slices[other])
        parts: dict[Node, dict[str, RowSparse]] = {node: {} for nodes in self._nodes for node in nodes}
        parts.update(tables)
        for other, blob in blobs.items():
            if blob.size:
                parts.update(decode(blob, str(self._mesh.peers[other])))
        return combine(parts, self._count, add_sparse)
