"""Snapshots written in a thread of their own, so that a training task does not wait for its disk."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from nnframes.errors import ArgumentError
from nnframes.io.checkpoint import CheckpointStore, absolute
from nnframes.train.state import TrainState
from nnframes.train.triggers import Trigger

__all__ = ["BackgroundWriter", "CheckpointSettings"]

Item = tuple[Mapping[str, np.ndarray], TrainState, Mapping[str, Any]]


class BackgroundWriter:
    """Writes snapshots to a store one after the other; a failure is raised by the next call of any method.

    While one is being written, the next one waits. Where only the newest is kept, a still newer one takes its place;
    otherwise `write` returns when the one before it is on its way.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = BackgroundWriter(CheckpointStore(folder))
    ...     writer.write({"w": np.ones(2, np.float32)}, TrainState(iteration=20), {})
    ...     writer.close()
    ...     CheckpointStore(folder).latest()
    20
    """

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._next: Item | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.seconds = 0.0  # of a processor, that the last one took

    @property
    def is_idle(self) -> bool:
        """Whether all is written, so that nobody reads the arrays of snapshots any more."""
        with self._changed:
            return self._thread is None

    def write(self, state: Mapping[str, np.ndarray], train_state: TrainState, meta: Mapping[str, Any]) -> None:
        """Have a snapshot written; the arrays must not change any more. Raises what an earlier one failed with."""
        with self._changed:
            if not self._store.overwrite:
                self._changed.wait_for(lambda: self._next is None)
            self._raise()
            self._next = (state, train_state, meta)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nnframes-checkpoint")
                self._thread.start()

    def check(self) -> None:
        """Raise what a snapshot failed with, once."""
        with self._changed:
            self._raise()

    def close(self) -> None:
        """Wait until all is written; raises as `check`."""
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None)
            self._raise()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        while True:
            with self._changed:
                item, self._next = self._next, None
                if item is None:
                    self._thread = None
                self._changed.notify_all()
            if item is None:
                return
            started = time.thread_time()
            try:
                self._store.write(*item)
                self.seconds = time.thread_time() - started
            except BaseException as error:  # raised in the thread that trains
                with self._changed:
                    self._error, self._next = error, None


class CheckpointSettings:
    """Snapshots to `path` whenever `trigger` fires, the newest only (`is_overwrite`) or all.

    >>> from nnframes.train import EveryEpoch
    >>> CheckpointSettings("build/snapshots", EveryEpoch()).is_overwrite
    True
    """

    def __init__(self, path: str | os.PathLike[str], trigger: Trigger, is_overwrite: bool = True) -> None:
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise ArgumentError(f"The checkpoint's path must be a folder or an address. Received: {path!r}.")
        if not isinstance(trigger, Trigger):
            hint = f" Hint: {trigger.__name__}(...)." if isinstance(trigger, type) else ""
            raise ArgumentError(f"The checkpoint's trigger must be a Trigger. Received: {trigger!r}.{hint}")
        if not isinstance(is_overwrite, bool):
            raise ArgumentError(f"The checkpoint's isOverWrite must be True or False. Received: {is_overwrite!r}.")
        self.path = str(os.fspath(path))
        self.trigger = trigger
        self.is_overwrite = is_overwrite

    def absolute(self) -> CheckpointSettings:
        """The same, wherever a process runs: a relative path leads into the folder that this one runs in."""
        return CheckpointSettings(absolute(self.path), self.trigger, self.is_overwrite)

    def store(self, run: int | None = None) -> CheckpointStore:
        """Return the store, for the run of this number; `ArgumentError` for an address that cannot be opened."""
        return CheckpointStore(self.path, self.is_overwrite, run=run)
