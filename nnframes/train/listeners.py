"""Hooks into the training loop, for progress, summaries and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnframes.train.early_stopping import Validation
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

    def on_validation(self, state: TrainState, validation: Validation) -> None:
        """A validation is done; comes after `on_iteration` and `on_epoch`. `state` has its score."""

    def on_histograms(self, state: TrainState, histograms: Mapping[str, bytes]) -> None:
        """The spread of the parameters at `state` is known, by path; see `nnframes.train.events.histogram`."""

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

    def on_validation(self, state: TrainState, validation: Validation) -> None:
        """Hand on."""
        for listener in self.listeners:
            listener.on_validation(state, validation)

    def on_histograms(self, state: TrainState, histograms: Mapping[str, bytes]) -> None:
        """Hand on."""
        for listener in self.listeners:
            listener.on_histograms(state, histograms)

    def on_end(self, state: TrainState) -> None:
        """Hand on."""
        for listener in self.listeners:
            listener.on_end(state)
