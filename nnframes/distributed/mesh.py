"""The connections between training tasks: plain TCP, a full mesh, numpy buffers sent and filled in place.

Long arrays of ranks on one host do not go through it: who sends one tells where it is, who needs it reads it there
(`nnframes.distributed.neighbours`). Before anybody goes on, each has heard from the other twice:

    where my arrays are; I have read yours; you have read mine, and it was all in its place

because the one that is read must not give up, for instance a third one, and use the memory for something else
meanwhile.

A mesh is never mended: a peer that is gone or silent ends it (`PeerLost`), and the ranks meet anew
(`nnframes.distributed.rank`).
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nnframes.distributed.faults import PeerLost
from nnframes.distributed.neighbours import Card, Neighbour, are_long, table_of, table_room
from nnframes.distributed.wire import close_all

__all__ = ["Mesh", "Orders", "Peer"]

AWAKE = 0.0005
"""Seconds for which an exchange asks again and again before it sleeps."""

BUFFERS_AT_ONCE = 256

Parts = Mapping[int, Sequence[np.ndarray]]
"""Arrays that go to ranks, or come from them."""


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
        self._neighbours: dict[int, Neighbour] = {}
        self._card: Card | None = None
        self._orders = orders
        for sock in self._sockets.values():
            sock.setblocking(False)

    def interrupt(self) -> None:
        """End an exchange that another thread is in: it loses its peers."""
        for sock in self._sockets.values():
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all connections."""
        close_all(list(self._sockets.values()))
        for neighbour in self._neighbours.values():
            neighbour.close()
        self._neighbours.clear()
        if self._card is not None:
            self._card.withdraw()

    def introduce(self, ranks: Iterable[int]) -> None:
        """Find out which of these ranks, which do the same, this one and they can read each other's memory."""
        others, what = list(ranks), "who can read whose memory"
        if not others:
            return
        self._card = Card()
        own = [self._card.numbers]
        cards = {other: np.empty(Card.SIZE, np.int64) for other in others}
        self._swap(dict.fromkeys(others, own), {other: [card] for other, card in cards.items()}, what)
        for other, card in cards.items():
            with suppress(OSError, OverflowError):
                self._neighbours[other] = Neighbour(card)
        answers = {other: np.empty(1, np.bool_) for other in others}
        mine = {other: [np.array([other in self._neighbours])] for other in others}
        self._swap(mine, {other: [answer] for other, answer in answers.items()}, what)
        for other in [other for other in self._neighbours if not answers[other]]:
            self._neighbours.pop(other).close()

    def exchange(
        self,
        outgoing: Parts,
        incoming: Parts,
        what: str,
        awake: float = AWAKE,
    ) -> None:
        """Send arrays to ranks and fill arrays from ranks, all at once; sizes are known on both sides.

        For `awake` seconds it asks without a pause: with 0, others may compute on this core meanwhile.

        Raises `PeerLost` naming the rank, `what` was waited for, and how much came, when a peer is gone or nothing
        moved for `deadline` seconds.
        """
        shown, wanted = self._long(outgoing), self._long(incoming)
        if not shown and not wanted:
            self._swap(outgoing, incoming, what, awake)
            return
        counts = {other: np.empty(1, np.int64) for other in wanted}
        told = {**outgoing, **{other: table_of(arrays) for other, arrays in shown.items()}}
        self._swap(told, {**incoming, **{other: [count] for other, count in counts.items()}}, what, awake)
        tables = {other: table_room(int(count[0])) for other, count in counts.items()}
        self._swap({}, {other: [table] for other, table in tables.items()}, what, awake)
        for other, table in tables.items():
            self._read(other, table, wanted[other], what)
        word, near = np.zeros(1, np.uint8), shown.keys() | wanted.keys()
        for _ in ("I have read yours", "you have read mine"):
            self._swap({other: [word] for other in near}, {other: [np.empty_like(word)] for other in near}, what, awake)

    def send(self, ranks: Iterable[int], array: np.ndarray, what: str) -> None:
        """Send an array to ranks that `receive` it, perhaps in parts; another thread may receive meanwhile."""
        self._swap({rank: [array] for rank in ranks}, {}, what)

    def receive(self, rank: int, out: np.ndarray, what: str) -> None:
        """Fill `out` with the next of what a rank has sent."""
        self._swap({}, {rank: [out]}, what)

    def _read(self, other: int, table: np.ndarray, places: Sequence[np.ndarray], what: str) -> None:
        try:
            self._neighbours[other].read(table.tolist(), places)
        except OSError as error:
            raise PeerLost(self._lost(self.peers[other], what, error)) from error

    def _long(self, parts: Parts) -> Parts:
        """Return what neighbours read: who sends and who receives find the same, whatever the arrays."""
        return {other: parts[other] for other in self._neighbours if other in parts and are_long(parts[other])}

    def _swap(
        self,
        outgoing: Parts,
        incoming: Parts,
        what: str,
        awake: float = AWAKE,
    ) -> None:
        """Send and receive through the sockets."""
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
        self._finish(poller, waiting, what, awake)

    def _finish(self, poller: select.poll, waiting: dict[int, _Lane], what: str, awake: float) -> None:
        started = time.monotonic()
        end = started + self.deadline
        while waiting:
            now = time.monotonic()
            # Equal ranks come within moments of each other, and a sleep takes longer to end than such a moment.
            patience = 0.0 if now - started < awake else max(0.0, end - now) * 1000
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
            raise PeerLost(self._lost(lane.peer, what, error)) from error
        return not lane.outgoing and not lane.incoming

    def _lost(self, peer: Peer, what: str, error: OSError) -> str:
        return (
            f"Rank {self.rank} lost {peer} while it waited for {what}: {error}. "
            "Hint: that task died (out of memory, killed, or an error of its own): see its executor's log."
        )

    def _late(self, lane: _Lane, what: str) -> str:
        verb = "receive from" if lane.incoming else "send to"
        return (
            f"Rank {self.rank} waited {self.deadline:g} s to {verb} {lane.peer}: {what}, {lane.left()} bytes missing. "
            "Hint: that task hangs, or computes longer than that: setDeadline(seconds)."
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
