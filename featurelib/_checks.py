"""Checks of constructor arguments: one sentence form for all."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.errors import ArgumentError


def whole(name: str, value: Any, low: int) -> None:
    """Require an integer of at least `low`."""
    if not _is_whole(value) or value < low:
        raise ArgumentError(f"{name} must be an integer >= {low}. Received: {value!r}.")


def finite(name: str, value: Any) -> None:
    """Require a finite number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ArgumentError(f"{name} must be a finite number. Received: {value!r}.")


def non_zero(name: str, value: Any) -> None:
    """Require a finite number other than 0."""
    finite(name, value)
    if value == 0:
        raise ArgumentError(f"{name} must not be 0: values are divided by it. Received: {value!r}.")


def ordered(low_name: str, low: Any, high_name: str, high: Any) -> None:
    """Require two finite numbers, the first not above the second."""
    finite(low_name, low)
    finite(high_name, high)
    if low > high:
        raise ArgumentError(f"{low_name} must be <= {high_name}. Received: {low_name}={low!r}, {high_name}={high!r}.")


def one_of(name: str, value: Any, options: Sequence[Any]) -> None:
    """Require one of the listed values."""
    if isinstance(value, (bool, np.bool_)) or value not in options:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, options))}. Received: {value!r}.")


def sizes(name: str, size: Any) -> tuple[int, ...]:
    """Require an integer >= 1 or a sequence of them; returns it as a tuple."""
    numbers_ = (size,) if _is_whole(size) else size
    if not isinstance(numbers_, (list, tuple, np.ndarray)) or not all(_is_whole(n) and n >= 1 for n in numbers_):
        raise ArgumentError(f"{name} must be an integer >= 1 or a list of them. Received: {size!r}.")
    return tuple(operator.index(n) for n in numbers_)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
