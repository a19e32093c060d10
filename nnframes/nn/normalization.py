"""Normalisations: over the batch, and across neighbouring channels."""

from __future__ import annotations

import math

import numpy as np

from kernels import ops
from kernels.graph import Value
from nnframes.errors import ArgumentError
from nnframes.nn.initialisers import Ones, Zeros
from nnframes.nn.layer import Layer
from nnframes.nn.parameter import BUFFER, Parameter, positive
from nnframes.nn.trace import Trace
from nnframes.nn.window import channels_first, check_format, in_format

__all__ = ["BatchNormalization", "SpatialBatchNormalization", "SpatialCrossMapLRN"]


class _Statistics:
    """Checks the arguments that both batch normalisations share and makes their parameters."""

    def __init__(self, owner: Layer, n_output: int, eps: float, momentum: float) -> None:
        positive(owner, n_output=n_output)
        name = type(owner).__name__
        if not eps > 0:
            raise ArgumentError(f"{name} eps must be > 0. Received: {eps}.")
        if not 0 <= momentum <= 1:
            raise ArgumentError(f"{name} momentum must be in [0, 1]. Received: {momentum}.")
        self.shape = (n_output,)
        self.mean = Parameter("running_mean", self.shape, Zeros(), kind=BUFFER, momentum=momentum)
        self.variance = Parameter("running_var", self.shape, Ones(), kind=BUFFER, momentum=momentum)

    def scale(
        self, affine: bool, init_weight: np.ndarray | None, init_bias: np.ndarray | None
    ) -> tuple[Parameter | None, Parameter | None]:
        if not affine:
            return None, None
        return (
            Parameter("weight", self.shape, Ones() if init_weight is None else init_weight),
            Parameter("bias", self.shape, Zeros() if init_bias is None else init_bias),
        )


def _normalise(t: Trace, x: Value, layer: BatchNormalization | SpatialBatchNormalization) -> Value:
    if layer.weight and layer.bias:
        gamma, beta = t(layer.weight), t(layer.bias)
    else:
        gamma = t.graph.constant(np.ones(layer.n_output, np.float32))
        beta = t.graph.constant(np.zeros(layer.n_output, np.float32))
    if not t.training:
        return ops.batch_norm_inference(x, gamma, beta, t(layer.running_mean), t(layer.running_var), layer.eps)
    y, mean, variance = ops.batch_norm(x, gamma, beta, layer.eps)
    count = x.shape[0] * math.prod(x.shape[2:])
    t.update(layer.running_mean, mean)
    # The batch is normalised by its own (biased) variance; the buffer estimates that of the data.
    t.update(layer.running_var, ops.affine(variance, count / max(count - 1, 1)))
    return y


class BatchNormalization(Layer):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each of the n_output columns of (batch, n_output).

    Training takes mean and variance of the batch, and moves the buffers `running_mean` and `running_var` by `momentum`
    towards them; evaluation takes the buffers. Without `affine` there is no weight and bias. Weight starts as ones
    (BigDL: uniform in [0, 1)).

    >>> BatchNormalization(100).output_shape((32, 100))
    (32, 100)
    """

    def __init__(
        self,
        n_output: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        init_weight: np.ndarray | None = None,
        init_bias: np.ndarray | None = None,
    ) -> None:
        statistics = _Statistics(self, n_output, eps, momentum)
        self.n_output = n_output
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.init_weight = init_weight
        self.init_bias = init_bias
        self.weight, self.bias = statistics.scale(affine, init_weight, init_bias)
        self.running_mean, self.running_var = statistics.mean, statistics.variance

    def call(self, t: Trace, x: Value) -> Value:
        t.expect(len(x.shape) == 2 and x.shape[1] == self.n_output, f"(batch, {self.n_output})", x)
        return _normalise(t, x, self)


class SpatialBatchNormalization(Layer):
    """`BatchNormalization` of each channel over batch, height and width: (batch, n_output, height, width) in and out.

    With `data_format="NHWC"` the channels stand last.

    >>> SpatialBatchNormalization(64).output_shape((32, 64, 56, 56))
    (32, 64, 56, 56)
    """

    def __init__(
        self,
        n_output: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        init_weight: np.ndarray | None = None,
        init_bias: np.ndarray | None = None,
        data_format: str = "NCHW",
    ) -> None:
        statistics = _Statistics(self, n_output, eps, momentum)
        self.n_output = n_output
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.init_weight = init_weight
        self.init_bias = init_bias
        self.data_format = check_format(self, data_format)
        self.weight, self.bias = statistics.scale(affine, init_weight, init_bias)
        self.running_mean, self.running_var = statistics.mean, statistics.variance

    def call(self, t: Trace, x: Value) -> Value:
        x = channels_first(t, x, 2, self.n_output, self.data_format)
        return in_format(_normalise(t, x, self), self.data_format)


class SpatialCrossMapLRN(Layer):
    """Local response normalisation: x / (k + alpha / size * sum of x^2 over `size` neighbouring channels) ** beta.

    (batch, channels, height, width) in and out; `size` must be odd.

    >>> SpatialCrossMapLRN(5, 0.0001, 0.75).output_shape((2, 64, 56, 56))
    (2, 64, 56, 56)
    """

    def __init__(
        self, size: int = 5, alpha: float = 1.0, beta: float = 0.75, k: float = 1.0, data_format: str = "NCHW"
    ) -> None:
        positive(self, size=size)
        if size % 2 == 0:
            raise ArgumentError(f"SpatialCrossMapLRN size must be odd. Received: {size}.")
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.data_format = check_format(self, data_format)

    def call(self, t: Trace, x: Value) -> Value:
        x = channels_first(t, x, 2, data_format=self.data_format)
        y = ops.lrn(x, size=self.size, alpha=self.alpha, beta=self.beta, k=self.k)
        return in_format(y, self.data_format)
