"""Dropout."""

from __future__ import annotations

from kernels import ops
from kernels.graph import Value
from nnframes.errors import ArgumentError
from nnframes.nn.layer import Layer
from nnframes.nn.trace import Trace

__all__ = ["Dropout"]


class Dropout(Layer):
    """In training, drops each number with probability `init_p`; in evaluation, lets all pass.

    With `scale` the numbers that stay are divided by 1 - init_p, so that the mean stays; without it they are kept as
    they are, and evaluation multiplies by 1 - init_p instead.

    >>> Dropout(0.4).output_shape((32, 1024))
    (32, 1024)
    """

    def __init__(self, init_p: float = 0.5, inplace: bool = False, scale: bool = True) -> None:
        if not 0 <= init_p < 1:
            raise ArgumentError(f"Dropout init_p (the probability to drop) must be in [0, 1). Received: {init_p}.")
        self.init_p = init_p
        self.inplace = inplace
        self.scale = scale

    def call(self, t: Trace, x: Value) -> Value:
        keep = 1 - self.init_p
        if self.init_p == 0:
            return x
        if t.training:
            return ops.dropout(x, keep, scale=self.scale)
        return x if self.scale else ops.affine(x, keep)
