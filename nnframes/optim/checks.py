"""Argument checks shared by optim methods, schedules, clippings and triggers."""

from __future__ import annotations

import math
import numbers

from nnframes.errors import ArgumentError

__all__ = ["number", "whole"]


def number(
    owner: object, name: str, value: float, low: float = -math.inf, high: float = math.inf, *, above: bool = False
) -> None:
    """Raise `ArgumentError` unless `value` is a finite number in [low, high), or in (low, high) with `above`."""
    good = isinstance(value, numbers.Real) and math.isfinite(value) and value < high
    if good and (value > low if above else value >= low):
        return
    bounds = [] if low == -math.inf else [f"{'>' if above else '>='} {low:g}"]
    bounds += [] if high == math.inf else [f"< {high:g}"]
    wanted = " and ".join(bounds) or "a finite number"
    raise ArgumentError(f"{type(owner).__name__} {name} must be {wanted}. Received: {value!r}.")


def whole(owner: object, name: str, value: int, low: int) -> None:
    """Raise `ArgumentError` unless `value` is a whole number >= low."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < low:
        raise ArgumentError(f"{type(owner).__name__} {name} must be a whole number >= {low}. Received: {value!r}.")
