"""Rates: how many rows a second a step gets through."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 1.0


def rate_of(step: Callable[[], object], rows: int) -> Callable[[], float]:
    """A function that repeats `step` for about a second and returns rows per second."""
    step()
    step()

    def measure() -> float:
        start, count = time.perf_counter(), 0
        while True:
            step()
            count += 1
            elapsed = time.perf_counter() - start
            if elapsed >= SECONDS:
                return count * rows / elapsed

    return measure
