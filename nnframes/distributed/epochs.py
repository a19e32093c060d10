"""DIRECT in group mode: the DataFrame is evaluated for each epoch, whose files live while one group trains that epoch.

Between epochs the state passes through the driver like a snapshot, so the bits are those of one group that trains all
epochs. What it costs: an evaluation and a shuffle of the DataFrame per epoch (Spark's shuffle files hold its rows
then), and a group's start. What it saves: no file of samples lives longer than its epoch. Job mode has no groups; it
changes the files under a course that goes on (`nnframes.distributed.job_mode`).
"""

from __future__ import annotations

from collections.abc import Callable

from nnframes.distributed.settings import TrainResult
from nnframes.distributed.shards import Materialised
from nnframes.errors import DataError
from nnframes.io.checkpoint import Checkpoint
from nnframes.train import Listener, Listeners, MaxEpoch, TrainSettings, TrainState, Trigger
from nnframes.train.course import HISTORY

__all__ = ["by_epochs", "check_same"]

Train = Callable[[Materialised, "Checkpoint | None", "Trigger | None", Listener], TrainResult]


def by_epochs(
    train: Train,
    evaluate: Callable[[], Materialised],
    finished: Callable[[TrainResult], bool],
    start: tuple[Materialised, Checkpoint | None],
    listener: Listener,
) -> TrainResult:
    """Train from `start` on: `train(data, snapshot, pause, listener)` for an epoch, `evaluate()` before the next.

    Raises `DataError` when the DataFrame gives other rows than the first time.
    """
    data, found = start
    first = data
    whole = _Whole(listener)
    try:
        while True:
            epoch = 0 if found is None else found.train_state.epoch
            result = train(data, found, MaxEpoch(epoch + 1), whole)
            if finished(result):
                return result
            notes = {HISTORY: [one.to_json() for one in result.history]}
            found = Checkpoint(result.weights, result.state, notes, f"the end of epoch {result.state.epoch}")
            data = evaluate()
            check_same(first, data)
    finally:
        whole.end()


def check_same(first: Materialised, data: Materialised) -> None:
    """Raise `DataError` where an evaluation gave other rows than the first."""

    def counts(of: Materialised) -> list[int]:
        return [shard.rows for shard in of.sources]

    if (first.digest, counts(first)) != (data.digest, counts(data)):
        raise DataError(
            "The DataFrame must give the same rows whenever it is evaluated. Received: "
            f"{sum(counts(data))} rows with other values or shards than the {sum(counts(first))} of the first epoch. "
            "Hint: cache or write it before fit, seed what samples it, or setDataCacheLevel('DRAM')."
        )


class _Whole(Listeners):
    """Lets several groups sound like one: the first start and the last end."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self._last: TrainState | None = None

    def on_start(self, settings: TrainSettings, state: TrainState) -> None:
        """Hand on the first one."""
        if self._last is None:
            super().on_start(settings, state)
        self._last = state

    def on_end(self, state: TrainState) -> None:
        """Keep it for `end`."""
        self._last = state

    def end(self) -> None:
        """Hand on the last one."""
        if self._last is not None:
            super().on_end(self._last)
