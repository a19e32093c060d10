"""Negative log likelihood of class labels as unnormalised sums (divided by the weight sum after all shards)."""

from __future__ import annotations

import numpy as np

from kernels.errors import ArgumentError
from kernels.graph import INT32, Node, Op, Spec, Value, apply
from kernels.ops.shapes import expect, expect_type, floats


def _nll_shape(
    log_probabilities: Spec, target: Spec, class_weights: Spec | None = None, *, padding: int | None
) -> list[Spec]:
    shape = log_probabilities.shape
    expect(len(shape) == 2, "log probabilities (batch, classes)", shape)
    expect(target.shape == shape[:1], f"a target of shape {shape[:1]}", target.shape)
    expect_type(target, INT32, "a target")
    floats(log_probabilities)
    if class_weights is not None:
        expect(class_weights.shape == shape[1:], f"class weights of shape {shape[1:]}", class_weights.shape)
        floats(class_weights)
    return [Spec((1,)), Spec((1,))]


def _row_weights(
    target: np.ndarray, class_weights: np.ndarray | None, classes: int, padding: int | None, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """The class of each row (0 where padded) and its weight (0 where padded)."""
    kept = None if padding is None else target != padding
    label = target if kept is None else np.where(kept, target, 0)
    if label.size and label.astype(np.uint32).max() >= classes:  # negative ones become large: one look for both
        row = int(np.flatnonzero((label < 0) | (label >= classes))[0])
        raise ArgumentError(f"target must be in [0, {classes}). Received: target[{row}]={int(target[row])}.")
    weight = np.ones(len(target), dtype) if class_weights is None else class_weights[label]
    return label, weight if kept is None else weight * kept


def _nll(
    log_probabilities: np.ndarray,
    target: np.ndarray,
    class_weights: np.ndarray | None = None,
    *,
    padding: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    rows, classes = log_probabilities.shape
    label, weight = _row_weights(target, class_weights, classes, padding, log_probabilities.dtype)
    chosen = log_probabilities.reshape(-1).take(np.arange(0, rows * classes, classes) + label)
    if padding is not None or class_weights is not None:
        chosen = np.where(weight != 0, chosen, 0)  # not 0 * -inf
    return -(weight * chosen).sum(keepdims=True), weight.sum(keepdims=True)


def _nll_rule(node: Node, dloss: Value | None, _: Value | None) -> list[Value | None]:
    log_probabilities, target, *class_weights = node.inputs
    if dloss is None:
        return [None] * len(node.inputs)
    classes = log_probabilities.shape[1]
    dx = apply(NLL_BACKWARD, target, dloss, *class_weights, classes=classes, padding=node.attrs["padding"])[0]
    return [dx, None, *[None for _ in class_weights]]


def _nll_backward_shape(
    target: Spec, dloss: Spec, class_weights: Spec | None = None, *, classes: int, padding: int | None
) -> Spec:
    expect(dloss.shape == (1,), "a gradient of shape (1,)", dloss.shape)
    _nll_shape(Spec((*target.shape, classes)), target, class_weights, padding=padding)
    return Spec((*target.shape, classes))


def _nll_backward(
    target: np.ndarray,
    dloss: np.ndarray,
    class_weights: np.ndarray | None = None,
    *,
    classes: int,
    padding: int | None,
) -> np.ndarray:
    label, weight = _row_weights(target, class_weights, classes, padding, dloss.dtype)
    dx = np.zeros((len(target), classes), dloss.dtype)
    dx[np.arange(len(target)), label] = -weight * dloss
    return dx


NLL = Op("nll", _nll_shape, _nll, _nll_rule)
NLL_BACKWARD = Op("nll_backward", _nll_backward_shape, _nll_backward)


def nll(
    log_probabilities: Value, target: Value, class_weights: Value | None = None, *, padding: int | None = None
) -> tuple[Value, Value]:
    """Sum of -w[t] log p[t] over the rows, and sum of w[t]: (n, classes), int32 (n,)[, (classes,)] -> (1,), (1,).

    Rows whose target equals `padding` count for nothing. Only the loss sum has a gradient, and only with respect to the
    log probabilities. Raises `ArgumentError` at run for a target outside [0, classes).

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> loss, weight = nll(graph.input("logp", (8, 10)), graph.input("target", (8,), "int32"))
    >>> loss.shape, weight.shape
    ((1,), (1,))
    """
    loss, weight = apply(NLL, log_probabilities, target, class_weights, padding=padding)
    return loss, weight
