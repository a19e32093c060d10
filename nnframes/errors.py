"""Errors of nnframes, on the tree that starts in `kernels.errors`.

NNFramesError
├── ShapeError, ArgumentError (ValueError), UnsupportedError     from kernels
├── ColumnError (ValueError)          a DataFrame column is missing, has the wrong type, or stands in the way
├── DataError (ValueError)            the rows themselves: empty, null, NaN, labels out of range, wrong size
├── ModelFileError (ValueError)       a stored model or checkpoint is corrupt, foreign or too new
└── TrainingError (RuntimeError)      training started and cannot go on
└── SyncError                     ... because a worker died, stalled or could not be reached
"""

from __future__ import annotations

from kernels.errors import ArgumentError, NNFramesError, ShapeError, UnsupportedError

__all__ = [
    "ArgumentError",
    "ColumnError",
    "DataError",
    "ModelFileError",
    "NNFramesError",
    "ShapeError",
    "SyncError",
    "TrainingError",
    "UnsupportedError",
]


class ColumnError(NNFramesError, ValueError):
    """A column is missing, has a type that does not work, or exists already; the message names it."""


class DataError(NNFramesError, ValueError):
    """The data cannot be used; the message says what was seen, how often, and a way out."""


class ModelFileError(NNFramesError, ValueError):
    """A stored model cannot be read; the message names the file and what is wrong with it."""


class TrainingError(NNFramesError, RuntimeError):
    """Training stopped; the message names the iteration and the cause."""


class SyncError(TrainingError):
    """The workers could not exchange; the message names the rank, what it waited for and the probable cause."""
