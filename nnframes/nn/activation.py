"""Activations: functions of each number, and softmax along the classes. Shapes in and out are equal."""

from __future__ import annotations

from kernels import ops
from kernels.graph import Value
from nnframes.errors import ArgumentError
from nnframes.nn.initialisers import ConstInitMethod
from nnframes.nn.layer import Layer
from nnframes.nn.parameter import Parameter
from nnframes.nn.trace import Trace

__all__ = [
    "ELU",
    "Clamp",
    "HardShrink",
    "HardSigmoid",
    "HardTanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftMax",
    "PReLU",
    "ReLU",
    "ReLU6",
    "Sigmoid",
    "SoftMax",
    "SoftMin",
    "SoftPlus",
    "SoftShrink",
    "SoftSign",
    "Tanh",
    "TanhShrink",
    "Threshold",
    "activation_layer",
]


def _at_least_zero(owner: Layer, **given: float) -> None:
    for name, value in given.items():
        if not value >= 0:
            raise ArgumentError(f"{type(owner).__name__} {name} must be >= 0. Received: {value}.")


def _ordered(owner: Layer, low: float, high: float) -> None:
    if not low <= high:
        raise ArgumentError(f"{type(owner).__name__} minimum must be <= maximum. Received: {low}, {high}.")


class Clamp(Layer):
    """Cut to a range: min(max(x, min), max).

    >>> Clamp(0, 6).output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, min: float, max: float) -> None:
        _ordered(self, min, max)
        self.min = min
        self.max = max

    def call(self, t: Trace, x: Value) -> Value:
        return ops.clip(x, self.min, self.max)


class ELU(Layer):
    """Exponential linear unit: x where x > 0, else alpha * (exp(x) - 1).

    >>> ELU().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        _at_least_zero(self, alpha=alpha)
        self.alpha = alpha
        self.inplace = inplace

    def call(self, t: Trace, x: Value) -> Value:
        return ops.elu(x, self.alpha)


class HardShrink(Layer):
    """x where |x| > the_lambda, else 0.

    >>> HardShrink().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, the_lambda: float = 0.5) -> None:
        _at_least_zero(self, the_lambda=the_lambda)
        self.the_lambda = the_lambda

    def call(self, t: Trace, x: Value) -> Value:
        return ops.hard_shrink(x, self.the_lambda)


class HardSigmoid(Layer):
    """Piecewise linear sigmoid: min(max(0.2 x + 0.5, 0), 1).

    >>> HardSigmoid().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.hard_sigmoid(x)


class HardTanh(Layer):
    """Cut to a range: min(max(x, min_value), max_value).

    >>> HardTanh().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, min_value: float = -1.0, max_value: float = 1.0, inplace: bool = False) -> None:
        _ordered(self, min_value, max_value)
        self.min_value = min_value
        self.max_value = max_value
        self.inplace = inplace

    def call(self, t: Trace, x: Value) -> Value:
        return ops.clip(x, self.min_value, self.max_value)


class LeakyReLU(Layer):
    """x where x > 0, else negval * x.

    >>> LeakyReLU().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, negval: float = 0.01, inplace: bool = False) -> None:
        _at_least_zero(self, negval=negval)
        self.negval = negval
        self.inplace = inplace

    def call(self, t: Trace, x: Value) -> Value:
        return ops.relu(x, self.negval)


class LogSigmoid(Layer):
    """log(1 / (1 + exp(-x))).

    >>> LogSigmoid().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.log_sigmoid(x)


class LogSoftMax(Layer):
    """log(exp(x_i) / sum_j exp(x_j)) along dimension 1: log-probabilities of classes.

    >>> LogSoftMax().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.log_softmax(x, 1)


