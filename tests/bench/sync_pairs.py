"""Two processes without Spark: they exchange by our all-reduce, or plain sockets with the same bytes, or train."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench.exchange import WORD, WORKS
from tests.nnframes.distributed.peers import run_ranks


def prepare(work: str, size: int, repeat: int) -> Callable[[], float]:
    """Megabytes of gradients a second: `size` float32 numbers, in two fresh processes each time."""
    return lambda: WORD * size / 1e6 / seconds(work, size, repeat)


def prepare_allowed(milliseconds: float, size: int, repeat: int) -> Callable[[], float]:
    """One over the milliseconds that an iteration may take: those given, and a bare exchange of its numbers."""
    return lambda: 1 / (milliseconds + 1000 * seconds("plain", size, repeat))


def prepare_training(rows: int, epochs: int, work: str = "trains") -> Callable[[], float]:
    """Rows per second of the loop of group mode, in two fresh processes each time."""
    return lambda: rows / seconds(work, rows, epochs)


def seconds(work: str, size: int, repeat: int) -> float:
    """The slower of the two processes."""
    found = run_ranks(2, 2, WORKS[work], size, repeat)
    failures = [value for value in found.values() if isinstance(value, str)]
    if failures or len(found) != 2:
        raise RuntimeError(f"Both processes must give a time. Received: {found}.")
    return max(found.values())
