"""The all-reduce between training tasks: plain TCP, a full mesh, numpy buffers sent and filled in place.

Every rank sums what it can of the fixed tree over shards (its maximal subtrees). Rank j then gets slice j of
everybody's subtrees, completes the tree on that slice (reduce-scatter), and sends the sum to everybody (all-gather);
slices are whole blocks of 4096 numbers. Small messages go to everybody whole, one round instead of two: everything is
elementwise, so the bits are those of `SerialSync` either way, for any placement of shards on ranks. Compressed
gradients (`nnframes.train.compression`) travel in both rounds as the 16 bits that every partial sum is rounded to.

Row-sparse gradients go whole to everybody and meet in the same tree. A mesh is never mended: a peer that is gone or
silent ends it (`PeerLost`), and the ranks meet anew (`nnframes.distributed.rank`).
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np

from kernels.sparse import RowSparse
from nnframes.distributed.faults import PeerLost
from nnframes.distributed.tables import decode, encode
from nnframes.distributed.wire import close_all
from nnframes.errors import SyncError
from nnframes.optim import BLOCK
from nnframes.train.compression import Rounding
from nnframes.train.reduce import Node, add_sparse, combine, partial_sums, subtrees

__all__ = ["GroupSync", "Mesh", "Orders", "Peer"]

SMALL = 256 << 10
"""Bytes to send below which a second round costs more than the bytes that it saves."""

AWAKE = 0.0005
"""Seconds for which an exchange asks again and again before it sleeps."""

SPARSE_LIMIT = 16 << 30
BUFFERS_AT_ONCE = 256


@dataclass(frozen=True)
class Peer:
    """Another rank, for messages."""

    rank: int
    host: str
    address: str

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} ({self.address})"


class Orders(Protocol):
    """The driver's end as a rank sees it during a wait: readable when it has something to say, or is gone."""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""

    def check(self) -> None:
        """Raise `SyncError` when the driver stopped the training or is gone, `PeerLost` when ranks must meet anew."""


class Mesh:
    """One rank's connections to all others."""

    def __init__(
        self,
        rank: int,
        sockets: Mapping[int, socket.socket],
        peers: Mapping[int, Peer],
        deadline: float,
        orders: Orders | None = None,
    ) -> None:
        self.rank, self.deadline = rank, deadline
        self.peers = dict(peers)
        self._sockets = dict(sockets)
        self._orders = orders
        for sock in self._sockets.values():
            sock.setblocking(False)

    def close(self) -> None:
        """Close all connections."""
        close_all(list(self._sockets.values()))

    def exchange(
        self,
        outgoing: Mapping[int, Sequence[np.ndarray]],
        incoming: Mapping[int, Sequence[np.ndarray]],
        what: str,
    ) -> None:
        """Send arrays to ranks and fill arrays from ranks, all at once; sizes are known on both sides.

        Raises `PeerLost` naming the rank, `what` was waited for, and how much came, when a peer is gone or nothing
        moved for `deadline` seconds.
        """
        lanes = [
            _Lane(self._sockets[rank], peer, _bytes(outgoing.get(rank, ())), _bytes(incoming.get(rank, ())))
            for rank, peer in self.peers.items()
            if rank in outgoing or rank in incoming
        ]
        waiting = {lane.sock.fileno(): lane for lane in lanes if not self._move(lane, what)}
        if not waiting:
            return
        poller = select.poll()
        for descriptor, lane in waiting.items():
            poller.register(descriptor, lane.events())
        if self._orders is not None:
            poller.register(self._orders.fileno(), select.POLLIN)
        self._finish(poller, waiting, what)

    def _finish(self, poller: select.poll, waiting: dict[int, _Lane], what: str) -> None:
        started = time.monotonic()
        end = started + self.deadline
        while waiting:
            now = time.monotonic()
            # Equal ranks come within moments of each other, and a sleep takes longer to end than such a moment.
            patience = 0.0 if now - started < AWAKE else max(0.0, end - now) * 1000
            for descriptor, _ in poller.poll(patience):
                lane = waiting.get(descriptor)
                if lane is None:
                    if self._orders is not None:
                        self._orders.check()
                    continue
                moved = lane.left()
                if self._move(lane, what):
                    poller.unregister(descriptor)
                    del waiting[descriptor]
                else:
                    poller.modify(descriptor, lane.events())
                if lane.left() != moved:
                    end = time.monotonic() + self.deadline
            if waiting and time.monotonic() >= end:
                raise PeerLost(self._late(next(iter(waiting.values())), what))

    def _move(self, lane: _Lane, what: str) -> bool:
        """Send and receive what goes without waiting; return whether the lane is finished."""
        try:
            lane.push()
            lane.pull()
        except OSError as error:
            raise PeerLost(
                f"Rank {self.rank} lost {lane.peer} while it waited for {what}: {error}. "
                "Hint: that task died (out of memory, killed, or an error of its own): see its executor's log."
            ) from error
        return not lane.outgoing and not lane.incoming

    def _late(self, lane: _Lane, what: str) -> str:
        verb = "receive from" if lane.incoming else "send to"
        return (
            f"Rank {self.rank} waited {self.deadline:g} s to {verb} {lane.peer}: {what}, {lane.left()} bytes missing. "
            "Hint: that task hangs or computes longer than the deadline."
        )


