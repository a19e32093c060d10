"""Summaries: curves of a run in TensorBoard's files, under ``log_dir/app_name/train`` and ``.../validation``.

Look at them with ``tensorboard --logdir log_dir``, or read them back with `read_scalar`.
"""

from __future__ import annotations

import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np

from nnframes.errors import ArgumentError
from nnframes.optim.base import OptimMethod
from nnframes.train.early_stopping import Validation
from nnframes.train.events import EventWriter, read_scalars
from nnframes.train.listeners import Listener
from nnframes.train.settings import TrainSettings
from nnframes.train.state import TrainState
from nnframes.train.triggers import SeveralIteration, Trigger
from nnframes.train.validation import EvaluatedResult

__all__ = ["SummaryListener", "TrainSummary", "ValidationSummary", "ValidationSummaryListener"]

WINDOW_SECONDS = 2.0
SCALARS = ("LearningRate", "Loss", "Throughput")
PARAMETERS = "Parameters"

Weights = Callable[[], Mapping[str, np.ndarray]]


class _Folder:
    """The event files of one folder; a file is opened with the first point."""

    def __init__(self, log_dir: str | os.PathLike[str], app_name: str, part: str) -> None:
        path = os.fspath(log_dir)
        for name, value in (("log_dir", path), ("app_name", app_name)):
            if not isinstance(value, str) or not value:
                raise ArgumentError(f"{name} must be a path. Received: {value!r}.")
        if "://" in path:
            raise ArgumentError(
                f"log_dir must be a local folder, because event files grow line by line. Received: {path}. "
                "Hint: write to a local or mounted folder and copy it."
            )
        self.path = Path(path) / app_name / part
        self._writer: EventWriter | None = None
        self._failed = False
        self._last = -1

    def __getstate__(self) -> dict[str, Any]:
        # A copy (Spark copies params) writes files of its own.
        return {**self.__dict__, "_writer": None}

    def write(self, step: int, put: Callable[[EventWriter], None]) -> None:
        """Let `put` write at `step`; a folder that cannot be written is warned of once and costs no training."""
        if self._failed:
            return
        try:
            if self._writer is None:
                self._writer = self._open(step)
            elif step < self._last:
                self._writer.restart(step)
            put(self._writer)
            self._last = step
        except OSError as error:
            self._failed = True
            self.close()
            warnings.warn(
                f"The summary in {self.path} ends here: {error}. Training goes on.", UserWarning, stacklevel=3
            )

    def _open(self, step: int) -> EventWriter:
        before = any(self.path.glob("events.out.tfevents.*"))
        writer = EventWriter(self.path)
        if before:
            writer.restart(step)
        return writer

    def read(self, tag: str) -> np.ndarray:
        """Return the curve `tag`, float64 (points, 3): step, value, wall time in seconds since 1970."""
        return np.array(read_scalars(self.path).get(tag, []), np.float64).reshape(-1, 3)

    def close(self) -> None:
        """Close the file; a later point opens another."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


class TrainSummary:
    """Curves of training: Loss, LearningRate, Throughput (rows/s); on demand histograms of the Parameters.

    Files are in ``log_dir/app_name/train``, a local folder. A run that goes back to a checkpoint, or a new run with the
    same names, takes back the points from there on. Raises `ArgumentError` for a `log_dir` that is no local path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary = TrainSummary(folder, "lenet").set_summary_trigger("Loss", SeveralIteration(10))
    ...     summary.add_scalar("Loss", 0.5, step=10)
    ...     summary.close()
    ...     summary.read_scalar("Loss")[:, :2].tolist()
    [[10.0, 0.5]]
    """

    def __init__(self, log_dir: str | os.PathLike[str], app_name: str) -> None:
        self.log_dir = os.fspath(log_dir)
        self.app_name = app_name
        self._folder = _Folder(log_dir, app_name, "train")
        self._triggers: dict[str, Trigger] = {name: SeveralIteration(1) for name in SCALARS}

    def set_summary_trigger(self, name: str, trigger: Trigger) -> TrainSummary:
        """Set when to write Loss, LearningRate or Throughput (default: every iteration), or Parameters (never)."""
        if name not in (*SCALARS, PARAMETERS):
            raise ArgumentError(f"name must be one of {', '.join((*SCALARS, PARAMETERS))}. Received: {name!r}.")
        if not isinstance(trigger, Trigger):
            raise ArgumentError(f"trigger must be a Trigger. Received: {trigger!r}.")
        self._triggers[name] = trigger
        return self

    def config_state(self) -> dict[str, Any]:
        """Return the triggers, for `featurelib.config`."""
        return {"triggers": dict(self._triggers)}

    @classmethod
    def from_config_state(cls, args: Mapping[str, Any], state: Mapping[str, Any]) -> TrainSummary:
        """Rebuild what `to_config` described."""
        summary = cls(**args)
        for name, trigger in state["triggers"].items():
            summary.set_summary_trigger(name, trigger)
        return summary

    def get_summary_trigger(self, name: str) -> Trigger | None:
        """Return the trigger of `name`, None when it is never written."""
        return self._triggers.get(name)

    def due(self, name: str, state: TrainState) -> bool:
        """Return whether `name` is to be written at `state`."""
        trigger = self._triggers.get(name)
        return trigger is not None and trigger(state)

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Append one point to the curve `tag`."""
        self._folder.write(step, methodcaller("scalar", tag, value, step))

    def add_histograms(self, parameters: Mapping[str, np.ndarray | bytes], step: int) -> None:
        """Append the spread of each array under its name; bytes are what `nnframes.train.events.histogram` gives."""
        for tag, values in parameters.items():
            self._folder.write(step, methodcaller("histogram", tag, values, step))

    def read_scalar(self, tag: str) -> np.ndarray:
        """Return the curve `tag`, float64 (points, 3): step, value, wall time in seconds since 1970."""
        return self._folder.read(tag)

    def close(self) -> None:
        """Close the file; a later point opens another."""
        self._folder.close()


