"""Softmax and its logarithm along one axis."""

from __future__ import annotations

import numpy as np

from kernels.graph import Node, Op, Spec, Value, apply
from kernels.ops.shapes import axis_of, expect, floats


def _shape(x: Spec, *, axis: int) -> Spec:
    expect(0 <= axis < len(x.shape), f"an axis in [0, {len(x.shape)})", axis)
    floats(x)
    return x


def _backward_shape(y: Spec, dy: Spec, *, axis: int) -> Spec:
    expect(y.shape == dy.shape, f"a gradient of shape {y.shape}", dy.shape)
    floats(y, dy)
    return dy


def _softmax(x: np.ndarray, *, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _softmax_rule(node: Node, dy: Value) -> list[Value]:
    return [apply(SOFTMAX_BACKWARD, node.outputs[0], dy, **node.attrs)[0]]


def _softmax_backward(y: np.ndarray, dy: np.ndarray, *, axis: int) -> np.ndarray:
    return y * (dy - (y * dy).sum(axis, keepdims=True))


def _log_softmax(x: np.ndarray, *, axis: int) -> np.ndarray:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def _log_softmax_rule(node: Node, dy: Value) -> list[Value]:
    return [apply(LOG_SOFTMAX_BACKWARD, node.outputs[0], dy, **node.attrs)[0]]


def _log_softmax_backward(y: np.ndarray, dy: np.ndarray, *, axis: int) -> np.ndarray:
    return dy - np.exp(y) * dy.sum(axis, keepdims=True)


SOFTMAX = Op("softmax", _shape, _softmax, _softmax_rule)
SOFTMAX_BACKWARD = Op("softmax_backward", _backward_shape, _softmax_backward)
LOG_SOFTMAX = Op("log_softmax", _shape, _log_softmax, _log_softmax_rule)
LOG_SOFTMAX_BACKWARD = Op("log_softmax_backward", _backward_shape, _log_softmax_backward)


def softmax(x: Value, axis: int = -1) -> Value:
    """The distribution exp(x) / sum(exp(x)) along one axis.

    >>> from kernels.graph import Graph
    >>> softmax(Graph().input("x", (8, 10))).shape
    (8, 10)
    """
    return apply(SOFTMAX, x, axis=axis_of(axis, len(x.shape)))[0]


def log_softmax(x: Value, axis: int = -1) -> Value:
    """The logarithm of softmax, x - log(sum(exp(x))) along one axis.

    >>> from kernels.graph import Graph
    >>> log_softmax(Graph().input("x", (8, 10))).shape
    (8, 10)
    """
    return apply(LOG_SOFTMAX, x, axis=axis_of(axis, len(x.shape)))[0]
