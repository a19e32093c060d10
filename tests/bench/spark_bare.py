"""The bare engine: processes with one thread each that only compute, each on its own rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.bench.contest import Contender, Running


def prepare(module: str, arguments: dict[str, Any], processes: int) -> Callable[[], float]:
    """A function that lets all processes run for a second side by side and returns the sum of their rates."""
    contender = Contender("bare engine", module, "prepare", arguments)
    running = [Running(contender) for _ in range(processes)]

    def measure() -> float:
        for process in running:
            process.start()
        return sum(process.result() for process in running)

    return measure
