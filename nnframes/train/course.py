"""A run from milestone to milestone: iterations, then validation, the best weights, a snapshot, perhaps the end.

All of it follows from equal numbers, so workers that hold different shards agree without asking each other, and a run
that continues from what `snapshot` gave has the same bits as one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnframes.errors import ArgumentError, TrainingError
from nnframes.train.data import ShardData
from nnframes.train.early_stopping import EarlyStopping, Validation
from nnframes.train.evaluation import ValidationSettings, shard_partials
from nnframes.train.listeners import Listener, Listeners
from nnframes.train.loop import train
from nnframes.train.protocols import Replica
from nnframes.train.settings import TrainSettings
from nnframes.train.state import TrainState
from nnframes.train.sync import Sync
from nnframes.train.triggers import Trigger
from nnframes.train.validation import joint_results

__all__ = ["Course", "Milestones"]

BEST = "best/"
HISTORY, PASSED = "validations", "passed"


@dataclass(frozen=True)
class Milestones:
    """When a run pauses: to validate, to write a snapshot; and when it stops early.

    Raises `ArgumentError` for early stopping without the validation method that it monitors.
    """

    validation: ValidationSettings | None = None
    stopping: EarlyStopping | None = None
    checkpoint: Trigger | None = None

    def __post_init__(self) -> None:
        if self.stopping is None:
            return
        names = [] if self.validation is None else self.validation.names
        if self.stopping.monitor not in names:
            raise ArgumentError(
                f"Early stopping must monitor a method of the validation. Received: {self.stopping.monitor} of "
                f"{', '.join(names) or 'no validation'}. Hint: setValidation(...) with that method."
            )

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the best validation are kept beside the last ones."""
        return self.stopping is not None and self.stopping.restore_best


