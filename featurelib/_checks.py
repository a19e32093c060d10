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


def not_negative(name: str, value: Any) -> None:
    """Require a finite number of at least 0."""
    finite(name, value)
    if value < 0:
        raise ArgumentError(f"{name} must be >= 0. Received: {value!r}.")


def factors(low_name: str, low: Any, high_name: str, high: Any) -> None:
    """Require two finite numbers >= 0, the first not above the second."""
    not_negative(low_name, low)
    ordered(low_name, low, high_name, high)


def within(name: str, value: Any, low: float, high: float) -> None:
    """Require a number in [low, high]."""
    finite(name, value)
    if not low <= value <= high:
        raise ArgumentError(f"{name} must be in [{low}, {high}]. Received: {value!r}.")


def interval(name: str, pair: Any, high: float = math.inf) -> None:
    """Require two numbers in order, above 0 and at most `high`."""
    good = isinstance(pair, (list, tuple)) and len(pair) == 2
    if good:
        for value in pair:
            finite(name, value)
    if not good or not 0 < pair[0] <= pair[1] <= high:
        limit = "" if high == math.inf else f" and at most {high}"
        raise ArgumentError(f"{name} must be two numbers in order, above 0{limit}. Received: {pair!r}.")


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
