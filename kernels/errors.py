"""Errors of the arithmetic package, the root of every other error tree of the project.

NNFramesError
├── ShapeError (ValueError)        a tensor has a shape that the operation does not take
├── ArgumentError (ValueError)     an argument is outside what is allowed
└── UnsupportedError               legal, but not available here (native library, platform, mode)
NativeLibraryWarning (UserWarning) a native library is missing; the numpy reference is used instead
"""

from __future__ import annotations

__all__ = ["ArgumentError", "NNFramesError", "NativeLibraryWarning", "ShapeError", "UnsupportedError"]


class NNFramesError(Exception):
    """Root of all errors raised on purpose by the project."""


class ShapeError(NNFramesError, ValueError):
    """A tensor's shape does not fit; the message names the layer or op, what it takes and what came."""


class ArgumentError(NNFramesError, ValueError):
    """An argument is outside what is allowed; the message says what must be and what came."""


class UnsupportedError(NNFramesError):
    """The request is legal but cannot be served here; the message says why and what to do."""


class NativeLibraryWarning(UserWarning):
    """A native library is missing or unusable and the slower numpy reference stands in."""
