"""How a group of iterations ends before its time: what ranks and driver tell each other, not the end of the fit."""

from __future__ import annotations

from typing import Any

from nnframes.errors import SyncError

__all__ = ["GroupLost", "PeerLost", "Suspended", "TooFewSlots", "said_of"]


class PeerLost(SyncError):
    """A peer is gone or silent, or the driver has seen one go: the ranks must meet anew."""


class Suspended(SyncError):
    """The driver ended the group; another one goes on from the newest state that a host keeps."""


class GroupLost(SyncError):
    """The group cannot go on, for a cause that may have passed: another one may do better."""


class TooFewSlots(SyncError):
    """Not all ranks of a group came in time; `arrived` did."""

    def __init__(self, message: str, arrived: int = 0) -> None:
        super().__init__(message)
        self.arrived = arrived


def said_of(error: BaseException, trace: str) -> dict[str, Any]:
    """Return an error as it travels: its name, text and trace, and whether it is only about others."""
    sync = isinstance(error, SyncError)
    return {
        "error": SyncError.__name__ if sync else type(error).__name__,
        "text": str(error),
        "sync": sync,
        "trace": trace,
    }
