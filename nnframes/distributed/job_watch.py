"""What the thread that called fit does while jobs train: it tells the listener, and notices when nothing moves."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any

from pyspark.sql import SparkSession

from nnframes.distributed.job_sync import capital
from nnframes.distributed.settings import FitSettings
from nnframes.errors import SyncError
from nnframes.train import Listener, Listeners, TrainState, Validation

__all__ = ["Follower", "Queued"]

TICK_SECONDS = 0.25
FIRST_PATIENCE, PATIENCE = 10, 20
"""An iteration hangs after this many times the deadline, and this many times the longest one so far."""


class Queued(Listener):
    """Leaves calls for the thread that waits for the fit."""

    def __init__(self, events: queue.Queue[Any]) -> None:
        self._events = events

    def on_iteration(self, state: TrainState) -> None:
        """Leave it, and the end of the epoch before anything else at this state."""
        self._events.put(methodcaller("on_iteration", state))
        if state.epoch_finished:
            self._events.put(methodcaller("on_epoch", state))

    def on_validation(self, state: TrainState, validation: Validation) -> None:
        """Leave it."""
        self._events.put(methodcaller("on_validation", state, validation))

    def on_histograms(self, state: TrainState, histograms: Mapping[str, bytes]) -> None:
        """Leave it."""
        self._events.put(methodcaller("on_histograms", state, histograms))


class Follower(Listener):
    """The thread that called fit: tells the listener, and notices when nothing moves."""

    def __init__(self, spark: SparkSession, settings: FitSettings, doing: Callable[[], str], state: TrainState) -> None:
        self.state = state
        self._spark, self._settings, self._doing = spark, settings, doing
        self._longest: float | None = None
        """Seconds, None before the first event: that one starts workers and compiles."""

    def on_iteration(self, state: TrainState) -> None:
        """Keep the state."""
        self.state = state

    def on_validation(self, state: TrainState, validation: Validation) -> None:
        """Keep the state."""
        self.state = state

    def follow(self, events: queue.Queue[Any], listener: Listener) -> Any:
        """Return what the job gave at its end, or raise what ended it; `listener` hears of all on the way."""
        moved = busy = time.monotonic()
        while True:
            try:
                event = events.get(timeout=TICK_SECONDS)
            except queue.Empty:
                busy = self._check(moved, busy)
                continue
            if isinstance(event, tuple):
                value, error = event
                if error is not None:
                    raise error
                return value
            self._longest = 0.0 if self._longest is None else max(self._longest, time.monotonic() - moved)
            event(Listeners(self, listener))
            moved = busy = time.monotonic()

    def _check(self, moved: float, busy: float) -> float:
        """Raise `SyncError` when no task runs, or none ends; returns when a task was last seen running."""
        now = time.monotonic()
        if now - moved < self._settings.arrival_timeout:
            return now
        tracker = self._spark.sparkContext.statusTracker()
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        if any(stage is not None and stage.numActiveTasks for stage in stages):
            busy = now
        patience = self._settings.arrival_timeout
        if now - busy > patience:
            raise SyncError(
                f"A training task must start within {patience:g} s. Received: none in {self._doing()}. Hint: no "
                "executor gives a task slot: wait for other jobs, or give the application cores."
            )
        limit = max(FIRST_PATIENCE * self._settings.deadline, PATIENCE * (self._longest or 0.0))
        if now - moved > limit:
            raise SyncError(
                f"{capital(self._doing())} must end within {limit:g} s. Received: no end. Hint: a task "
                "hangs or computes too long (a longer deadline allows for it), or other jobs hold all slots."
            )
        return busy
