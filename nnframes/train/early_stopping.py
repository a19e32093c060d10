"""Early stopping: a pure function of the validations so far, so that a resumed run stops where the first would have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nnframes.errors import ArgumentError
from nnframes.optim.checks import number, whole
from nnframes.train.state import TrainState
from nnframes.train.validation import VALIDATION_METHODS, EvaluatedResult

__all__ = ["EarlyStopping", "Validation"]


@dataclass(frozen=True)
class Validation:
    """One validation of a run: after which iteration and epoch, and the results. A run's history is a list of them.

    >>> state = TrainState(iteration=10, epoch=1)
    >>> validation = Validation.at(state, [EvaluatedResult(0.9, 100, "Top1Accuracy")])
    >>> validation.value("Top1Accuracy"), Validation.from_json(validation.to_json()) == validation
    (0.9, True)
    """

    iteration: int
    epoch: int
    results: tuple[EvaluatedResult, ...]

    @classmethod
    def at(cls, state: TrainState, results: Iterable[EvaluatedResult]) -> Validation:
        """Return the validation made at `state`."""
        return cls(state.iteration, state.epoch, tuple(results))

    def value(self, method: str) -> float:
        """Return the figure of the method of this name; `ArgumentError` when it was not among the methods."""
        for result in self.results:
            if result.method == method:
                return result.result
        known = ", ".join(result.method for result in self.results) or "none"
        raise ArgumentError(f"The validation must have the method {method}. Received: {known}.")

    def to_json(self) -> dict:
        """Return the validation as JSON values; figures that JSON lacks as text."""
        results = [[_to_text(one.result), one.total_num, one.method] for one in self.results]
        return {"iteration": self.iteration, "epoch": self.epoch, "results": results}

    @classmethod
    def from_json(cls, values: Mapping) -> Validation:
        """Return the validation that `to_json` described."""
        try:
            results = [EvaluatedResult(float(one[0]), int(one[1]), str(one[2])) for one in values["results"]]
            return cls(int(values["iteration"]), int(values["epoch"]), tuple(results))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ArgumentError(f"A validation must have iteration, epoch and results. Received: {error!r}.") from None


class EarlyStopping:
    """Ends a run after `patience` validations in a row without improvement of the method `monitor`.

    An improvement is a figure better than the best by more than `min_delta`; NaN never is one. Better is what the
    method says, or `higher_is_better` for a method of your own. `restore_best` asks for the weights of the best
    validation in place of the last. Raises `ArgumentError` for `patience` < 1, `min_delta` < 0 and an unknown method.

    >>> stopping = EarlyStopping("Loss", patience=2)
    >>> history = [Validation(i, i, (EvaluatedResult(x, 9, "Loss"),)) for i, x in enumerate([0.5, 0.3, 0.4, 0.3])]
    >>> stopping.should_stop(history[:3]), stopping.should_stop(history), stopping.best(history).iteration
    (False, True, 1)
    """

    def __init__(
        self,
        monitor: str = "Loss",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
        higher_is_better: bool | None = None,
    ) -> None:
        whole(self, "patience", patience, 1)
        number(self, "min_delta", min_delta, 0.0)
        if higher_is_better is None and monitor not in VALIDATION_METHODS:
            known = ", ".join(VALIDATION_METHODS)
            raise ArgumentError(
                f"EarlyStopping monitor must be one of {known}. Received: {monitor!r}. "
                "Hint: for another method say higher_is_better."
            )
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.restore_best = restore_best
        self.higher_is_better = higher_is_better

    def should_stop(self, history: Sequence[Validation]) -> bool:
        """Return whether the run ends after the last validation of `history` (oldest first)."""
        return len(history) - 1 - self._last_improvement(history) >= self.patience

    def improved(self, history: Sequence[Validation]) -> bool:
        """Return whether the last validation is the best: its weights are the ones to keep."""
        return bool(history) and self._last_improvement(history) == len(history) - 1

    def best(self, history: Sequence[Validation]) -> Validation | None:
        """Return the validation whose weights `restore_best` means; None when there was no figure but NaN."""
        place = self._last_improvement(history)
        return history[place] if place >= 0 else None

    def _last_improvement(self, history: Sequence[Validation]) -> int:
        higher = self.higher_is_better
        if higher is None:
            higher = VALIDATION_METHODS[self.monitor].higher_is_better
        best, place = -math.inf, -1
        for index, validation in enumerate(history):
            value = validation.value(self.monitor) * (1.0 if higher else -1.0)
            # The first figure counts as it is: infinity less min_delta is infinity.
            if not math.isnan(value) and (place < 0 or value > best + self.min_delta):
                best, place = value, index
        return place


def _to_text(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
