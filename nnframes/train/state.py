"""Where a training run stands: the counters that triggers, listeners and a resumed run read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from nnframes.errors import ArgumentError

__all__ = ["TrainState"]


@dataclass(frozen=True)
class TrainState:
    """The counters of a run; equal on all workers after every iteration.

    `epoch` counts finished epochs, `iteration` finished iterations, `step` finished iterations of the epoch under way
    (0 after an epoch's end), `records` rows trained on since the start. `loss` is the last iteration's mean loss,
    `loss_sum` and `epoch_records` sum loss * rows and rows over the present epoch (over the finished one at its end).
    `epoch_finished` says that the last iteration ended an epoch; `score` is the last validation score.

    >>> state = TrainState().after(loss=0.5, rows=8, last_of_epoch=True)
    >>> state.epoch, state.iteration, state.epoch_loss, TrainState.from_json(state.to_json()) == state
    (1, 1, 0.5, True)
    """

    epoch: int = 0
    iteration: int = 0
    step: int = 0
    records: int = 0
    loss: float | None = None
    loss_sum: float = 0.0
    epoch_records: int = 0
    epoch_finished: bool = False
    score: float | None = None

    @property
    def epoch_loss(self) -> float | None:
        """The mean loss over the rows of the present epoch so far, None before its first iteration."""
        return self.loss_sum / self.epoch_records if self.epoch_records else None

    def after(self, loss: float, rows: int, last_of_epoch: bool) -> TrainState:
        """Return the state after one more iteration of `rows` rows and mean loss `loss`."""
        fresh = self.epoch_finished
        return replace(
            self,
            epoch=self.epoch + last_of_epoch,
            iteration=self.iteration + 1,
            step=0 if last_of_epoch else self.step + 1,
            records=self.records + rows,
            loss=loss,
            loss_sum=loss * rows + (0.0 if fresh else self.loss_sum),
            epoch_records=rows + (0 if fresh else self.epoch_records),
            epoch_finished=last_of_epoch,
        )

    def to_json(self) -> dict:
        """Return the state as JSON values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: Mapping) -> TrainState:
        """Return the state that `to_json` described; `ArgumentError` for a field that does not exist."""
        try:
            return cls(**values)
        except TypeError:
            unknown = sorted(set(values) - {field.name for field in fields(cls)})
            raise ArgumentError(
                f"TrainState has no field {', '.join(unknown)}. Hint: written by a newer version?"
            ) from None