class PReLU(Layer):
    """x where x > 0, else w * x, with a learned w: one number, or one for each of `n_output_plane` channels.

    >>> PReLU(3).output_shape((32, 3, 8, 8))
    (32, 3, 8, 8)
    """

    def __init__(self, n_output_plane: int = 0) -> None:
        if n_output_plane < 0:
            raise ArgumentError(f"PReLU n_output_plane must be >= 0. Received: {n_output_plane}.")
        self.n_output_plane = n_output_plane
        self.weight = Parameter("weight", (max(n_output_plane, 1),), ConstInitMethod(0.25))

    def call(self, t: Trace, x: Value) -> Value:
        channels = self.n_output_plane
        t.expect(channels == 0 or x.shape[1] == channels, f"(batch, {channels}, ...)", x)
        slope = ops.reshape(t(self.weight), (-1, *[1] * (len(x.shape) - 2)) if channels else (1,))
        positive = ops.relu(x)
        return ops.add(positive, ops.multiply(slope, ops.subtract(x, positive)))


class ReLU(Layer):
    """Rectified linear unit: max(x, 0).

    >>> ReLU().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, ip: bool = False) -> None:
        self.ip = ip

    def call(self, t: Trace, x: Value) -> Value:
        return ops.relu(x)


class ReLU6(Layer):
    """min(max(x, 0), 6).

    >>> ReLU6().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def call(self, t: Trace, x: Value) -> Value:
        return ops.clip(x, 0.0, 6.0)


class Sigmoid(Layer):
    """1 / (1 + exp(-x)).

    >>> Sigmoid().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.sigmoid(x)


class SoftMax(Layer):
    """exp(x_i) / sum_j exp(x_j) along dimension `pos` (the batch is 0): probabilities of classes.

    >>> SoftMax().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, pos: int = 1) -> None:
        self.pos = pos

    def call(self, t: Trace, x: Value) -> Value:
        return ops.softmax(x, self.pos)


class SoftMin(Layer):
    """exp(-x_i) / sum_j exp(-x_j) along dimension 1.

    >>> SoftMin().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.softmax(ops.negative(x), 1)


class SoftPlus(Layer):
    """log(1 + exp(beta * x)) / beta.

    >>> SoftPlus().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, beta: float = 1.0) -> None:
        if not beta > 0:
            raise ArgumentError(f"SoftPlus beta must be > 0. Received: {beta}.")
        self.beta = beta

    def call(self, t: Trace, x: Value) -> Value:
        return ops.softplus(x, self.beta)


class SoftShrink(Layer):
    """sign(x) * max(|x| - the_lambda, 0).

    >>> SoftShrink().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, the_lambda: float = 0.5) -> None:
        _at_least_zero(self, the_lambda=the_lambda)
        self.the_lambda = the_lambda

    def call(self, t: Trace, x: Value) -> Value:
        return ops.soft_shrink(x, self.the_lambda)


class SoftSign(Layer):
    """x / (1 + |x|).

    >>> SoftSign().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.soft_sign(x)


class Tanh(Layer):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    >>> Tanh().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.tanh(x)


class TanhShrink(Layer):
    """x - tanh(x).

    >>> TanhShrink().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.tanh_shrink(x)


class Threshold(Layer):
    """x where x > th, else v.

    >>> Threshold().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, th: float = 1e-6, v: float = 0.0, ip: bool = False) -> None:
        self.th = th
        self.v = v
        self.ip = ip

    def call(self, t: Trace, x: Value) -> Value:
        return ops.threshold(x, self.th, self.v)


_BY_NAME: dict[str, type[Layer]] = {
    "hard_sigmoid": HardSigmoid,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "softmax": SoftMax,
    "softplus": SoftPlus,
    "softsign": SoftSign,
    "tanh": Tanh,
}


def activation_layer(activation: Layer | str) -> Layer:
    """The activation itself, or the one that a name stands for.

    >>> type(activation_layer("tanh")).__name__
    'Tanh'
    """
    if isinstance(activation, Layer):
        return activation
    if activation not in _BY_NAME:
        known = ", ".join(_BY_NAME)
        raise ArgumentError(f"activation must be a layer or one of {known}. Received: {activation!r}.")
    return _BY_NAME[activation]()
