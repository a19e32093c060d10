"""Triggers: yes or no, from a `TrainState` alone, so that all workers and a resumed run answer alike."""

from __future__ import annotations

from abc import ABC, abstractmethod

from nnframes.errors import ArgumentError
from nnframes.optim.checks import number, whole
from nnframes.train.state import TrainState

__all__ = [
    "TRIGGERS",
    "EveryEpoch",
    "MaxEpoch",
    "MaxIteration",
    "MaxScore",
    "MinLoss",
    "SeveralIteration",
    "Trigger",
    "TriggerAnd",
    "TriggerOr",
    "expected_iterations",
    "reads_score",
]


class Trigger(ABC):
    """Base of all triggers. A trigger keeps nothing between calls."""

    @abstractmethod
    def __call__(self, state: TrainState) -> bool:
        """Return whether the trigger fires at `state`, which stands after an iteration (or at the start)."""


class MaxEpoch(Trigger):
    """Fires once `n` epochs are finished.

    >>> MaxEpoch(2)(TrainState(epoch=1)), MaxEpoch(2)(TrainState(epoch=2))
    (False, True)
    """

    def __init__(self, n: int) -> None:
        whole(self, "n", n, 1)
        self.n = n

    def __call__(self, state: TrainState) -> bool:
        return state.epoch >= self.n


class MaxIteration(Trigger):
    """Fires once `n` iterations are finished.

    >>> MaxIteration(3)(TrainState(iteration=3))
    True
    """

    def __init__(self, n: int) -> None:
        whole(self, "n", n, 1)
        self.n = n

    def __call__(self, state: TrainState) -> bool:
        return state.iteration >= self.n


class EveryEpoch(Trigger):
    """Fires after the last iteration of every epoch: five epochs, five times (BigDL's may miss one).

    >>> EveryEpoch()(TrainState().after(loss=1.0, rows=4, last_of_epoch=True))
    True
    """

    def __call__(self, state: TrainState) -> bool:
        return state.epoch_finished


class SeveralIteration(Trigger):
    """Fires after every `k`-th iteration, counted over the whole run.

    >>> [i for i in range(7) if SeveralIteration(3)(TrainState(iteration=i))]
    [3, 6]
    """

    def __init__(self, k: int) -> None:
        whole(self, "k", k, 1)
        self.k = k

    def __call__(self, state: TrainState) -> bool:
        return state.iteration > 0 and state.iteration % self.k == 0


class MinLoss(Trigger):
    """Fires when the last iteration's loss is below `x`.

    >>> MinLoss(0.5)(TrainState(loss=0.4))
    True
    """

    def __init__(self, x: float) -> None:
        number(self, "x", x)
        self.x = x

    def __call__(self, state: TrainState) -> bool:
        return state.loss is not None and state.loss < self.x


class MaxScore(Trigger):
    """Fires when the last validation score is above `x`.

    >>> MaxScore(0.9)(TrainState(score=0.95)), MaxScore(0.9)(TrainState())
    (True, False)
    """

    def __init__(self, x: float) -> None:
        number(self, "x", x)
        self.x = x

    def __call__(self, state: TrainState) -> bool:
        return state.score is not None and state.score > self.x


class TriggerAnd(Trigger):
    """Fires when all of its triggers do.

    >>> TriggerAnd(MaxEpoch(1), MinLoss(0.1))(TrainState(epoch=1, loss=0.5))
    False
    """

    def __init__(self, first: Trigger, *other: Trigger) -> None:
        _check_triggers(self, first, *other)
        self.first = first
        self.other = other

    def __call__(self, state: TrainState) -> bool:
        return all(trigger(state) for trigger in (self.first, *self.other))


class TriggerOr(Trigger):
    """Fires when one of its triggers does.

    >>> TriggerOr(MaxEpoch(1), MinLoss(0.1))(TrainState(epoch=1, loss=0.5))
    True
    """

    def __init__(self, first: Trigger, *other: Trigger) -> None:
        _check_triggers(self, first, *other)
        self.first = first
        self.other = other

    def __call__(self, state: TrainState) -> bool:
        return any(trigger(state) for trigger in (self.first, *self.other))


TRIGGERS: dict[str, type[Trigger]] = {
    "EveryEpoch": EveryEpoch,
    "MaxEpoch": MaxEpoch,
    "MaxIteration": MaxIteration,
    "MaxScore": MaxScore,
    "MinLoss": MinLoss,
    "SeveralIteration": SeveralIteration,
    "TriggerAnd": TriggerAnd,
    "TriggerOr": TriggerOr,
}


def expected_iterations(trigger: Trigger, iterations_per_epoch: int) -> int | None:
    """Return after how many iterations `trigger`, as the end of a run, fires at the latest; None when unknown.

    >>> expected_iterations(TriggerOr(MaxEpoch(2), MinLoss(0.1)), iterations_per_epoch=10)
    20
    """
    if isinstance(trigger, MaxEpoch):
        return trigger.n * iterations_per_epoch
    if isinstance(trigger, MaxIteration):
        return trigger.n
    if isinstance(trigger, EveryEpoch):
        return iterations_per_epoch
    if isinstance(trigger, SeveralIteration):
        return trigger.k
    if not isinstance(trigger, (TriggerAnd, TriggerOr)):
        return None
    ends = [expected_iterations(part, iterations_per_epoch) for part in (trigger.first, *trigger.other)]
    known = [end for end in ends if end is not None]
    if isinstance(trigger, TriggerOr):
        return min(known, default=None)
    # Parts that fire at single iterations only need not meet, so a bound exists for parts that stay fired.
    lasting = all(isinstance(part, (MaxEpoch, MaxIteration)) for part in (trigger.first, *trigger.other))
    return max(known) if lasting else None


def reads_score(trigger: Trigger | None) -> bool:
    """Whether a trigger, or one inside it, waits for the score of a validation.

    >>> reads_score(TriggerOr(MaxEpoch(2), MaxScore(0.9))), reads_score(MaxEpoch(2))
    (True, False)
    """
    if isinstance(trigger, (TriggerAnd, TriggerOr)):
        return any(map(reads_score, (trigger.first, *trigger.other)))
    return isinstance(trigger, MaxScore)


def _check_triggers(owner: Trigger, *triggers: Trigger) -> None:
    for trigger in triggers:
        if not isinstance(trigger, Trigger):
            raise ArgumentError(f"{type(owner).__name__} takes triggers. Received: {trigger!r}.")
