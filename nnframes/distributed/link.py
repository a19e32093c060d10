"""A rank's connection to the driver: calls, gets its orders, then reports progress and hears a stop.

`nnframes.distributed.barrier` does without one.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nnframes.distributed.collective import Orders
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
from nnframes.train import Listener, TrainState, Validation

__all__ = ["DriverLink", "Link", "Reporter"]

JOIN_SECONDS = 3600.0
"""The driver watches over the arrivals; this only bounds a driver that forgets a rank."""

SEND_SECONDS = 30.0
BEAT_SECONDS = 5.0


class Link(Protocol):
    """How one task learns of the others, and how what it has to say reaches the driver."""

    own_address: str

    @property
    def orders(self) -> Orders | None:
        """What to wait on beside the peers."""

    @property
    def recorded(self) -> Sequence[dict[str, Any]]:
        """Messages of progress that could not be sent, to return with the result."""

    def join(self, hello: dict[str, Any]) -> dict[str, Any]:
        """Say who this is; returns rank, peers, transfers and unreachable shards."""

    def report(self, states: Sequence[TrainState], **more: Any) -> None:
        """Take progress; what comes with it, JSON, is of the last state."""

    def done(self) -> None:
        """Say that this rank has finished."""

    def failed(self, error: BaseException, trace: str) -> None:
        """Say why this rank cannot go on; may raise it in other words."""

    def check(self) -> None:
        """Raise `SyncError` when the driver said stop or is gone."""

    def close(self) -> None:
        """End the link."""


class DriverLink:
    """The connection of one task to the driver, with a heartbeat thread once training starts."""

    recorded: Sequence[dict[str, Any]] = ()

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

    @property
    def orders(self) -> Orders:
        """The driver's word, which ends any wait."""
        return self

    def join(self, hello: dict[str, Any]) -> dict[str, Any]:
        """Say who this is and return the driver's answer; raises `SyncError` when it says stop or is gone."""
        try:
            self._send(hello)
            # A rank that waits for others reports nothing: the driver's arrival deadline watches it.
            self._start_beat()
            answer = receive_frame(self._sock, Deadline(JOIN_SECONDS))
        except OSError as error:
            raise SyncError(f"The driver went away while this task waited for the others: {error}.") from error
        if answer.get("kind") != "start":
            raise SyncError(f"The driver stopped the training: {answer.get('reason')}")
        return answer

    def report(self, states: Sequence[TrainState], **more: Any) -> None:
        """Send progress; what comes with it, JSON, is of the last state."""
        self._say({"kind": "progress", "states": [state.to_json() for state in states], **more})

    def done(self) -> None:
        """Say that this rank has finished."""
        self._say({"kind": "done"})

    def failed(self, error: BaseException, trace: str) -> None:
        """Say why this rank cannot go on; a driver that is gone does not matter any more."""
        try:
            message = {"kind": "failed", "error": type(error).__name__, "text": str(error), "trace": trace}
            self._say({**message, "sync": isinstance(error, SyncError)})
        except SyncError:
            pass

    def fileno(self) -> int:
        """Return the descriptor that is readable when the driver has something to say."""
        return self._sock.fileno()

    def check(self) -> None:
        """Raise `SyncError` when the driver said stop or is gone; returns at once."""
        if not readable(self._sock):
            return
        try:
            message = receive_frame(self._sock, Deadline(SEND_SECONDS))
        except OSError as error:
            raise SyncError(f"The driver went away during the training: {error}.") from error
        raise SyncError(f"The driver stopped the training: {message.get('reason')}")

    def close(self) -> None:
        """End the heartbeat and close the connection."""
        self._ended.set()
        if self._beat is not None:
            self._beat.join()
        close_all([self._sock])

    def _start_beat(self) -> None:
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
            raise SyncError(f"The driver went away during the training: {error}.") from error


class Reporter(Listener):
    """Sends the states of rank 0 to the driver, in bundles so that short iterations do not pay for it."""

    def __init__(self, link: Link, seconds: float = 0.05) -> None:
        self._link, self._seconds = link, seconds
        self._states: list[TrainState] = []
        self._last = 0.0

    def on_iteration(self, state: TrainState) -> None:
        """Keep the state; send when the last bundle is old enough or an epoch ends."""
        self._states.append(state)
        if state.epoch_finished or time.monotonic() - self._last >= self._seconds:
            self._flush()

    def on_validation(self, state: TrainState, validation: Validation) -> None:
        """Send what is kept, then the figures."""
        self._flush()
        self._link.report([state], validation=validation.to_json())

    def on_histograms(self, state: TrainState, histograms: Mapping[str, bytes]) -> None:
        """Send what is kept, then the spread of the parameters."""
        self._flush()
        self._link.report([state], histograms={path: data.hex() for path, data in histograms.items()})

    def on_end(self, state: TrainState) -> None:
        """Send what is kept; an error that ends the loop counts more than one of this last report."""
        try:
            self._flush()
        except SyncError:
            self._states = []

    def _flush(self) -> None:
        if self._states:
            self._link.report(self._states)
            self._states, self._last = [], time.monotonic()
