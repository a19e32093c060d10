"""The driver's end: where ranks meet, what they are told, and what the driver hears from them while they train.

A rank calls, proves the secret and says who it is (partition, host, own address, shards on its host, how far its state
is). When all are there the driver deals shard ranges to ranks, next to their files where possible, and answers with
everybody's address. The same connection then carries progress and heartbeats to the driver, and the driver's orders to
the rank: "regroup", "release", "stop".

Ranks may meet many times. When one is lost, the others are told to come back on their connections; they keep their
ranks, and the process that Spark starts in place of the lost one takes the rank that is free. Each meeting has tokens
of its own, without which ranks do not let each other in: a process that was taken for lost cannot come back by the
side door. A second caller for a partition that is here (speculation, a stage retry) waits in line without an answer:
it takes over if the first is lost, and is sent home when the first is done.
"""

from __future__ import annotations

import queue
import secrets
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nnframes.distributed.balance import Piece, ranges
from nnframes.distributed.wire import Deadline, Doorkeeper, Secret, close_all, receive_frame, send_frame
from nnframes.errors import SyncError, TrainingError

__all__ = ["Event", "Rendezvous", "answers", "assign", "described"]

ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Event:
    """Something that the driver hears.

    Kind "arrived", "started" (all ranks are together, `data` says at which position), "left" (a rank wants to meet the
    others anew, `data` says why), "progress", "delivering", "done", "failed", "lost" or "silent".
    """

    kind: str
    rank: int
    host: str
    data: dict = field(default_factory=dict)


@dataclass(eq=False)
class _Caller:
    partition: int
    hello: dict
    sock: socket.socket
    rank: int = -1
    ready: bool = True
    """It waits for the others, and is not in a group."""

    done: bool = False
    failed: bool = False
    sending: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        return str(self.hello.get("host"))

    def say(self, message: dict) -> None:
        try:
            with self.sending:
                send_frame(self.sock, message, Deadline(ANSWER_SECONDS))
        except OSError:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)  # wakes its listener, which reports the loss