class ValidationSummary:
    """Curves of the validation methods by name, in ``log_dir/app_name/validation``; see `TrainSummary`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary = ValidationSummary(folder, "lenet")
    ...     summary.add_results([EvaluatedResult(0.75, 100, "Top1Accuracy")], step=10)
    ...     summary.close()
    ...     summary.read_scalar("Top1Accuracy")[:, :2].tolist()
    [[10.0, 0.75]]
    """

    def __init__(self, log_dir: str | os.PathLike[str], app_name: str) -> None:
        self.log_dir = os.fspath(log_dir)
        self.app_name = app_name
        self._folder = _Folder(log_dir, app_name, "validation")

    def add_results(self, results: Iterable[EvaluatedResult], step: int) -> None:
        """Append the results of the validation after iteration `step`."""
        for one in results:
            self._folder.write(step, methodcaller("scalar", one.method, one.result, step))

    def read_scalar(self, tag: str) -> np.ndarray:
        """Return the curve of the method `tag`, float64 (points, 3): step, value, wall time in seconds since 1970."""
        return self._folder.read(tag)

    def close(self) -> None:
        """Close the file; a later point opens another."""
        self._folder.close()


class SummaryListener(Listener):
    """Writes a `TrainSummary` from the states of a run, at the iterations that its triggers choose.

    Loss is the iteration's, LearningRate the rate of its update as `optim_method` says, Throughput the rows/s of the
    last two seconds, pauses in them included. `parameters()` gives the arrays of the histograms; it is called
    when Parameters are due and must then hold the weights of that state. The states may come from another process.
    """

    def __init__(
        self,
        summary: TrainSummary,
        optim_method: OptimMethod,
        parameters: Weights | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.summary = summary
        self.optim_method = optim_method
        self.parameters = parameters
        self.clock = clock
        self._settings: TrainSettings | None = None
        self._marks: deque[tuple[float, int]] = deque()

    def on_start(self, settings: TrainSettings, state: TrainState) -> None:
        """Measure from here."""
        self._settings = settings
        self._marks = deque([(self.clock(), state.records)])

    def on_iteration(self, state: TrainState) -> None:
        """Write what is due."""
        summary, step = self.summary, state.iteration
        throughput = self._throughput(state.records)
        if summary.due("Loss", state) and state.loss is not None:
            summary.add_scalar("Loss", state.loss, step)
        if summary.due("LearningRate", state):
            summary.add_scalar("LearningRate", self.optim_method.rate(step - 1), step)
        if summary.due("Throughput", state) and throughput is not None:
            summary.add_scalar("Throughput", throughput, step)
        if self.parameters is not None and summary.due(PARAMETERS, state):
            summary.add_histograms(self.parameters(), step)

    def on_histograms(self, state: TrainState, histograms: Mapping[str, bytes]) -> None:
        """Write what the process that has the weights made of them."""
        self.summary.add_histograms(histograms, state.iteration)

    def on_end(self, state: TrainState) -> None:
        """Close the file when the run is at its end, not between its groups of iterations."""
        if self._settings is not None and self._settings.end_when(state):
            self.summary.close()

    def _throughput(self, records: int) -> float | None:
        """Rows/s since the newest mark that is two seconds old: states of another process come in bunches."""
        now = self.clock()
        self._marks.append((now, records))
        while len(self._marks) > 2 and now - self._marks[1][0] >= WINDOW_SECONDS:
            self._marks.popleft()
        since, before = self._marks[0]
        return (records - before) / (now - since) if now > since else None


class ValidationSummaryListener(Listener):
    """Writes a `ValidationSummary` from the validations of a run; `close` the summary when the run has ended."""

    def __init__(self, summary: ValidationSummary) -> None:
        self.summary = summary

    def on_validation(self, state: TrainState, validation: Validation) -> None:
        """Write the figures."""
        self.summary.add_results(validation.results, validation.iteration)
