"""Fully connected layers."""

from __future__ import annotations

import numpy as np

from kernels import ops
from kernels.graph import Value
from nnframes.nn.layer import Layer
from nnframes.nn.parameter import positive, weight_and_bias
from nnframes.nn.regularizers import Regularizer
from nnframes.nn.trace import Trace

__all__ = ["Linear"]


class Linear(Layer):
    """Fully connected: y = x W^T + b, from (batch, input_size) to (batch, output_size).

    W is (output_size, input_size), b is (output_size,); both start uniform in ±1/sqrt(input_size), or from the arrays
    `init_weight` and `init_bias`.

    >>> Linear(784, 10).output_shape((32, 784))
    (32, 10)
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        with_bias: bool = True,
        wRegularizer: Regularizer | None = None,
        bRegularizer: Regularizer | None = None,
        init_weight: np.ndarray | None = None,
        init_bias: np.ndarray | None = None,
    ) -> None:
        positive(self, input_size=input_size, output_size=output_size)
        self.input_size = input_size
        self.output_size = output_size
        self.with_bias = with_bias
        self.wRegularizer = wRegularizer
        self.bRegularizer = bRegularizer
        self.init_weight = init_weight
        self.init_bias = init_bias
        self.weight, self.bias = weight_and_bias(
            (output_size, input_size), with_bias, (wRegularizer, bRegularizer), (init_weight, init_bias)
        )

    def call(self, t: Trace, x: Value) -> Value:
        return ops.linear(x, t(self.weight), t(self.bias) if self.bias else None)
