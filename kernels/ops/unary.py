"""Elementwise functions of one tensor: one table, one op, one gradient op.

Where it can, a derivative is a function of the OUTPUT, so that the input need not be kept and one fused native call
suffices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kernels.errors import ArgumentError
from kernels.graph import Node, Op, Spec, Value, apply
from kernels.ops.shapes import expect, floats

Function = Callable[[np.ndarray, float, float], np.ndarray]

_erf = np.frompyfunc(math.erf, 1, 1)
_ROOT_2_PI = math.sqrt(2.0 / math.pi)


class Unary(NamedTuple):
    """One row of `UNARY`: `function(x, alpha, beta)`; `derivative(saved, alpha, beta)` where saved is "y" or "x"."""

    function: Function
    derivative: Function
    saved: str
    monotone: bool  # non-decreasing over all numbers, for every legal alpha and beta


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.asarray(_erf(x / math.sqrt(2.0))).astype(x.dtype))


def _gelu_erf_derivative(x: np.ndarray) -> np.ndarray:
    return _normal_cdf(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(_ROOT_2_PI * (x + 0.044715 * x**3)))


def _gelu_tanh_derivative(x: np.ndarray) -> np.ndarray:
    t = np.tanh(_ROOT_2_PI * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _ROOT_2_PI * (1 + 3 * 0.044715 * x * x)


def _swish_derivative(x: np.ndarray, a: float) -> np.ndarray:
    s = _sigmoid(a * x)
    return s * (1 + a * x * (1 - s))


def _power_derivative(x: np.ndarray, a: float, b: float) -> np.ndarray:
    return a * b * x ** (b - 1.0) if b else np.zeros_like(x)


def _mask(condition: np.ndarray, like: np.ndarray) -> np.ndarray:
    return condition.astype(like.dtype)


# kind: function of (x, alpha, beta), derivative of (saved, alpha, beta), what is saved, non-decreasing?
UNARY: dict[str, Unary] = {
    "abs": Unary(lambda x, a, b: np.abs(x), lambda x, a, b: np.sign(x), "x", False),
    "clip": Unary(lambda x, a, b: np.clip(x, a, b), lambda y, a, b: _mask((y > a) & (y < b), y), "y", True),
    "elu": Unary(
        lambda x, a, b: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
        lambda y, a, b: np.where(y > 0, 1, y + a),
        "y",
        True,
    ),
    "exp": Unary(lambda x, a, b: np.exp(x), lambda y, a, b: y, "y", True),
    "gelu_erf": Unary(lambda x, a, b: x * _normal_cdf(x), lambda x, a, b: _gelu_erf_derivative(x), "x", False),
    "gelu_tanh": Unary(lambda x, a, b: _gelu_tanh(x), lambda x, a, b: _gelu_tanh_derivative(x), "x", False),
    "hard_shrink": Unary(lambda x, a, b: np.where(np.abs(x) > a, x, 0), lambda y, a, b: _mask(y != 0, y), "y", True),
    "hard_sigmoid": Unary(
        lambda x, a, b: np.clip(0.2 * x + 0.5, 0, 1), lambda x, a, b: 0.2 * _mask(np.abs(x) < 2.5, x), "x", True
    ),
    "linear": Unary(lambda x, a, b: a * x + b, lambda y, a, b: np.full_like(y, a), "y", False),
    "log": Unary(lambda x, a, b: np.log(x), lambda x, a, b: 1 / x, "x", False),
    "log_sigmoid": Unary(lambda x, a, b: -_softplus(-x), lambda y, a, b: -np.expm1(y), "y", True),
    "power": Unary(lambda x, a, b: a * x**b, _power_derivative, "x", False),
    "relu": Unary(lambda x, a, b: np.where(x > 0, x, a * x), lambda y, a, b: np.where(y > 0, 1, a), "y", True),
    "sigmoid": Unary(lambda x, a, b: _sigmoid(x), lambda y, a, b: y * (1 - y), "y", True),
    "sign": Unary(lambda x, a, b: np.sign(x), lambda y, a, b: np.zeros_like(y), "y", True),
    "soft_shrink": Unary(
        lambda x, a, b: np.sign(x) * np.maximum(np.abs(x) - a, 0), lambda y, a, b: _mask(y != 0, y), "y", True
    ),
    "soft_sign": Unary(lambda x, a, b: x / (1 + np.abs(x)), lambda x, a, b: (1 + np.abs(x)) ** -2.0, "x", True),
    "softplus": Unary(lambda x, a, b: _softplus(a * x) / a, lambda y, a, b: -np.expm1(-a * y), "y", True),
    "sqrt": Unary(lambda x, a, b: np.sqrt(x), lambda y, a, b: 0.5 / y, "y", False),
    "square": Unary(lambda x, a, b: x * x, lambda x, a, b: 2 * x, "x", False),
    "swish": Unary(lambda x, a, b: x * _sigmoid(a * x), lambda x, a, b: _swish_derivative(x, a), "x", False),
    "tanh": Unary(lambda x, a, b: np.tanh(x), lambda y, a, b: 1 - y * y, "y", True),
    "tanh_shrink": Unary(lambda x, a, b: x - np.tanh(x), lambda x, a, b: np.tanh(x) ** 2, "x", True),
    "threshold": Unary(lambda x, a, b: np.where(x > a, x, b), lambda x, a, b: _mask(x > a, x), "x", False),
}

_LIMITS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "clip": (lambda a, b: a <= b, "alpha (minimum) <= beta (maximum)"),
    "elu": (lambda a, b: a >= 0, "alpha >= 0"),
    "hard_shrink": (lambda a, b: a >= 0, "alpha >= 0"),
    "relu": (lambda a, b: a >= 0, "alpha (negative slope) >= 0"),
    "soft_shrink": (lambda a, b: a >= 0, "alpha >= 0"),
    "softplus": (lambda a, b: a > 0, "alpha > 0"),
}


def _unary_shape(x: Spec, *, kind: str, alpha: float, beta: float) -> Spec:
    if kind not in UNARY:
        raise ArgumentError(f"kind must be one of {', '.join(sorted(UNARY))}. Received: kind={kind!r}.")
    legal, rule = _LIMITS.get(kind, (None, ""))
    if legal is not None and not legal(alpha, beta):
        raise ArgumentError(f"{kind} must have {rule}. Received: alpha={alpha}, beta={beta}.")
    floats(x)
    return x


def _unary(x: np.ndarray, *, kind: str, alpha: float, beta: float) -> np.ndarray:
    return UNARY[kind].function(x, alpha, beta).astype(x.dtype, copy=False)


def _unary_rule(node: Node, dy: Value) -> list[Value | None]:
    kind, alpha = node.attrs["kind"], node.attrs["alpha"]
    if kind == "sign":
        return [None]
    if kind == "linear":
        return [affine(dy, alpha)]
    saved = node.outputs[0] if UNARY[kind].saved == "y" else node.inputs[0]
    return [apply(UNARY_GRADIENT, saved, dy, **node.attrs)[0]]


def _unary_gradient_shape(saved: Spec, dy: Spec, **attrs: float) -> Spec:
    expect(saved.shape == dy.shape, f"a gradient of shape {saved.shape}", dy.shape)
    floats(saved, dy)
    return dy


def _unary_gradient(saved: np.ndarray, dy: np.ndarray, *, kind: str, alpha: float, beta: float) -> np.ndarray:
    return (dy * UNARY[kind].derivative(saved, alpha, beta)).astype(dy.dtype, copy=False)


UNARY_OP = Op("unary", _unary_shape, _unary, _unary_rule)
UNARY_GRADIENT = Op("unary_gradient", _unary_gradient_shape, _unary_gradient)


def unary(x: Value, kind: str, alpha: float = 0.0, beta: float = 0.0) -> Value:
    """The elementwise function `kind` of the table `UNARY`.

    Shape in = shape out, float32. Raises `ArgumentError` for an unknown kind or an illegal alpha or beta.

    >>> from kernels.graph import Graph
    >>> unary(Graph().input("x", (2, 3)), "tanh").shape
    (2, 3)
    """
    return apply(UNARY_OP, x, kind=kind, alpha=float(alpha), beta=float(beta))[0]


def abs_(x: Value) -> Value:
    """|x|; gradient 0 at 0."""
    return unary(x, "abs")


def affine(x: Value, alpha: float = 1.0, beta: float = 0.0) -> Value:
    """The function alpha * x + beta (kind "linear")."""
    return unary(x, "linear", alpha, beta)


def clip(x: Value, minimum: float, maximum: float) -> Value:
    """min(max(x, minimum), maximum); gradient 0 at and beyond the limits."""
    return unary(x, "clip", minimum, maximum)


def elu(x: Value, alpha: float = 1.0) -> Value:
    """The function x where x > 0, else alpha * (exp(x) - 1)."""
    return unary(x, "elu", alpha)


def exp(x: Value) -> Value:
    """The exponential function."""
    return unary(x, "exp")


def gelu_erf(x: Value) -> Value:
    """The function x * Phi(x), Phi the normal distribution function."""
    return unary(x, "gelu_erf")


def gelu_tanh(x: Value) -> Value:
    """The function x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))."""
    return unary(x, "gelu_tanh")


def hard_shrink(x: Value, alpha: float = 0.5) -> Value:
    """The function x where |x| > alpha, else 0."""
    return unary(x, "hard_shrink", alpha)


def hard_sigmoid(x: Value) -> Value:
    """clip(0.2 x + 0.5, 0, 1), as in BigDL and Keras."""
    return unary(x, "hard_sigmoid")


def log(x: Value) -> Value:
    """Natural logarithm."""
    return unary(x, "log")


def log_sigmoid(x: Value) -> Value:
    """log(1 / (1 + exp(-x)))."""
    return unary(x, "log_sigmoid")


def negative(x: Value) -> Value:
    """-x."""
    return affine(x, -1.0)


def power(x: Value, exponent: float, scale: float = 1.0) -> Value:
    """The function scale * x ** exponent."""
    return unary(x, "power", scale, exponent)


def relu(x: Value, negative_slope: float = 0.0) -> Value:
    """The function x where x > 0, else negative_slope * x (negative_slope >= 0)."""
    return unary(x, "relu", negative_slope)


def sigmoid(x: Value) -> Value:
    """1 / (1 + exp(-x))."""
    return unary(x, "sigmoid")


def sign(x: Value) -> Value:
    """-1, 0 or 1; no gradient."""
    return unary(x, "sign")


def soft_shrink(x: Value, alpha: float = 0.5) -> Value:
    """sign(x) * max(|x| - alpha, 0)."""
    return unary(x, "soft_shrink", alpha)


def soft_sign(x: Value) -> Value:
    """The function x / (1 + |x|)."""
    return unary(x, "soft_sign")


def softplus(x: Value, alpha: float = 1.0) -> Value:
    """log(1 + exp(alpha * x)) / alpha."""
    return unary(x, "softplus", alpha)


def sqrt(x: Value) -> Value:
    """Square root."""
    return unary(x, "sqrt")


def square(x: Value) -> Value:
    """The function x * x."""
    return unary(x, "square")


def swish(x: Value, alpha: float = 1.0) -> Value:
    """The function x * sigmoid(alpha * x)."""
    return unary(x, "swish", alpha)


def tanh(x: Value) -> Value:
    """Hyperbolic tangent."""
    return unary(x, "tanh")


def tanh_shrink(x: Value) -> Value:
    """The function x - tanh(x)."""
    return unary(x, "tanh_shrink")


def threshold(x: Value, limit: float = 1e-6, value: float = 0.0) -> Value:
    """The function x where x > limit, else value."""
    return unary(x, "threshold", limit, value)