class Course:
    """Where a run stands, with its validations (oldest first) and the best weights so far.

    `save(course)` writes a snapshot; `held` are the validation rows; `run` also returns where `pause` fires, which may
    be set between runs. When it ends with an error, `state` is that after the last update, and `run` may be called
    again: a milestone that was not reached to its end is repeated.
    """

    def __init__(
        self,
        settings: TrainSettings,
        milestones: Milestones,
        replica: Replica,
        held: ShardData | None = None,
        save: Callable[[Course], None] | None = None,
        pause: Trigger | None = None,
    ) -> None:
        self.settings, self.milestones, self.replica = settings, milestones, replica
        self.state = TrainState()
        self.history: tuple[Validation, ...] = ()
        self.pause = pause
        self._held, self._save = held, save
        self._best: dict[str, np.ndarray] = {}
        self._passed = 0
        self._sync: Sync | None = None

    def run(self, data: ShardData, sync: Sync, listener: Listener | None = None) -> TrainState:
        """Train to the end, early or not, and return the state reached; raises what `train` and the save do."""
        listener, self._sync = listener or Listener(), sync
        following = Listeners(_Follower(self), listener)
        while True:
            if self._passed < self.state.iteration:
                self._pass(sync, listener)
            if self.finished() or self._pauses(self.state):
                return self.state
            train(self.replica, data, sync, self.settings, self.state, self._is_due, following)

    def finished(self) -> bool:
        """Return whether the run is at its end."""
        stopping = self.milestones.stopping
        return self.settings.end_when(self.state) or (stopping is not None and stopping.should_stop(self.history))

    @property
    def is_complete(self) -> bool:
        """Whether all that `snapshot` must hold is here, and not in part with other workers."""
        return self._sync is None or self._sync.is_complete

    @property
    def best(self) -> Validation | None:
        """The best validation by what early stopping monitors; None without it."""
        return None if self.milestones.stopping is None else self.milestones.stopping.best(self.history)

    @property
    def position(self) -> tuple[int, int]:
        """How far the run is: iterations, and the last one whose milestone is passed; the larger is ahead."""
        return self.state.iteration, self._passed

    def weights(self) -> dict[str, np.ndarray]:
        """Return the weights that the run gives: those of the best validation if early stopping asks for them."""
        return self._best or self.replica.weights()

    def snapshot(self, into: Mapping[str, np.ndarray] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return copies of all arrays, and notes (JSON), that `restore` needs beside the state.

        `into` are the arrays of an earlier one, that may be overwritten.

        Raises `TrainingError` unless `is_complete`.
        """
        if not self.is_complete:
            raise TrainingError("A snapshot must hold all of the state. Received: other workers have parts of it.")
        best = {BEST + name: array for name, array in self._best.items()}
        notes = {HISTORY: [one.to_json() for one in self.history], PASSED: self._passed}
        return {**self.replica.state(into), **best}, notes

    def save_again(self) -> None:
        """Write the snapshot of this state, if one was due here."""
        checkpoint = self.milestones.checkpoint
        if self._save is not None and self._passed == self.state.iteration and checkpoint and checkpoint(self.state):
            self._save(self)

    def restore(self, arrays: Mapping[str, np.ndarray], state: TrainState, notes: Mapping[str, Any]) -> None:
        """Continue from `snapshot`; raises `TrainingError` where the arrays are not those of this network."""
        self._sync = None
        self.history = tuple(Validation.from_json(one) for one in notes.get(HISTORY, ()))
        self.replica.load_state({name: array for name, array in arrays.items() if not name.startswith(BEST)})
        self._best = {}
        if self.milestones.keeps_best:
            found = {name.removeprefix(BEST): array for name, array in arrays.items() if name.startswith(BEST)}
            if self.best is not None and found.keys() != self.replica.weights().keys():
                raise TrainingError(
                    f"A snapshot must hold the weights of its best validation (iteration {self.best.iteration}) to "
                    "restore them. Received: none. Hint: it was written without restore_best; resume without it."
                )
            self._best = found if self.best is not None else {}
        self.state, self._passed = state, notes.get(PASSED, state.iteration)

    def _is_due(self, state: TrainState) -> bool:
        validation, checkpoint = self.milestones.validation, self.milestones.checkpoint
        validates = validation is not None and validation.trigger(state)
        return validates or (checkpoint is not None and checkpoint(state)) or self._pauses(state)

    def _pauses(self, state: TrainState) -> bool:
        return self.pause is not None and self.pause(state)

    def _pass(self, sync: Sync, listener: Listener) -> None:
        """Do what is due after the iterations so far; a repetition gives the same."""
        validation, checkpoint = self.milestones.validation, self.milestones.checkpoint
        reached = self.state
        if validation is not None and validation.trigger(reached):
            self._validate(validation, sync)
            listener.on_validation(self.state, self.history[-1])
        saves = checkpoint is not None and checkpoint(self.state)
        if saves or self.finished() or self._pauses(self.state):
            sync.complete(self.replica)
        self._passed = self.state.iteration
        if saves and self._save is not None:
            self._save(self)

    def _validate(self, validation: ValidationSettings, sync: Sync) -> None:
        if self._held is None:
            raise ArgumentError("A run with a validation must be given the rows to validate on. Received: none.")
        evaluate = self.replica.evaluator(validation.methods, validation.share(self.settings.shards))
        partials = shard_partials(evaluate, validation, self._held, sync.shards, self.settings.shards)
        results = joint_results(validation.methods, sync.merge(partials))
        earlier = (one for one in self.history if one.iteration < self.state.iteration)
        self.history = (*earlier, Validation.at(self.state, results))
        self.state = replace(self.state, score=results[0].result)
        stopping = self.milestones.stopping
        if stopping is not None and self.milestones.keeps_best and stopping.improved(self.history):
            self._best = {name: np.array(array) for name, array in self.replica.weights().items()}


class _Follower(Listener):
    """Keeps the state of the last update, also of a loop that ends with an error."""

    def __init__(self, course: Course) -> None:
        self._course = course

    def on_iteration(self, state: TrainState) -> None:
        """Keep the state."""
        self._course.state = state
