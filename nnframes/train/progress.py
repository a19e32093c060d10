"""Progress for people: a bar on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from nnframes.train.early_stopping import Validation
from nnframes.train.listeners import Listener
from nnframes.train.settings import TrainSettings
from nnframes.train.state import TrainState
from nnframes.train.triggers import expected_iterations

__all__ = ["Progress"]


class Progress(Listener):
    """Shows epoch, loss, records/s, the time left and the figures of the last validation; silent with `enabled=False`.

    A terminal gets a tqdm bar, any other `file` (default: standard error) one line per epoch. One bar lasts over all
    calls of the loop that continue a run; it closes when the run's end is reached, or by `close()` or `with`. The
    states may come from another process, so a driver can show what its workers report.

    >>> from nnframes.train.triggers import MaxEpoch
    >>> settings = TrainSettings(rows=4, batch_size=4, end_when=MaxEpoch(1))
    >>> progress = Progress(file=sys.stdout)
    >>> progress.on_start(settings, TrainState())
    >>> progress.on_epoch(TrainState().after(loss=0.25, rows=4, last_of_epoch=True))
    Epoch 1/1: loss=0.2500, ... records/s, ETA 0:00
    """

    def __init__(self, enabled: bool = True, file: TextIO | None = None) -> None:
        self.enabled = enabled
        self.file = file
        self._settings: TrainSettings | None = None
        self._bar: Any = None
        self._total: int | None = None
        self._epochs: int | None = None
        self._since = (0.0, 0)
        self._figures = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def on_start(self, settings: TrainSettings, state: TrainState) -> None:
        """Open the bar, unless the run goes on in an open one."""
        if not self.enabled or (self._settings is settings and self._since[0]):
            return
        self.close()
        self._settings = settings
        self._total, self._epochs = _totals(settings)
        self._since = (time.perf_counter(), state.records)
        if _is_terminal(self._stream()):
            self._bar = _open_bar(self._stream(), self._total, state.records)
            self._bar.set_description_str(self._epoch_text(state.epoch + 1), refresh=False)

    def on_iteration(self, state: TrainState) -> None:
        """Move the bar."""
        if self._bar is None:
            return
        self._bar.set_description_str(self._epoch_text(state.epoch + (not state.epoch_finished)), refresh=False)
        self._bar.set_postfix_str(f"loss={state.loss:.4f}{self._figures}", refresh=False)
        self._bar.update(state.records - self._bar.n)

    def on_epoch(self, state: TrainState) -> None:
        """Write the epoch's line, where there is no bar."""
        if not self.enabled or self._settings is None or self._bar is not None:
            return
        now, (then, records) = time.perf_counter(), self._since
        rate = (state.records - records) / max(now - then, 1e-9)
        self._since = (now, state.records)
        left = "" if self._total is None else f", ETA {_clock(max(0, self._total - state.records) / max(rate, 1e-9))}"
        text = f"{self._epoch_text(state.epoch)}: loss={state.epoch_loss:.4f}, {rate:,.0f} records/s{left}\n"
        self._stream().write(text)
        self._stream().flush()

    def on_validation(self, state: TrainState, validation: Validation) -> None:
        """Add the figures to the bar, or write them on a line."""
        if not self.enabled or self._settings is None:
            return
        figures = ", ".join(f"{one.method}={one.result:.4f}" for one in validation.results)
        if self._bar is not None:
            self._figures = f", {figures}"
            self._bar.set_postfix_str(f"loss={state.loss:.4f}{self._figures}")
            return
        self._stream().write(f"Validation after iteration {validation.iteration}: {figures}\n")
        self._stream().flush()

    def on_end(self, state: TrainState) -> None:
        """Close the bar when the run is over, leave it for the next group of iterations otherwise."""
        if self._settings is not None and self._settings.end_when(state):
            self.close()

    def close(self) -> None:
        """Close the bar; harmless when there is none."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._settings, self._since, self._figures = None, None, (0.0, 0), ""

    def _stream(self) -> TextIO:
        return self.file or sys.stderr

    def _epoch_text(self, epoch: int) -> str:
        return f"Epoch {epoch}" if self._epochs is None else f"Epoch {min(epoch, self._epochs)}/{self._epochs}"


def _totals(settings: TrainSettings) -> tuple[int | None, int | None]:
    """Return how many records and epochs the run takes at most, None for each that is unknown."""
    plan = settings.plan()
    iterations = expected_iterations(settings.end_when, plan.iterations_per_epoch)
    if iterations is None:
        return None, None
    epochs, rest = divmod(iterations, plan.iterations_per_epoch)
    return epochs * plan.rows + min(rest * plan.batch_size, plan.rows), epochs + (rest > 0)


def _is_terminal(stream: TextIO) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())


def _open_bar(stream: TextIO, total: int | None, done: int) -> Any:
    from tqdm import tqdm

    class Bar(tqdm):
        # tqdm's monitor is a thread; a process that Spark may fork must not start one.
        monitor_interval = 0

    return Bar(total=total, initial=done, unit=" records", unit_scale=True, file=stream, dynamic_ncols=True, leave=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
