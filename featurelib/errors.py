"""Errors of the feature package.

NNFramesError                      kernels.errors
├── FeatureError (ValueError)      a value does not fit the transform that got it
│   └── DecodeError                bytes are not a readable image or recording
└── ConfigError (ValueError)       an object cannot be described as JSON, or a description cannot be built
"""

from __future__ import annotations

from kernels.errors import NNFramesError

__all__ = ["ConfigError", "DecodeError", "FeatureError"]


class FeatureError(NNFramesError, ValueError):
    """A value does not fit the transform that got it; the message names the transform, what it takes and what came.

    In a batch, `row` is the position of the value, counted from 0, and the message begins with it. It is None where a
    single value was transformed.

    >>> str(FeatureError("ScalarToTensor expects a number. Received: 'a'.").at_row(3))
    "row 3: ScalarToTensor expects a number. Received: 'a'."
    """

    row: int | None = None

    def at_row(self, row: int) -> FeatureError:
        """Note the row unless one is known already; returns the error itself."""
        if self.row is None:
            self.row = row
        return self

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.row is None else f"row {self.row}: {message}"


class DecodeError(FeatureError):
    """Bytes are not an image or a recording that can be read; the message says why (empty, cut off, too large, ...)."""


class ConfigError(NNFramesError, ValueError):
    """An object cannot be written as a config, or a config cannot be built; the message says where and why."""
