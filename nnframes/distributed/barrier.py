"""How ranks meet where nothing may call the client, as on Spark Connect: by one `allGather` of a barrier stage.

Its messages go through Spark's own channel. From there on all is as with a driver that can be called, except that
nobody can say stop: the deadlines between ranks are the guard, and one rank's error ends the stage.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark import BarrierTaskContext

from nnframes.distributed.balance import Piece
from nnframes.distributed.faults import said_of
from nnframes.distributed.rendezvous import Event, answers, described

__all__ = ["BarrierLink"]

GRACE_SECONDS = 2.0
"""Time in which the rank that really failed may speak before one that has only lost it: Spark keeps the first word."""


class BarrierLink:
    """A rank's side of the barrier, in place of `DriverLink`."""

    orders = None
    can_regroup = False

    def __init__(self, ranks: int, pieces: Sequence[Sequence[Piece]]) -> None:
        self._context = BarrierTaskContext.get()
        self._ranks, self._pieces = ranks, pieces
        self._rank, self._host = -1, socket.gethostname()
        # The address that Spark itself calls this executor at.
        address = self._context.getTaskInfos()[self._context.partitionId()].address
        self.own_address = address.rpartition(":")[0].strip("[]")

    def join(self, hello: dict[str, Any]) -> dict[str, Any]:
        """Tell all ranks who this is and return what the driver would answer: all compute the same from the same."""
        said = self._context.allGather(json.dumps({**hello, "token": secrets.token_hex(8)}))
        answer = answers([json.loads(text) for text in said], self._pieces)[self._context.partitionId()]
        self._rank = answer["rank"]
        return answer

    def report(self, message: Mapping[str, Any]) -> None:
        """Nobody can be told before the end."""

    def hold(self) -> None:
        """Nothing to wait for: the stage succeeds or fails as a whole."""

    def delivering(self) -> None:
        """Nobody listens."""

    def done(self) -> None:
        """Nobody listens; the task's end says it."""

    def failed(self, error: BaseException, trace: str) -> None:
        """Raise `error` in words that reach the client, naming rank and host; returns for what ends a task by order."""
        if not isinstance(error, Exception):
            return
        data = said_of(error, trace)
        if data["sync"]:
            time.sleep(GRACE_SECONDS)
        raise described(Event("failed", self._rank, self._host, data), self._ranks) from error

    def check(self) -> None:
        """Nobody can say stop."""

    def close(self) -> None:
        """Nothing is open."""