class Rendezvous:
    """Serves the groups of `ranks` tasks; events come in `events`, in the thread that asks for them."""

    def __init__(
        self, bind: str, secret: Secret, ranks: int, pieces: Sequence[Sequence[Piece]], silence: float
    ) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self._ranks, self._pieces, self._silence = ranks, pieces, silence
        self._lines: dict[int, list[_Caller]] = {partition: [] for partition in range(ranks)}
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._order: dict | None = None
        self._meetings = 0
        self._door = Doorkeeper(bind, secret, self._arrive)
        self.port = self._door.port

    @property
    def arrived(self) -> int:
        """The partitions that somebody came for and is still here, or has finished."""
        with self._lock:
            return sum(bool(line) for line in self._lines.values())

    @property
    def complete(self) -> bool:
        """Whether nobody is missing and nobody waits for a group."""
        with self._lock:
            return all(line and not line[0].ready for line in self._lines.values())

    def stop(self, reason: str, resume: bool = False) -> None:
        """Tell all ranks to stop, also those that still call; with `resume` to keep their state for another group."""
        self._tell({"kind": "stop", "reason": reason, "resume": resume})

    def await_ends(self, seconds: float) -> None:
        """Wait until all ranks have gone after a stop, a bounded time."""
        with self._changed:
            self._changed.wait_for(lambda: all(each.done for line in self._lines.values() for each in line), seconds)

    def close(self) -> None:
        """Stop listening and close all connections."""
        self._door.close()
        with self._lock:
            self._order = self._order or {"kind": "stop", "reason": "it has ended.", "resume": False}
            close_all([caller.sock for line in self._lines.values() for caller in line])

    # ---------------------------------------------------------------- one caller, in a thread of its own

    def _arrive(self, sock: socket.socket, hello: dict) -> None:
        partition = hello.get("partition")
        if not isinstance(partition, int) or partition not in self._lines:
            sock.close()
            return
        caller = _Caller(partition, hello, sock)
        with self._lock:
            order = self._order_of(partition)
            line = self._lines[partition]
            line.append(caller)
            first = line[0] is caller
        if order is not None:
            caller.say(order)
        elif first:
            self.events.put(Event("arrived", partition, caller.host))
            self._assemble()
        self._listen(caller)

    def _order_of(self, partition: int) -> dict | None:
        """What a newcomer is told at once: that all is over, or that its partition's result is there already."""
        done = next((caller for caller in self._lines[partition] if caller.done), None)
        if done is not None and done.rank == 0 and self._order_is("release"):
            return {"kind": "stop", "reason": "this rank has finished already.", "resume": False}
        return self._order

    def _order_is(self, kind: str) -> bool:
        return self._order is not None and self._order["kind"] == kind

    def _listen(self, caller: _Caller) -> None:
        """Turn what a rank says into events until it is gone."""
        kind = "lost"
        try:
            while True:
                self._hear(caller, receive_frame(caller.sock, Deadline(self._silence)))
        except TimeoutError:
            kind = "silent"
        except OSError:
            pass
        self._gone(caller, kind)

    def _hear(self, caller: _Caller, message: dict) -> None:
        kind = message.get("kind")
        if kind == "join":
            with self._lock:
                caller.hello, caller.ready = message, True
            self._note("left", caller, message)
            self._regroup()
        elif kind in ("progress", "delivering", "failed", "done"):
            with self._lock:
                caller.done |= kind == "done"
                caller.failed |= kind == "failed"
            self._note(kind, caller, message)
            if kind == "done" and caller.rank == 0:
                self._tell({"kind": "release"})

    def _gone(self, caller: _Caller, kind: str) -> None:
        """Close up a line: who stands next takes over, or Spark's next attempt will."""
        with self._changed:
            line = self._lines[caller.partition]
            first = bool(line) and line[0] is caller
            if not caller.done and caller in line:
                line.remove(caller)
            close_all([caller.sock])
            self._changed.notify_all()
        if first and not caller.done:
            if not caller.failed:
                self._note(kind, caller, {})
            self._regroup()

    def _note(self, kind: str, caller: _Caller, data: dict) -> None:
        self.events.put(Event(kind, caller.rank, caller.host, data))

    # ---------------------------------------------------------------- all callers

    def _regroup(self) -> None:
        """Call everybody back, and start when all are there."""
        with self._lock:
            if self._order is not None:
                return
            running = [line[0] for line in self._lines.values() if line and not line[0].ready]
            order = {"kind": "regroup", "meeting": self._meetings}
        for caller in running:
            caller.say(order)
        self._assemble()

    def _assemble(self) -> None:
        """Answer all ranks when the last one is there."""
        with self._lock:
            if self._order is not None or not all(line and line[0].ready for line in self._lines.values()):
                return
            callers = [self._lines[partition][0] for partition in range(self._ranks)]
            try:
                told = answers([{**caller.hello, "token": secrets.token_hex(8)} for caller in callers], self._pieces)
            except Exception as error:  # in a thread: nobody else would hear of it, and all ranks wait
                self._note("failed", callers[-1], {"error": type(error).__name__, "text": str(error)})
                return
            # All ranks are set before one may report.
            for caller, answer in zip(callers, told, strict=True):
                caller.rank, caller.ready = answer["rank"], False
            self._meetings += 1
            start = {"kind": "start", "meeting": self._meetings}
        self.events.put(Event("started", -1, "", {"position": max(peer["position"] for peer in told[0]["peers"])}))
        for caller, answer in zip(callers, told, strict=True):
            caller.say({**start, **answer})

    def _tell(self, order: dict) -> None:
        """Give the last order: to all who are here, and to all who will come."""
        with self._lock:
            self._order = order
            waiting = [caller for line in self._lines.values() for caller in line if not caller.done]
            # A duplicate of the rank with the result must not end well: Spark would take its end, without rows.
            orders = [self._order_of(caller.partition) or order for caller in waiting]
        for caller, own in zip(waiting, orders, strict=True):
            caller.say(own)


