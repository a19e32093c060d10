"""The driver's end: where ranks meet, what they are told, and what the driver hears from them while they train.

A rank calls, proves the secret and says who it is (partition, host, own address, shards on its host). When all are
there the driver deals shard ranges to ranks, next to their files where possible, and answers with everybody's address.
The same connection then carries progress and heartbeats to the driver, and the driver's stop to the rank.

A second caller for a partition that is here already (speculation, a stage retry) is left waiting without an answer: it
must neither train nor succeed. One that comes after the first is done is told to stop. Replacing a rank that is gone
plugs in at `Rendezvous._arrive`.
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
    """Something that the driver hears: kind "arrived", "progress", "done", "failed", "lost" or "silent"."""

    kind: str
    rank: int
    host: str
    data: dict = field(default_factory=dict)


@dataclass
class _Caller:
    partition: int
    hello: dict
    sock: socket.socket
    rank: int = -1
    done: bool = False


class Rendezvous:
    """Serves one group of `ranks` tasks; events come in `events`, in the thread that asks for them."""

    def __init__(
        self, bind: str, secret: Secret, ranks: int, pieces: Sequence[Sequence[Piece]], silence: float
    ) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.arrived = 0
        self._ranks, self._pieces, self._silence = ranks, pieces, silence
        self._callers: dict[int, _Caller] = {}
        self._waiting: list[socket.socket] = []
        self._lock = threading.Lock()
        self._stopped: str | None = None
        self._door = Doorkeeper(bind, secret, self._arrive)
        self.port = self._door.port

    def stop(self, reason: str) -> None:
        """Tell all ranks to stop, also those that still call."""
        with self._lock:
            self._stopped = reason
            sockets = [caller.sock for caller in self._callers.values()] + self._waiting
        for sock in sockets:
            _say(sock, {"kind": "stop", "reason": reason})

    def close(self) -> None:
        """Stop listening and close all connections."""
        self._door.close()
        with self._lock:
            self._stopped = self._stopped or "it has ended."
            close_all([caller.sock for caller in self._callers.values()] + self._waiting)

    def _arrive(self, sock: socket.socket, hello: dict) -> None:
        partition = hello.get("partition")
        if not isinstance(partition, int) or not 0 <= partition < self._ranks:
            sock.close()
            return
        with self._lock:
            known = self._callers.get(partition)
            reason = self._stopped or ("this rank has finished already." if known and known.done else None)
            if known or reason:
                self._waiting.append(sock)
                if reason:
                    _say(sock, {"kind": "stop", "reason": reason})
                return
            caller = self._callers[partition] = _Caller(partition, hello, sock)
            self.arrived = len(self._callers)
            complete = self.arrived == self._ranks
        host = str(hello.get("host"))
        self.events.put(Event("arrived", partition, host))
        if complete:
            try:
                self._assign()
            except Exception as error:  # in a thread: nobody else would hear of it, and all ranks wait
                self.events.put(Event("failed", -1, host, {"error": type(error).__name__, "text": str(error)}))
        self._listen(caller)

    def _assign(self) -> None:
        callers = [self._callers[partition] for partition in range(self._ranks)]
        told = answers([{**caller.hello, "token": secrets.token_hex(8)} for caller in callers], self._pieces)
        # All ranks are set before one may report.
        for caller, answer in zip(callers, told, strict=True):
            caller.rank = answer["rank"]
        for caller, answer in zip(callers, told, strict=True):
            _say(caller.sock, {"kind": "start", **answer})

    def _listen(self, caller: _Caller) -> None:
        """Turn what a rank says into events until it is gone."""
        host = str(caller.hello.get("host"))
        try:
            while True:
                message = receive_frame(caller.sock, Deadline(self._silence))
                if message.get("kind") in ("progress", "failed", "done"):
                    caller.done |= message["kind"] != "progress"
                    self.events.put(Event(message["kind"], caller.rank, host, message))
        except TimeoutError:
            self.events.put(Event("silent", caller.rank, host))
        except OSError:
            if not caller.done:
                self.events.put(Event("lost", caller.rank, host))


def _say(sock: socket.socket, message: dict) -> None:
    try:
        send_frame(sock, message, Deadline(ANSWER_SECONDS))
    except OSError:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # wakes its listener, which reports the loss


def answers(hellos: Sequence[Mapping[str, Any]], pieces: Sequence[Sequence[Piece]]) -> list[dict[str, Any]]:
    """Return what each of the callers is told: its rank, all ranks' addresses, and what `assign` found."""
    plan = assign([hello["shards"] for hello in hellos], pieces)
    peers: list[dict[str, Any]] = [{} for _ in hellos]
    for hello, rank in zip(hellos, plan["ranks"], strict=True):
        peers[rank] = {name: hello[name] for name in ("host", "address", "port", "token")}
    shared = {"peers": peers, "transfers": plan["transfers"], "unreachable": plan["unreachable"]}
    return [{"rank": rank, **shared} for rank in plan["ranks"]]


def described(event: Event, ranks: int) -> TrainingError:
    """Return a rank's failure ("failed", "lost" or "silent") as an error that names rank, host and cause."""
    where = f"a task on {event.host}" if event.rank < 0 else f"rank {event.rank} of {ranks} on {event.host}"
    where = event.data.get("where", where)
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


def assign(visible: Sequence[Sequence[int]], pieces: Sequence[Sequence[Piece]]) -> dict[str, Any]:
    """Deal ranks to callers so that most rows are read where they lie; `visible` = source shards each caller can open.

    Returns `ranks` (per caller), `transfers` [from rank, to rank, source, low, high] in the order of all sends, and
    `unreachable` sources that no caller can open.

    >>> assign([[1], [0]], [[Piece(0, 0, 2)], [Piece(1, 0, 2)]])
    {'ranks': [1, 0], 'transfers': [], 'unreachable': []}
    """
    tasks = len(visible)
    seen = [set(sources) for sources in visible]
    needed = [[piece for shard in shards for piece in pieces[shard]] for shards in ranges(len(pieces), tasks)]
    near = sorted(
        (-sum(piece.high - piece.low for piece in needed[rank] if piece.source in seen[caller]), rank, caller)
        for rank in range(tasks)
        for caller in range(tasks)
    )
    caller_of: dict[int, int] = {}
    for _, rank, caller in near:
        if rank not in caller_of and caller not in caller_of.values():
            caller_of[rank] = caller
    transfers, unreachable = [], set()
    for rank in range(tasks):
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