class _Lane:
    """What is still to go to, and come from, one peer."""

    def __init__(self, sock: socket.socket, peer: Peer, outgoing: list[memoryview], incoming: list[memoryview]) -> None:
        self.sock, self.peer, self.outgoing, self.incoming = sock, peer, outgoing, incoming

    def events(self) -> int:
        return (select.POLLOUT if self.outgoing else 0) | (select.POLLIN if self.incoming else 0)

    def left(self) -> int:
        return sum(map(len, self.outgoing)) + sum(map(len, self.incoming))

    def push(self) -> None:
        while self.outgoing:
            try:
                count = self.sock.sendmsg(self.outgoing[:BUFFERS_AT_ONCE])
            except BlockingIOError:
                return
            self.outgoing = _after(self.outgoing, count)

    def pull(self) -> None:
        while self.incoming:
            try:
                count = self.sock.recv_into(self.incoming[0])
            except BlockingIOError:
                return
            if not count:
                raise ConnectionError("the connection was closed")
            self.incoming = _after(self.incoming, count)


def _after(buffers: list[memoryview], count: int) -> list[memoryview]:
    """Return what is left of `buffers` after `count` bytes."""
    for number, buffer in enumerate(buffers):
        if count < len(buffer):
            return [buffer[count:], *buffers[number + 1 :]]
        count -= len(buffer)
    return []


def _bytes(arrays: Sequence[np.ndarray]) -> list[memoryview]:
    return [array.data.cast("B") for array in arrays if array.size]


class GroupSync:
    """The exchange of one rank of a group: `Sync` of the training loop over a `Mesh`.

    `ranges` gives the shards of every rank, `rounding` that of their messages. With one rank nothing is opened and
    nothing sent.
    """

    def __init__(
        self, ranges: Sequence[Sequence[int]], rank: int, mesh: Mesh, rounding: Rounding | None = None
    ) -> None:
        self.shards: Sequence[int] = ranges[rank]
        self.rank, self._mesh, self._rounding = rank, mesh, rounding or Rounding()
        self._count = sum(map(len, ranges))
        self._nodes = [subtrees(shards, self._count) for shards in ranges]
        self._others = [other for other in range(len(ranges)) if other != rank]
        self._iteration = 0
        self._size = -1

    def all_reduce(
        self, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]]
    ) -> tuple[np.ndarray, dict[str, RowSparse]]:
        """Return the sums over the shards of all ranks; `messages` is working memory."""
        self._iteration += 1
        dense = self._rounding.partial_sums(messages, self._count)
        tables = partial_sums(sparse, self._count, add_sparse)
        if not self._others:
            return self._rounding.combine(dense, self._count), combine(tables, self._count, add_sparse)
        self._prepare(len(next(iter(dense.values()))))
        own = encode(tables)
        sizes = self._scatter(dense, sum(array.nbytes for array in own))
        first, total = next(iter(dense.items()))
        self._complete(dense, first)
        return total, self._gather(None if self._direct else total, tables, own, sizes)

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

    def _scatter(self, dense: Mapping[Node, np.ndarray], sparse_bytes: int) -> dict[int, int]:
        """Send each rank its slice of the own sums and fill `_parts`; return the others' sparse sizes."""
        header = np.array([self._iteration, sparse_bytes], "<u8")
        headers = {other: np.empty(2, "<u8") for other in self._others}
        whole = list(chain.from_iterable(map(self._own.pack, dense.values()))) if self._direct else []
        outgoing = {other: [header, *(whole or self._slice_of(dense, other))] for other in self._others}
        incoming = {
            other: [headers[other], *chain.from_iterable(self._rooms[node] for node in self._nodes[other])]
            for other in self._others
        }
        self._mesh.exchange(outgoing, incoming, f"the gradients of iteration {self._iteration} of this group")
        for other, (iteration, size) in headers.items():
            if iteration != self._iteration or size > SPARSE_LIMIT:
                raise SyncError(
                    f"All ranks must be at one iteration. Received: {iteration} and {size} sparse bytes from "
                    f"{self._mesh.peers[other]}, rank {self.rank} is at {self._iteration}."
                )
        for node, room in self._rooms.items():
            self._own.unpack(room, self._parts[node])
        return {other: int(values[1]) for other, values in headers.items()}

    def _slice_of(self, dense: Mapping[Node, np.ndarray], rank: int) -> list[np.ndarray]:
        """Return slice `rank` of the own sums, as it travels."""
        low, high = self._slices[rank]
        return [array for part in dense.values() for array in self._roundings[rank].pack(part[low:high])]

    def _complete(self, dense: Mapping[Node, np.ndarray], first: Node) -> None:
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
        tables: Mapping[Node, dict[str, RowSparse]],
        own: list[np.ndarray],
        sizes: Mapping[int, int],
    ) -> dict[str, RowSparse]:
        """Fill the other ranks' slices of `total`, and sum everybody's row-sparse gradients."""
        if total is None and not own and not any(sizes.values()):
            return {}
        slices = {} if total is None else {other: total[low:high] for other, (low, high) in enumerate(self._slices)}
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