def answers(hellos: Sequence[Mapping[str, Any]], pieces: Sequence[Sequence[Piece]]) -> list[dict[str, Any]]:
    """Return what each of the callers is told: its rank, the ranks' addresses and positions, what `assign` found.

    A caller that says its "rank" keeps it, and has its rows.
    """
    plan = assign([hello["shards"] for hello in hellos], pieces, [hello.get("rank") for hello in hellos])
    peers: list[dict[str, Any]] = [{} for _ in hellos]
    for hello, rank in zip(hellos, plan["ranks"], strict=True):
        peers[rank] = {name: hello[name] for name in ("host", "address", "port", "token")}
        peers[rank]["position"] = list(hello.get("position", (0, 0)))
    shared = {"peers": peers, "transfers": plan["transfers"], "unreachable": plan["unreachable"]}
    return [{"rank": rank, **shared} for rank in plan["ranks"]]


def described(event: Event, ranks: int) -> TrainingError:
    """Return a rank's failure ("failed", "left", "lost" or "silent") as an error that names rank, host and cause."""
    where = f"a task on {event.host}" if event.rank < 0 else f"rank {event.rank} of {ranks} on {event.host}"
    where = event.data.get("where", where)
    if event.kind == "left":
        return SyncError(f"Training failed on {where}: {event.data.get('reason')}")
    if event.kind == "failed":
        kind = SyncError if event.data.get("sync") else TrainingError
        failure = kind(f"Training failed on {where}: {event.data['error']}: {event.data['text']}")
        failure.__cause__ = RuntimeError(event.data.get("trace", ""))
        return failure
    what = "ended without a word" if event.kind == "lost" else "was silent too long"
    return SyncError(
        f"Training failed on {where}: its process {what}. Hint: it was killed, often for memory: raise "
        "spark.executor.memoryOverhead, or give each task fewer shards; its executor's log says more."
    )


def assign(
    visible: Sequence[Sequence[int]], pieces: Sequence[Sequence[Piece]], kept: Sequence[int | None] = ()
) -> dict[str, Any]:
    """Deal ranks to callers so that most rows are read where they lie; `visible` = source shards each caller can open.

    `kept` has the rank of each caller that keeps its own; these have opened their rows and get none. Returns `ranks`
    (per caller), `transfers` [from rank, to rank, source, low, high] in the order of all sends, and `unreachable`
    sources that no caller can open.

    >>> assign([[1], [0]], [[Piece(0, 0, 2)], [Piece(1, 0, 2)]])
    {'ranks': [1, 0], 'transfers': [], 'unreachable': []}
    """
    tasks = len(visible)
    seen = [set(sources) for sources in visible]
    needed = [[piece for shard in shards for piece in pieces[shard]] for shards in ranges(len(pieces), tasks)]
    caller_of = {rank: caller for caller, rank in enumerate(kept) if rank is not None}
    settled = set(caller_of)
    near = sorted(
        (-sum(piece.high - piece.low for piece in needed[rank] if piece.source in seen[caller]), rank, caller)
        for rank in range(tasks)
        for caller in range(tasks)
    )
    for _, rank, caller in near:
        if rank not in caller_of and caller not in caller_of.values():
            caller_of[rank] = caller
    transfers, unreachable = [], set()
    for rank in sorted(set(range(tasks)) - settled):
        for piece in needed[rank]:
            if piece.source in seen[caller_of[rank]]:
                continue
            holders = [other for other in range(tasks) if piece.source in seen[caller_of[other]]]
            if holders:
                # Spread over the hosts that can serve it.
                transfers.append([holders[rank % len(holders)], rank, *piece])
            else:
                unreachable.add(piece.source)
    ranks = [next(rank for rank, each in caller_of.items() if each == caller) for caller in range(tasks)]
    return {"ranks": ranks, "transfers": transfers, "unreachable": sorted(unreachable)}
