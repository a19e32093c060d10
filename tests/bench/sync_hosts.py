"""Two simulated hosts, each with one of this machine's cores, that train over a link of a chosen rate."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from tests.bench import network

GIGABIT = 1e9 / 8


def prepare(work: str, gigabits: float, rows: int, epochs: int) -> Callable[[], float]:
    """Rows per second of an epoch after the first, in a new network each time."""
    step = {
        "hosts": 2,
        "rate": gigabits * GIGABIT,
        "link": f"{gigabits:g} GbE",
        "work": work,
        "sizes": [rows],
        "repeat": epochs,
    }

    def measure() -> float:
        (found,) = network.simulate({"hosts": 2, "steps": [step]})
        return rows / statistics.mean(found["seconds"])

    return measure
