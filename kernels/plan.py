"""Placement of buffers in one arena: two that live at the same time do not overlap, and the arena stays small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

ALIGNMENT = 64


class Interval(Protocol):
    """What is placed: bytes needed from step `first` to step `last`; `offset` is filled in."""

    size: int
    first: int
    last: int
    offset: int


def place(buffers: Sequence[Interval]) -> int:
    """Give every buffer an offset; returns the size of the arena.

    Largest first, each at the lowest offset where it fits (Pisarchyk and Lee, "Efficient Memory Management for Deep
    Neural Net Inference", 2020).
    """
    placed: list[Interval] = []
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first)):
        taken = sorted((other.offset, _end(other)) for other in placed if _overlap(buffer, other))
        buffer.offset = _first_gap(taken, buffer.size)
        placed.append(buffer)
    return max((_end(buffer) for buffer in placed), default=0)


def _overlap(a: Interval, b: Interval) -> bool:
    return a.first <= b.last and b.first <= a.last


def _end(buffer: Interval) -> int:
    return buffer.offset + -(-buffer.size // ALIGNMENT) * ALIGNMENT


def _first_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    offset = 0
    for start, end in taken:
        if offset + size <= start:
            break
        offset = max(offset, end)
    return offset
