"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from nnframes.errors import ArgumentError
from nnframes.nn import Linear, LogSoftMax, ReLU, Sequential

__all__ = ["MLP"]


def MLP(sizes: Sequence[int] = (784, 512, 256, 10)) -> Sequential:
    """Build linear layers from sizes[0] to sizes[-1] with ReLU between them and LogSoftMax behind the last.

    >>> MLP((784, 100, 10)).output_shape((32, 784))
    (32, 10)
    """
    if len(sizes) < 2:
        raise ArgumentError(f"MLP sizes must be at least the input's and the output's. Received: {tuple(sizes)}.")
    model = Sequential()
    for number, (before, after) in enumerate(pairwise(sizes), start=1):
        if number > 1:
            model.add(ReLU())
        model.add(Linear(before, after).set_name(f"fc{number}"))
    return model.add(LogSoftMax())
