"""A rank's connection to the driver: calls, gets its orders, then reports progress and hears a stop.

`nnframes.distributed.barrier` does without one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from nnframes.distributed.faults import PeerLost, Suspended, said_of
from nnframes.distributed.mesh import Orders
from nnframes.distributed.wire import (
    HANDSHAKE_SECONDS,
    Deadline,
    Secret,
    close_all,
    dial,
    readable,
    receive_frame,
    send_frame,
)
from nnframes.errors import SyncError

__all__ = ["DriverLink", "Link"]

JOIN_SECONDS = 3600.0
"""The driver watches over the arrivals; this only bounds a driver that forgets a rank."""

SEND_SECONDS = 30.0
BEAT_SECONDS = 5.0


class Link(Protocol):
    """How one task learns of the others, and how what it has to say reaches the driver."""

    own_address: str

    can_regroup: bool
    """Whether the driver can be called: ranks meet again after one was lost, and progress is told as it is made."""

    @property
    def orders(self) -> Orders | None:
        """What to wait on beside the peers."""

    def join(self, hello: dict[str, Any]) -> dict[str, Any] | None:
        """Say who this is, again after a peer was lost; returns rank, peers, transfers and unreachable shards.

        None when all is done already.
        """

    def report(self, message: Mapping[str, Any]) -> None:
        """Send progress (`nnframes.distributed.reports`)."""

    def hold(self) -> None:
        """Wait, with a finished state, until the result has been delivered; `PeerLost` if it is wanted again."""

    def delivering(self) -> None:
        """Say that this rank has the result and hands it to Spark."""

    def done(self) -> None:
        """Say that this rank has finished."""

    def failed(self, error: BaseException, trace: str) -> None:
        """Say why this rank cannot go on; may raise it in other words."""

    def check(self) -> None:
        """Raise `SyncError` when the driver said stop or is gone, `PeerLost` when ranks must meet anew."""

    def close(self) -> None:
        """End the link."""


class DriverLink:
    """The connection of one task to the driver, with a heartbeat thread once training starts."""

    can_regroup = True

    def __init__(self, address: tuple[str, int], secret: Secret) -> None:
        try:
            self._sock = dial(address, secret, Deadline(HANDSHAKE_SECONDS * 2))
        except OSError as error:
            raise SyncError(
                f"The task on {socket.gethostname()} must reach the driver at {address[0]}:{address[1]}. "
                f"Received: {error}. Hint: spark.driver.host must name an address that executors can reach, and no "
                "firewall may close it."
            ) from error
        self.own_address: str = self._sock.getsockname()[0]
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._beat: threading.Thread | None = None
        self._reading = threading.Lock()
        # Orders stay in force until they are heeded, whoever reads them: threads wait side by side.
        self._meeting = self._called = 0
        self._released = False
        self._stopped: SyncError | None = None

    @property
    def orders(self) -> Orders:
        """The driver's word, which ends any wait."""
        return self

    def join(self, hello: dict[str, Any]) -> dict[str, Any] | None:
        """Say who this is and return the driver's answer; raises `SyncError` when it says stop or is gone."""
        try:
            self._send({"kind": "join", **hello})
        except OSError as error:
            raise _away("while this task waited for the others", error) from error
        # A rank that waits for others reports nothing: the driver's arrival deadline watches it.
        self._start_beat()
        while not self._released:
            answer = self._order(JOIN_SECONDS, "while this task waited for the others")
            if self._stopped is not None:
                raise self._stopped
            if answer["kind"] == "start":
                self._meeting = answer["meeting"]
                self._heed()
                return answer
        return None

    def hold(self) -> None:
        """Wait until the driver has the result; `PeerLost` when the rank that brings it was lost."""
        while not self._released:
            self._heed()
            self._order(JOIN_SECONDS, "before it had the result")

    def report(self, message: Mapping[str, Any]) -> None:
        """Send progress."""
        self._say({"kind": "progress", **message})

    def delivering(self) -> None:
        """Say that this rank has the result and hands it to Spark, which may take longer than any deadline."""
        self._say({"kind": "delivering"})

    def done(self) -> None:
        """Say that this rank has finished."""
        self._say({"kind": "done"})

    def failed(self, error: BaseException, trace: str) -> None:
        """Say why this rank cannot go on; a driver that is gone does not matter any more."""
        with suppress(SyncError):
            self._say({"kind": "failed", **said_of(error, trace)})

    def fileno(self) -> int:
        """Return the descriptor that is readable when the driver has something to say."""
        return self._sock.fileno()

    def check(self) -> None:
        """Raise `SyncError` when the driver said stop or is gone, `PeerLost` when it calls back; returns at once."""
        with self._reading:
            if readable(self._sock):
                self._order(SEND_SECONDS, "during the training")
        self._heed()

    def close(self) -> None:
        """End the heartbeat and close the connection."""
        self._ended.set()
        if self._beat is not None:
            self._beat.join()
        close_all([self._sock])

    def _order(self, seconds: float, when: str) -> dict[str, Any]:
        """Take the driver's next word; raises when none comes."""
        try:
            order = receive_frame(self._sock, Deadline(seconds))
        except OSError as error:
            raise _away(when, error) from error
        if order.get("kind") == "stop":
            kind = Suspended if order.get("resume") else SyncError
            self._stopped = kind(f"The driver stopped the training: {order.get('reason')}")
        elif order.get("kind") == "regroup":
            self._called = max(self._called, order["meeting"])
        elif order.get("kind") == "release":
            self._released = True
        return order

    def _heed(self) -> None:
        """Raise what the driver ordered: to stop, or to meet anew after the meeting that this rank is in."""
        if self._stopped is not None:
            raise self._stopped
        if self._called >= self._meeting > 0:
            raise PeerLost("The driver called the ranks together: one was lost.")

    def _start_beat(self) -> None:
        if self._beat is not None:
            return
        self._beat = threading.Thread(target=self._beats, name="nnframes-heartbeat", daemon=True)
        self._beat.start()

    def _beats(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._send({"kind": "beat"})
            except OSError:
                return

    def _send(self, message: dict) -> None:
        with self._lock:
            send_frame(self._sock, message, Deadline(SEND_SECONDS))

    def _say(self, message: dict) -> None:
        try:
            self._send(message)
        except OSError as error:
            raise _away("during the training", error) from error


def _away(when: str, error: OSError) -> SyncError:
    return SyncError(f"The driver went away {when}: {error}.")
