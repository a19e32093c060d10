"""The all-reduce between training tasks, and the update behind it: of all weights by everybody, or of a slice by each.

Every rank sums what it can of the fixed tree over shards (its maximal subtrees). Rank j then gets slice j of
everybody's subtrees, completes the tree on that slice (reduce-scatter), and sends the sum to everybody (all-gather);
slices are whole blocks of 4096 numbers. Small messages go to everybody whole, one round instead of two: everything is
elementwise, so the bits are those of `SerialSync` either way, for any placement of shards on ranks. Compressed
gradients (`nnframes.train.compression`) travel in both rounds as the 16 bits that every partial sum is rounded to.
Row-sparse gradients go whole to everybody and meet in the same tree.

Long messages have other ways too, with the same bits, of which rank 0 finds the shortest (`nnframes.distributed.ways`):
their sums begin while gradients are still computed (`nnframes.distributed.early`); or rank j updates slice j alone and
sends the weights in place of the sums. Where everybody updates all weights, any rank can restore any other; what the
optim method keeps of a slice is with its rank alone until `complete` brings it to all: for snapshots, at the end, and
when a rank is due to copy its state (`Copies`) for the case that one is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from kernels.sparse import RowSparse
from nnframes.distributed.early import Early, stretches
from nnframes.distributed.mesh import Mesh
from nnframes.distributed.region import Region
from nnframes.distributed.tables import decode, encode
from nnframes.distributed.ways import EARLY, SLICED, WHOLE, Ways
from nnframes.errors import SyncError
from nnframes.optim import BLOCK
from nnframes.train import Replica
from nnframes.train.compression import Rounding
from nnframes.train.reduce import Node, add_sparse, combine, partial_sums, subtrees
from nnframes.train.share import Share

__all__ = ["Copies", "GroupSync"]

SPARSE_LIMIT = 16 << 30


class Copies(Protocol):
    """The copies that a rank's host keeps of the state (`nnframes.distributed.recovery.HostState`)."""

    @property
    def are_kept(self) -> bool:
        """Whether this rank makes any."""

    def is_due(self) -> bool:
        """Return whether it is time for one; the time until it is made counts as its cost."""

    def hasten(self) -> None:
        """Make the next one after this iteration."""


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
        self._ways, self._way, self._is_wanted = Ways(len(ranges), rank), WHOLE, False
        self._count = sum(map(len, ranges))
        self._nodes = [subtrees(shards, self._count) for shards in ranges]
        self._others = [other for other in range(len(ranges)) if other != rank]
        self._iteration = 0
        self._regions: dict[tuple[int, int], Region] = {}
        self._slices: list[slice] = []
        self._share: Share | None = None  # of them
        self._early: Early | None = None

    def begin(self, messages: dict[int, np.ndarray], gradients: int) -> Callable[[int], None] | None:
        """Begin to sum the gradients from their end on, in a thread, where that is the way of this iteration."""
        assert self._early is None, "a step must follow"
        ends = stretches(gradients) if self._way == EARLY else []
        if not ends:
            return None
        regions = [self._region(*each) for each in ends]
        what = f"the gradients of iteration {self._iteration + 1} of this group"
        self._early = Early(regions, lambda region: self._sum_early(messages, region, what))
        return self._early.reached

    def step(self, replica: Replica, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]]) -> float:
        """Sum, let `replica` update all weights or, where that is the way, the own slice; returns the mean loss."""
        size = replica.gradient_size
        if not self._others or not stretches(size):
            return float(replica.update(*self.all_reduce(messages, sparse)))
        if self._way == SLICED:
            return self._step_by_slices(replica, messages, sparse)
        return self._ways.iterate(
            self._way,
            lambda: self._may_slice(replica),
            lambda: self._sums(messages, sparse, size),
            lambda sums: float(replica.update(*sums)),
        )

    def complete(self, replica: Replica) -> None:
        """Bring every rank what the others' optim methods keep of their slices."""
        if not self.is_complete:
            self._spread(self._vectors(replica)[1:], "state")
            self.is_complete = True

    def close(self) -> None:
        """End what is under way."""
        if self._early is not None:
            self._early.abandon(self._mesh.interrupt)
            self._early = None

    def all_reduce(
        self, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]]
    ) -> tuple[np.ndarray, dict[str, RowSparse]]:
        """Return the sums over the shards of all ranks; `messages` is working memory."""
        return self._sums(messages, sparse, 0)

    # ---------------------------------------------------------------- sums

    def _sums(
        self, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]], gradients: int
    ) -> tuple[np.ndarray, dict[str, RowSparse]]:
        """Return the sums; where updates are by slices, other ranks' slices of the first `gradients` are not filled.

        With 0 there is no question of ways.
        """
        self._iteration += 1
        tables = partial_sums(sparse, self._count, add_sparse)
        if not self._others:
            dense = self._rounding.partial_sums(messages, self._count)
            return self._rounding.combine(dense, self._count), combine(tables, self._count, add_sparse)
        regions = self._left(len(next(iter(messages.values()))))
        dense, total = self._own(messages)
        for region in regions:
            region.add_own(messages)
        own = encode(tables)
        sizes, following = self._scatter(regions, dense, sum(array.nbytes for array in own), gradients > 0)
        for region in regions:
            region.add_others(dense)
        combined = self._gather(regions, total, gradients if self._way == SLICED else 0, tables, own, sizes)
        self._way = following
        return total, combined

    def _own(self, messages: dict[int, np.ndarray]) -> tuple[dict[Node, np.ndarray], np.ndarray]:
        """Return the messages that hold the sums of the own parts of the tree, and the one where all comes together."""
        dense = {node: messages[node[0]] for node in self._nodes[self.rank]}
        return dense, next(iter(dense.values()))

    def _left(self, size: int) -> list[Region]:
        """Return what of messages of `size` numbers is not summed yet, when that is."""
        early = self._early
        if early is None:
            return [self._region(0, size)]
        early.finish()
        self._early = None
        return [self._region(0, early.start), self._region(early.stop, size)]

    def _region(self, start: int, stop: int) -> Region:
        if (start, stop) not in self._regions:
            self._regions[start, stop] = Region(start, stop, self._nodes, self.rank, self._count, self._rounding)
        return self._regions[start, stop]

    def _sum_early(self, messages: dict[int, np.ndarray], region: Region, what: str) -> None:
        """Sum a region of the messages of the iteration that is still computed."""
        region.add_own(messages)
        dense, total = self._own(messages)
        self._mesh.exchange(region.scattered(dense), region.rooms(), what, awake=0.0)
        region.add_others(dense)
        if not region.direct:
            own, places = region.gathered(total, 0)
            rooms = {other: list(place.room) for other, place in places.items()}
            self._mesh.exchange(dict.fromkeys(self._others, own), rooms, what, awake=0.0)
            for place in places.values():
                place.take()

    def _scatter(
        self, regions: Sequence[Region], dense: Mapping[Node, np.ndarray], sparse_bytes: int, has_ways: bool
    ) -> tuple[dict[int, int], int]:
        """Send each rank its slices of the own sums and take the own ones of theirs.

        Return the others' sparse sizes, and the way of the next iteration, which rank 0 tells.
        """
        way, is_due = self._says() if has_ways else (WHOLE, False)
        header = np.array([self._iteration, sparse_bytes, way, is_due], "<u8")
        headers = {other: np.empty_like(header) for other in self._others}
        outgoing = {other: [header] for other in self._others}
        incoming = {other: [headers[other]] for other in self._others}
        for region in regions:
            for lists, parts in ((outgoing, region.scattered(dense)), (incoming, region.rooms())):
                for other, arrays in parts.items():
                    lists[other] += arrays
        self._mesh.exchange(outgoing, incoming, f"the gradients of iteration {self._iteration} of this group")
        for other, (iteration, size, *_) in headers.items():
            if iteration != self._iteration or size > SPARSE_LIMIT:
                raise SyncError(
                    f"All ranks must be at one iteration. Received: {iteration} and {size} sparse bytes from "
                    f"{self._mesh.peers[other]}, rank {self.rank} is at {self._iteration}."
                )
        headers[self.rank] = header
        following = int(headers[0][2])
        self._is_wanted = any(each[3] for each in headers.values())
        if following != self._way:
            self._regions.clear()  # their buffers: another way has others
        return {other: int(headers[other][1]) for other in self._others}, following

    def _gather(
        self,
        regions: Sequence[Region],
        total: np.ndarray,
        start: int,
        tables: Mapping[Node, dict[str, RowSparse]],
        own: list[np.ndarray],
        sizes: Mapping[int, int],
    ) -> dict[str, RowSparse]:
        """Fill the other ranks' slices of `total` from `start` on, and sum everybody's row-sparse gradients."""
        parted = [region.gathered(total, start) for region in regions if not region.direct]
        if not parted and not own and not any(sizes.values()):
            return {}
        blobs = {other: np.empty(size, np.uint8) for other, size in sizes.items()}
        mine = [array for arrays, _ in parted for array in arrays]
        self._mesh.exchange(
            {other: [*mine, *own] for other in self._others},
            {
                other: [*(room for _, places in parted for room in places[other].room), blobs[other]]
                for other in self._others
            },
            f"the sums of iteration {self._iteration} of this group",
        )
        for _, places in parted:
            for place in places.values():
                place.take()
        parts: dict[Node, dict[str, RowSparse]] = {node: {} for nodes in self._nodes for node in nodes}
        parts.update(tables)
        for other, blob in blobs.items():
            if blob.size:
                parts.update(decode(blob, str(self._mesh.peers[other])))
        return combine(parts, self._count, add_sparse)

    # ---------------------------------------------------------------- updates by slices

    def _step_by_slices(
        self, replica: Replica, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]]
    ) -> float:
        size = replica.gradient_size
        ends = self._region(0, len(next(iter(messages.values())))).slices
        total, tables = self._sums(messages, sparse, size)
        slices = [slice(min(low, size), min(high, size)) for low, high in ends]
        if self._share is None or slices != self._slices:
            blocks = max(-(-(each.stop - each.start) // BLOCK) for each in slices)
            self._slices, self._share = slices, Share(slices[self.rank], blocks, self._tell)
        self.is_complete = False
        loss = float(replica.update(total, tables, self._share))
        self._spread(self._vectors(replica)[:1], "weights")
        if self._is_wanted and self._copies is not None:
            self._copies.hasten()  # with those of the others: what is fetched once serves all
        if self._is_wanted or self._way != SLICED:
            self.complete(replica)
        return loss

    @property
    def _can_go_back(self) -> bool:
        """Whether there is something to go back to when a slice is lost, and weights take no more than sums."""
        return self._copies is not None and self._copies.are_kept and self._rounding.kind == "none"

    def _may_slice(self, replica: Replica) -> bool:
        return self._can_go_back and 4 * replica.gradient_size >= Ways.SIZE and replica.vectors() is not None

    def _says(self) -> tuple[int, bool]:
        """Say, on rank 0, which way the next iteration goes, and whether this rank wants to copy its state."""
        way = self._ways.way
        if way == SLICED and not self._can_go_back:
            way = self._ways.otherwise
        return way, self._way == SLICED and self._copies is not None and self._copies.is_due()

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

    def _vectors(self, replica: Replica) -> list[np.ndarray]:
        vectors = replica.vectors()
        assert vectors is not None
        return vectors

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

    def _spread(self, vectors: Sequence[np.ndarray], what: str) -> None:
        """Send the own slices of `vectors` and fill those of others."""
        self._mesh.exchange(
            {other: [vector[self._slices[self.rank]] for vector in vectors] for other in self._others},
            {other: [vector[self._slices[other]] for vector in vectors] for other in self._others},
            f"the {what} after iteration {self._iteration} of this group",
        )
