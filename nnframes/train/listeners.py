"""Hooks into the training loop: progress now; summaries, validation, checkpoints and early stopping plug in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnframes.train.settings import TrainSettings
    from nnframes.train.state import TrainState

__all__ = ["Listener", "Listeners"]


class Listener:
    """Base of all listeners; every hook does nothing. A listener must not change the run's numbers."""

    def on_start(self, settings: TrainSettings, state: TrainState) -> None:
        """The loop begins, or goes on, at `state`."""

    def on_iteration(self, state: TrainState) -> None:
        """An iteration is done; `state` stands after it."""

    def on_epoch(self, state: TrainState) -> None:
        """An epoch is done; comes after `on_iteration` of its last iteration."""

    def on_end(self, state: TrainState) -> None:
        """The loop ends at `state`, also when it ends with an error."""


class Listeners(Listener):
    """Hands every call to several listeners, in order.

    >>> Listeners(Listener(), Listener()).on_end(None)
    """

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def on_start(self, settings: TrainSettings, state: TrainState) -> None:
        """Hand on."""
        for listener in self.listeners:
            listener.on_start(settings, state)

    def on_iteration(self, state: TrainState) -> None:
        """Hand on."""
        for listener in self.listeners:
            listener.on_iteration(state)

    def on_epoch(self, state: TrainState) -> None:
        """Hand on."""
        for listener in self.listeners:
            listener.on_epoch(state)

    def on_end(self, state: TrainState) -> None:
        """Hand on."""
        for listener in self.listeners:
            listener.on_end(state)
