"""Negative log likelihood of class labels as unnormalised sums (divided by the weight sum after all shards)."""

from __future__ import annotations

import functools

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
    target: np.ndarray, class_weights: np.ndarray | None, classes: int, padding: int | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The class of each row (0 where padded) and its weight (0 where padded); None where all weigh 1."""
    inside = _inside(target, classes)
    kept = target != padding if padding is not None and (not inside or 0 <= padding < classes) else None
    label = target if kept is None else np.where(kept, target, 0)
    if not inside and (kept is None or not _inside(label, classes)):
        row = int(np.flatnonzero((label < 0) | (label >= classes))[0])
        raise ArgumentError(f"target must be in [0, {classes}). Received: target[{row}]={int(target[row])}.")
    weight = None if class_weights is None else class_weights[label]
    if kept is not None:
        weight = kept.astype(np.float32) if weight is None else weight * kept
    return label, weight


def _inside(label: np.ndarray, classes: int) -> bool:
    """Whether all are in [0, classes): one look for both ends, as unsigned a negative number is large."""
    return not label.size or bool(np.maximum.reduce(label.astype(np.int32, copy=False).view(np.uint32)) < classes)


@functools.lru_cache(16)
def _first_of_rows(rows: int, classes: int) -> np.ndarray:
    """The place of each row's first number in a matrix."""
    places = np.arange(0, rows * classes, classes)
    places.flags.writeable = False
    return places


def _nll(
    log_probabilities: np.ndarray,
    target: np.ndarray,
    class_weights: np.ndarray | None = None,
    *,
    padding: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    rows, classes = log_probabilities.shape
    label, weight = _row_weights(target, class_weights, classes, padding)
    chosen = log_probabilities.reshape(-1).take(_first_of_rows(rows, classes) + label)
    if weight is None:
        return -np.add.reduce(chosen, keepdims=True), np.array([rows], chosen.dtype)
    weight = weight.astype(chosen.dtype, copy=False)
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
    label, weight = _row_weights(target, class_weights, classes, padding)
    dx = np.zeros((len(target), classes), dloss.dtype)
    dx.reshape(-1)[_first_of_rows(len(target), classes) + label] = -dloss if weight is None else -weight * dloss
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
