"""Regularisers: penalties on the size of a parameter, added to its gradient by the trainer."""

from __future__ import annotations

from nnframes.errors import ArgumentError

__all__ = ["L1L2Regularizer", "L1Regularizer", "L2Regularizer", "Regularizer"]


class Regularizer:
    """Penalty `l1 * sum|w| + l2 / 2 * sum w^2`; the gradient gains `l1 * sign(w) + l2 * w`."""

    l1: float = 0.0
    l2: float = 0.0


def _coefficient(owner: object, **given: float) -> float:
    ((name, value),) = given.items()
    if not value >= 0:
        raise ArgumentError(f"{type(owner).__name__} {name} must be >= 0. Received: {value}.")
    return value


class L1Regularizer(Regularizer):
    """Penalty `l1 * sum|w|`.

    >>> L1Regularizer(0.01).l1
    0.01
    """

    def __init__(self, l1: float) -> None:
        self.l1 = _coefficient(self, l1=l1)


class L2Regularizer(Regularizer):
    """Penalty `l2 / 2 * sum w^2`.

    >>> L2Regularizer(5e-4).l2
    0.0005
    """

    def __init__(self, l2: float) -> None:
        self.l2 = _coefficient(self, l2=l2)


class L1L2Regularizer(Regularizer):
    """Penalty `l1 * sum|w| + l2 / 2 * sum w^2`.

    >>> L1L2Regularizer(0.1, 0.2).l2
    0.2
    """

    def __init__(self, l1: float, l2: float) -> None:
        self.l1 = _coefficient(self, l1=l1)
        self.l2 = _coefficient(self, l2=l2)
