"""Progress on its way to the driver: what rank 0 says as it goes, and what every rank remembers in case rank 0 is lost.

A message is JSON: "states", and perhaps the "validation" or the "histograms" of the last of them.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from nnframes.distributed.link import Link
from nnframes.errors import SyncError
from nnframes.train import Listener, TrainState, Validation

__all__ = ["Recent", "Reporter"]

REMEMBERED = 1024
"""Messages of the past: more than the iterations of `SECONDS`."""

SECONDS = 0.1
"""States are sent in bundles of so much time, so that short iterations do not pay for it."""


def _message(states: Sequence[TrainState], **more: Any) -> dict[str, Any]:
    return {"states": [state.to_json() for state in states], **more}


class Reporter(Listener):
    """Sends the states of rank 0 to the driver."""

    def __init__(self, link: Link, seconds: float = SECONDS) -> None:
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
        self._link.report(_message([state], validation=validation.to_json()))

    def on_histograms(self, state: TrainState, histograms: Mapping[str, bytes]) -> None:
        """Send what is kept, then the spread of the parameters."""
        self._flush()
        self._link.report(_message([state], histograms=_texts(histograms)))

    def on_end(self, state: TrainState) -> None:
        """Send what is kept; an error that ends the loop counts more than one of this last report."""
        with suppress(SyncError):
            self._flush()
        self._states = []

    def _flush(self) -> None:
        if self._states:
            self._link.report(_message(self._states))
            self._states, self._last = [], time.monotonic()


class Recent(Listener):
    """Remembers the last messages, all of them with `limit=None`, as a rank after this one may have to say them again.

    >>> recent = Recent()
    >>> recent.on_iteration(TrainState(iteration=3))
    >>> [message["states"][0]["iteration"] for message in recent.messages()]
    [3]
    """

    def __init__(self, limit: int | None = REMEMBERED) -> None:
        self._past: deque[dict[str, Any]] = deque(maxlen=limit)
        # Made into messages when they are wanted: most never are.
        self._states: deque[tuple[TrainState, dict[str, Any]]] = deque(maxlen=limit)

    def on_iteration(self, state: TrainState) -> None:
        """Remember."""
        self._states.append((state, {}))

    def on_validation(self, state: TrainState, validation: Validation) -> None:
        """Remember."""
        self._states.append((state, {"validation": validation.to_json()}))

    def on_histograms(self, state: TrainState, histograms: Mapping[str, bytes]) -> None:
        """Remember."""
        self._states.append((state, {"histograms": _texts(histograms)}))

    def messages(self) -> list[dict[str, Any]]:
        """Return what is remembered, oldest first."""
        bundled: list[dict[str, Any]] = list(self._past)
        plain: list[TrainState] = []
        for state, more in list(self._states):
            if not more:
                plain.append(state)
                continue
            bundled += [_message(plain), _message([state], **more)] if plain else [_message([state], **more)]
            plain = []
        return [*bundled, _message(plain)] if plain else bundled

    def packed(self) -> np.ndarray:
        """Return the messages as bytes (uint8), to travel or to be kept beside a state."""
        return np.frombuffer(json.dumps(self.messages()).encode(), np.uint8)

    def recall(self, packed: np.ndarray) -> None:
        """Remember also what the rank remembered that packed this."""
        self._past.extend(json.loads(packed.tobytes()))


def _texts(histograms: Mapping[str, bytes]) -> dict[str, str]:
    return {path: data.hex() for path, data in histograms.items()}
